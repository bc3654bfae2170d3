"""BPE by SentencePiece's trainer, on counted words: as a model of its own, and as byte-level BPE."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from gristmill.literals import NORMAL, pieces_of, renamed_pieces
from gristmill.tokenize.published import END, PATTERNS
from gristmill.tokenize.settings import TokenizerSettings

_MULTIPLE = 64
# A small vocabulary has no room for every character of a text in many scripts: more of them are left to
# bytes.
_COVERAGES = (0.999, 0.998, 0.995, 0.99, 0.98, 0.95)
_TRAINER: dict[str, Any] = {
    "model_type": "bpe",
    "input_format": "tsv",  # words with their counts
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "max_sentence_length": 1 << 16,  # longer lines are skipped without a word; words are far below
    "num_threads": 1,  # threads change the model's bytes
    "minloglevel": 2,
}
_TAB = "\U000f0009"  # stands for the tab, which parts a word from its count


def rounded(settings: TokenizerSettings) -> int:
    """The size of the vocabulary, a multiple of 64."""
    return -(-settings.vocab_size // _MULTIPLE) * _MULTIPLE


def train_sentencepiece(settings: TokenizerSettings, words: pa.Table) -> bytes:
    """A `.model` with byte fallback; raises RuntimeError when there is not enough text.

    Where the vocabulary has no room for all characters, coverage is lowered in steps.
    """
    lower = [value for value in _COVERAGES if value < settings.character_coverage]
    for coverage in (settings.character_coverage, *lower):
        try:
            model = _trained(
                _lines(words),
                vocab_size=rounded(settings),
                character_coverage=coverage,
                byte_fallback=True,
                split_digits=True,
                allow_whitespace_only_pieces=True,
                max_sentencepiece_length=settings.max_piece_chars,
                user_defined_symbols=["\n"],
                control_symbols=list(settings.special_tokens),  # a user-defined symbol is found in text
            )
        except RuntimeError as error:
            if "smaller than required_chars" not in str(error) or coverage == (lower or [coverage])[-1]:
                raise
            continue
        return renamed_pieces(model, _TAB, "\t")
    raise AssertionError("the last coverage returns or raises")


def train_byte_bpe(settings: TokenizerSettings, words: pa.Table) -> bytes:
    """A `tokenizer.json` of byte-level BPE: the end token, 256 bytes, merges, then the special tokens.

    SentencePiece's trainer merges the bytes, written as GPT-2's letters; its pieces are the merges in order.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pattern = settings.pattern or "gpt2"
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == "gpt2")
    pre: Any = byte_level
    if pattern != "gpt2":
        split = pre_tokenizers.Split(Regex(PATTERNS.get(pattern, pattern)), "isolated")
        pre = pre_tokenizers.Sequence([split, byte_level])
    counts: Counter[str] = Counter()
    for word, count in zip(words["word"].to_pylist(), words["count"].to_pylist(), strict=True):
        for piece, _ in pre.pre_tokenize_str(word.decode("utf-8", "replace")):
            counts[piece] += count
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    num_merges = rounded(settings) - 1 - len(letters) - len(settings.special_tokens)
    model = _trained(
        (f"{piece}\t{count}" for piece, count in counts.items()),
        vocab_size=num_merges + len(letters) + 1,  # its `<unk>`
        character_coverage=1.0,
        split_by_unicode_script=False,
        split_by_whitespace=False,
        split_by_number=False,
        bos_id=-1,
        eos_id=-1,
        max_sentencepiece_length=4 * settings.max_piece_chars,
    )
    # Bytes that no text has leave room for more merges than were asked for.
    merged = [p for p, kind in pieces_of(model) if kind == NORMAL and len(p) > 1][:num_merges]
    vocab = {piece: number for number, piece in enumerate([END, *letters, *merged])}
    merges = [
        (piece[:at], piece[at:])
        for piece in merged
        for at in range(1, len(piece))
        if max(vocab.get(part, len(vocab)) for part in (piece[:at], piece[at:])) < vocab[piece]
    ]
    made: Any = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer, made.decoder = pre, decoders.ByteLevel()
    made.add_special_tokens([END, *settings.special_tokens])
    return json.dumps(json.loads(made.to_str()), ensure_ascii=False, indent=1).encode() + b"\n"


def _lines(words: pa.Table) -> Iterator[str]:
    for word, count in zip(words["word"].to_pylist(), words["count"].to_pylist(), strict=True):
        text = word.decode("utf-8", "ignore").replace("\0", "").replace("\t", _TAB)
        if text:
            yield f"{text}\t{count}"


def _trained(lines: Iterator[str], **options: Any) -> bytes:
    import sentencepiece

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=buffer, **_TRAINER, **options
    )
    return buffer.getvalue()
