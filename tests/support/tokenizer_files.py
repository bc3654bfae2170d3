"""Small tokenizer files of each kind, trained in a moment on text that any Python holds."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from tests.support.small_corpus import TEXTS

# Literals that a text may spell, and that no text may become.
SPELLED = "<|user|> says </s> and <s>, <unk>, <think>, [SEP] and <|endoftext|></s>"


def byte_bpe_file(path: Path, added: tuple[str, ...] = ("<|user|>",), *, special: bool = False) -> Path:
    """A tokenizer.json of byte-level BPE: `<|endoftext|>` is 0; `added` come last, special or not."""
    import tokenizers
    from tokenizers import AddedToken, decoders, pre_tokenizers

    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    model.train_from_iterator(TEXTS[:20], trainer)
    model.add_tokens([AddedToken(token, normalized=False, special=special) for token in added])
    model.save(str(path))
    return path


def rank_file(path: Path) -> Path:
    """A rank file with the merges of a small byte-level BPE: 256 bytes, then longer strings, by rank."""
    bpe = json.loads(byte_bpe_file(path.with_name("bpe.json")).read_text())
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    byte_of = {chr(byte): byte for byte in own} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [bytes(byte_of[letter] for letter in "".join(merge)) for merge in bpe["model"]["merges"]]
    lines = (base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(pieces))
    path.write_bytes(b"".join(lines))
    return path


def sentencepiece_file(path: Path, symbols: tuple[str, ...] = ("<|user|>",)) -> Path:
    """A `.model` with byte fallback and user-defined symbols besides the line break."""
    import sentencepiece

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[0].split("\n") * 3), model_writer=buffer, vocab_size=400,
        model_type="bpe", byte_fallback=True, user_defined_symbols=["\n", *symbols],
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        minloglevel=2, hard_vocab_limit=False, character_coverage=0.99, num_threads=1,
    )  # fmt: skip
    path.write_bytes(buffer.getvalue())
    return path
