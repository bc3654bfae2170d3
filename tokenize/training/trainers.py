"""BPE on counted words: as a SentencePiece model, and as byte-level BPE in a tokenizer.json."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.literals import with_pieces
from gristmill.tokenize.encoding.published import END, PATTERNS
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.training.merges import I32, I64, Merges, learn
from gristmill.tokenize.training.segments import BLANK, counted_characters, covered, points_of, runs_of

_MULTIPLE = 64
_PLAIN = re.compile(rb" ?[A-Z]?[a-z]+")
# A small vocabulary has no room for every character of a text in many scripts: more of them are left to
# bytes.
_COVERAGES = (0.999, 0.998, 0.995, 0.99, 0.98, 0.95)
_PREFIX = "\u2581"  # how SentencePiece writes a blank
_WRITER: dict[str, Any] = {
    "model_type": "bpe",
    "input_format": "tsv",
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "byte_fallback": True,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
    "user_defined_symbols": ["\n"],
    "num_threads": 1,
    "minloglevel": 2,
}
# SentencePiece writes the model's settings and its first pieces; it is given one word, of two private
# characters, whose three pieces are replaced.
_STAND_IN = "\U000f0001\U000f0002\t2"
_STOOD_IN, _OWN_PIECES = 3, 3 + 256 + 1  # `<unk>`, `<s>`, `</s>`, the bytes, the line break


def rounded(settings: TokenizerSettings) -> int:
    """The size of the vocabulary, a multiple of 64."""
    return -(-settings.vocab_size // _MULTIPLE) * _MULTIPLE


def train_sentencepiece(settings: TokenizerSettings, words: pa.Table) -> bytes:
    """A `.model` with byte fallback; raises ValueError when there is not enough text.

    Where the vocabulary has no room for all characters, coverage is lowered in steps.
    """
    points, starts = points_of(words)
    counts = words["count"].to_numpy()
    counted = counted_characters(points, starts, counts)
    room = rounded(settings) - _OWN_PIECES - len(settings.special_tokens)
    lower = [value for value in _COVERAGES if value < settings.character_coverage]
    for coverage in (settings.character_coverage, *lower):
        characters = covered(counted, coverage)
        if len(characters) <= room:
            break
    else:
        raise ValueError(f"there is room for {room} pieces, and its characters are {len(characters):,}")
    runs = runs_of(points, starts, counts, characters)
    num_new = room - len(characters)
    found = learn(runs.symbols, runs.starts, runs.counts, len(characters), num_new, settings.max_piece_chars)
    merged = _new(found, runs.characters)
    if len(merged) < num_new:
        raise ValueError(f"it has {len(merged) + len(characters):,} of {room:,} pieces")
    pieces = [piece.replace(BLANK, _PREFIX) for piece in (*merged, *characters)]
    return with_pieces(_model(settings), _STOOD_IN, pieces)


def _new(found: Merges, base: Sequence[str]) -> list[str]:
    """What merges spell that was not there before, in their order."""
    text = [base[symbol] for symbol in found.spelled[int(found.ends[len(base)]) :].tolist()]
    ends = (found.ends[len(base) :] - found.ends[len(base)]).tolist()
    return ["".join(text[begin:end]) for begin, end in pairwise(ends)]


def _model(settings: TokenizerSettings) -> bytes:
    """A model of SentencePiece with the pieces that every model has, and those of the stand-in."""
    import sentencepiece

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([_STAND_IN]),
        model_writer=buffer,
        vocab_size=_OWN_PIECES + len(settings.special_tokens) + _STOOD_IN,
        max_sentencepiece_length=settings.max_piece_chars,
        character_coverage=1.0,
        control_symbols=list(settings.special_tokens),  # a user-defined symbol is found in text
        **_WRITER,
    )
    return buffer.getvalue()


def train_byte_bpe(settings: TokenizerSettings, words: pa.Table) -> bytes:
    """A `tokenizer.json` of byte-level BPE: the end token, 256 bytes, merges, then the special tokens.

    Raises ValueError when there is not enough text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pattern = settings.pattern or "gpt2"
    pre = _byte_level(pattern)
    counts = _split_words(pre, words, pattern)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    num_merges = rounded(settings) - 1 - len(letters) - len(settings.special_tokens)
    symbols, starts = _numbered(counts, letters)
    times = np.fromiter(counts.values(), np.int64, len(counts))
    found = learn(symbols, starts, times, len(letters), num_merges, 4 * settings.max_piece_chars)
    merged = _new(found, letters)
    if len(merged) < num_merges:
        raise ValueError(f"it has {len(merged):,} of {num_merges:,} merges")
    vocab = {piece: number for number, piece in enumerate([END, *letters, *merged])}
    spelled = [*letters, *merged]
    merges = [
        (spelled[left], spelled[right])
        for left, right in zip(found.left.tolist(), found.right.tolist(), strict=True)
    ]
    made: Any = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer, made.decoder = pre, decoders.ByteLevel()
    made.add_special_tokens([END, *settings.special_tokens])
    return _written(json.loads(made.to_str())).encode() + b"\n"


def _written(config: dict[str, Any]) -> str:
    """What `json.dumps(config, ensure_ascii=False, indent=1)` gives, which writes the vocabulary and the
    merges value by value in Python; here each is joined at once."""
    own, quoted = config["model"], json.encoder.encode_basestring
    pieces = ",\n   ".join(f"{quoted(piece)}: {number}" for piece, number in own["vocab"].items())
    merges = ",\n   ".join(
        f"[\n    {quoted(left)},\n    {quoted(right)}\n   ]" for left, right in own["merges"]
    )
    said = json.dumps(
        {**config, "model": {**own, "vocab": "\0vocab", "merges": "\0merges"}}, ensure_ascii=False, indent=1
    )
    said = said.replace(r'"\u0000vocab"', f"{{\n   {pieces}\n  }}")
    return said.replace(r'"\u0000merges"', f"[\n   {merges}\n  ]" if merges else "[]")


def _byte_level(pattern: str) -> Any:
    """What cuts a text into the pieces within which merges stay, each byte written as a letter."""
    from tokenizers import Regex, pre_tokenizers

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == "gpt2")
    if pattern == "gpt2":
        return byte_level
    split = pre_tokenizers.Split(Regex(PATTERNS.get(pattern, pattern)), "isolated")
    return pre_tokenizers.Sequence([split, byte_level])


def _split_words(pre: Any, words: pa.Table, pattern: str) -> Counter[str]:
    """Cut counted words into pieces, and count these; a plain word is one by every published pattern."""
    counts: Counter[str] = Counter()
    blank = pre.pre_tokenize_str(" a")[0][0][0]
    for word, count in zip(words["word"].to_pylist(), words["count"].to_pylist(), strict=True):
        if pattern in PATTERNS and _PLAIN.fullmatch(word):
            counts[word.decode().replace(" ", blank)] += count
            continue
        for piece, _ in pre.pre_tokenize_str(word.decode("utf-8", "replace")):
            counts[piece] += count
    return counts


def _numbered(pieces: Iterable[str], letters: Sequence[str]) -> tuple[I32, I64]:
    """The letters of pieces end to end by number, and where each piece begins and the last ends."""
    number = np.zeros(max(map(ord, letters)) + 1, np.int32)
    number[[ord(letter) for letter in letters]] = np.arange(len(letters))
    points = np.frombuffer("".join(pieces).encode("utf-32-le"), "<u4")
    return number[points], np.cumsum([0, *map(len, pieces)])
