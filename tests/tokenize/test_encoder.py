"""The fast encoder gives the reference's ids or stands back, in bounded memory; a panic costs little."""

from __future__ import annotations

import base64
import json
import random
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.files.storage import ROW_GROUP_ROWS
from gristmill.hashing import uniform
from gristmill.tokenize.encoding import fast
from gristmill.tokenize.encoding.encode import _SAMPLE_DOCUMENTS, REFUSED, encode
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.published import (
    CL100K_PATTERN,
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    O200K_PATTERN,
    QWEN_PATTERN,
)
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from tests.support.small_corpus import TEXTS, write_documents

# DeepSeek-V3's pre-tokenizer: three splits one after another; its file has the two line breaks themselves.
DEEPSEEK = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    (
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ).replace(r"\r\n", "\r\n"),
)
PATTERNS = {
    "gpt2": None,
    "cl100k": (LLAMA3_PATTERN,),
    "llama3": (LLAMA3_PATTERN,),
    "qwen2": (QWEN_PATTERN,),
    "o200k": (O200K_PATTERN,),
    "olmo": (LLAMA3_PATTERN,),
    "deepseek": DEEPSEEK,
}


def arbitrary(count: int, seed: int = 7) -> list[str]:
    """Strings of arbitrary Unicode, of white space and literals, and cuts of real text with odd ends."""
    rng = random.Random(seed)
    points = [*range(0x3000), *range(0x3000, 0xD800, 9), *range(0xE000, 0x20000, 11), 0x10FFFF, 0xFEFF]
    odd = ["</s>", "<s>", "<|endoftext|>", "<0x41>", "\0", "  ", "\n\n", "▁", "\r\n", "\u3000", "'s", "'LL"]
    texts = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.35:
            texts.append("".join(map(chr, rng.choices(points, k=rng.randint(0, 40)))))
        elif kind < 0.6:
            texts.append("".join(rng.choices([*" \t\n\r\u00a01234aB.,'-é字", *odd], k=rng.randint(0, 40))))
        else:
            text = rng.choice(TEXTS)
            at = rng.randrange(len(text))
            texts.append(text[at : at + rng.randint(0, 80)] + rng.choice(odd) + chr(rng.choice(points)))
    return texts


def byte_bpe(path: Path, patterns: tuple[str, ...] | None) -> Path:
    """A small byte-level BPE with the split patterns of a published tokenizer."""
    import tokenizers
    from tokenizers import pre_tokenizers

    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=patterns is None)
    splits = [pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in patterns or ()]
    model.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level]) if patterns else byte_level
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    model.train_from_iterator(TEXTS[:40], trainer)
    model.save(str(path))
    return path


def agree(tokenizer: Tokenizer, texts: list[str]) -> Encoder:
    encoder = Encoder(tokenizer)
    encoder.begin()
    encoder.examine(texts[:20])
    found = encoder.encode(pa.array(texts, pa.large_string()))
    assert not found.refused
    assert found.tokens.tolist() == list(chain.from_iterable(tokenizer.encode_batch(texts)))
    return encoder


@pytest.mark.parametrize("name", PATTERNS)
def test_byte_level_tokenizers_give_the_references_ids(tmp_path: Path, name: str) -> None:
    tokenizer = open_tokenizer(byte_bpe(tmp_path / "tokenizer.json", PATTERNS[name]))
    encoder = agree(tokenizer, arbitrary(1500))
    assert encoder.facts["encoder"].startswith("gigatoken"), encoder.facts


def test_a_sentencepiece_model_gives_the_references_ids(tokenizer: Tokenizer) -> None:
    assert agree(tokenizer, arbitrary(10_000)).facts["encoder"].startswith("gigatoken")


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN, QWEN_PATTERN])
def test_rank_files_give_the_references_ids(tmp_path: Path, pattern: str) -> None:
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [
        b"th",
        b"the",
        b" the",
        b"in",
        b"ing",
        b" a",
        b"\n\n",
        b"  ",
        b"12",
        b"123",
        b"'s",
        b"\xe5\xad",
    ]
    lines = [base64.b64encode(piece) + b" %d" % rank for rank, piece in enumerate(pieces)]
    (tmp_path / "own.tiktoken").write_bytes(b"\n".join(lines))
    tokenizer = open_tokenizer(tmp_path / "own.tiktoken", TokenizerSettings(pattern=pattern))
    assert agree(tokenizer, arbitrary(1500)).facts["encoder"].startswith("gigatoken")


def test_metaspace_with_byte_fallback_gives_the_references_ids(tmp_path: Path, model: Path) -> None:
    from gigatoken._load.sentencepiece import sentencepiece_to_tokenizer_json

    config = json.loads(sentencepiece_to_tokenizer_json(model.read_bytes()))
    config["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(config))
    encoder = agree(open_tokenizer(tmp_path / "tokenizer.json"), arbitrary(1500))
    assert encoder.facts["encoder"].startswith("gigatoken"), encoder.facts


def test_what_gigatoken_does_not_read_is_encoded_by_the_reference_and_said(tmp_path: Path) -> None:
    letters = [[letter, -5.0] for letter in "▁abcdefgh"]
    config = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": None, "added_tokens": [],
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["</s>", -9.0], *letters]},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(config))
    encoder = Encoder(open_tokenizer(tmp_path / "tokenizer.json"))
    assert encoder.facts["encoder"].startswith("tokenizers ")
    assert "does not read it" in encoder.facts["encoder_why"]
    assert encoder.encode(pa.array(["abc"], pa.large_string())).tokens.tolist() == [3, 4, 5]


class Contrary:
    """An encoder that gives other ids for a text with `zebra` and panics at `quagga`."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def encode(self, text: bytes) -> Any:
        if b"quagga" in text:
            raise type("PanicException", (BaseException,), {})("called `Option::unwrap()`")
        ids = self.backend.encode(text)
        return ids[::-1] if b"zebra" in text else ids


@pytest.fixture
def contrary(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fast._maker
    monkeypatch.setattr(fast, "_maker", lambda tokenizer: lambda: Contrary(whole(tokenizer)()))


def test_a_difference_on_the_corpus_falls_back_for_that_file_and_is_said(
    tokenizer: Tokenizer, tmp_path: Path, contrary: None
) -> None:
    encoder = Encoder(tokenizer)
    assert encoder.facts["encoder"].startswith("gigatoken")
    texts = ["one plain text", "a zebra crosses", "and another"]
    documents = write_documents(tmp_path / "d.parquet", "s", list(texts))
    found = encode(encoder, documents, tmp_path / "t.bin", tmp_path / "i.parquet")
    assert found.facts["encoder"].startswith("sentencepiece ")
    assert "other ids for a document: 'a zebra crosses'" in found.facts["encoder_why"]
    ids = [id for text in tokenizer.encode_batch(texts) for id in [*text, tokenizer.eos_id]]
    assert np.fromfile(tmp_path / "t.bin", "<u2").tolist() == ids
    plain = write_documents(tmp_path / "p.parquet", "p", ["one plain text"])
    found = encode(encoder, plain, tmp_path / "t.bin", tmp_path / "i.parquet")
    assert found.facts["encoder"].startswith("gigatoken")


def test_a_difference_found_late_takes_back_what_was_encoded_before(
    tokenizer: Tokenizer, tmp_path: Path, contrary: None
) -> None:
    plain = [f"plain text {number}" for number in range(ROW_GROUP_ROWS)]
    texts = [*plain, *(f"a zebra crosses {number}" for number in range(ROW_GROUP_ROWS))]
    documents = write_documents(tmp_path / "d.parquet", "s", list(texts))
    ids = pq.read_table(documents, columns=["id"])["id"].combine_chunks()
    fraction = _SAMPLE_DOCUMENTS / len(texts)
    unseen = int(np.flatnonzero(uniform(0, "encode.sample", ids) >= fraction)[0])
    texts[unseen] = "a zebra that no sample holds"
    documents = write_documents(tmp_path / "d.parquet", "s", list(texts))
    found = encode(Encoder(tokenizer), documents, tmp_path / "t.bin", tmp_path / "i.parquet")
    assert found.facts["encoder"].startswith("sentencepiece ")
    assert found.counts["documents"] == len(texts) and found.losses["checked"] < 3 * _SAMPLE_DOCUMENTS
    wanted = [id for text in tokenizer.encode_batch(texts) for id in [*text, tokenizer.eos_id]]
    assert np.fromfile(tmp_path / "t.bin", "<u2").tolist() == wanted
    assert pq.read_table(tmp_path / "i.parquet").num_rows == len(texts)


def test_a_panic_sends_one_document_to_the_reference(tokenizer: Tokenizer, contrary: None) -> None:
    encoder = Encoder(tokenizer)
    texts = ["before", "a quagga was here", "after"]
    found = encoder.encode(pa.array(texts, pa.large_string()))
    assert found.tokens.tolist() == list(chain.from_iterable(tokenizer.encode_batch(texts)))
    assert encoder.num_by_reference == 1


def test_a_document_that_no_encoder_takes_fails_alone(
    tokenizer: Tokenizer, tmp_path: Path, contrary: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenizer.encode_batch

    def panicking(texts: Any) -> Any:
        if "quagga" in texts[0]:
            raise type("PanicException", (BaseException,), {})("no")
        return whole(texts)

    monkeypatch.setattr(tokenizer, "encode_batch", panicking, raising=False)
    documents = write_documents(tmp_path / "d.parquet", "s", ["before", "a quagga", "after"])
    found = encode(Encoder(tokenizer), documents, tmp_path / "t.bin", tmp_path / "i.parquet")
    assert found.counts["documents"] == 2 and found.counts["failed"] == 1
    (row,) = found.failed.to_pylist()
    assert row["error"] == REFUSED and "PanicException" in row["message"] and row["payload_bytes"] == 8
    assert pq.read_table(tmp_path / "i.parquet").num_rows == 2
    assert np.fromfile(tmp_path / "t.bin", "<u2").tolist() == [
        *whole(["before"])[0], tokenizer.eos_id, *whole(["after"])[0], tokenizer.eos_id,
    ]  # fmt: skip


def test_letters_of_newer_unicode_go_to_the_reference(tmp_path: Path) -> None:
    """gigatoken and tokenizers split around a letter of Unicode 17 each in another way."""
    tokenizer = open_tokenizer(byte_bpe(tmp_path / "tokenizer.json", None))
    texts = ["plain", "naïve 字 🙂", "a\u088fa", "b\U00016ea0b", "c\U000323b0c", "\u0c5b and \u0c5d"]
    assert [fast.holds_newer(text.encode()) for text in texts] == [False, False, True, True, True, False]
    encoder = Encoder(tokenizer)
    found = encoder.encode(pa.array(texts, pa.large_string()))
    assert found.tokens.tolist() == list(chain.from_iterable(tokenizer.encode_batch(texts)))
    assert encoder.num_by_reference == 3


def test_a_million_blanks_are_encoded_though_tiktoken_panics(tmp_path: Path) -> None:
    lines = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
    (tmp_path / "own.tiktoken").write_bytes(b"\n".join(lines))
    encoder = Encoder(open_tokenizer(tmp_path / "own.tiktoken"))
    found = encoder.encode(pa.array(["a" + " " * 1_000_000 + "b", "next"], pa.large_string()))
    assert not found.refused and found.lengths.tolist() == [1_000_002, 4]


def test_new_words_do_not_grow_the_encoder_beyond_its_bound(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "CACHE_BYTES", 16 << 20)
    encoder = Encoder(tokenizer)
    assert encoder._fast
    grown = []  # unbounded: some ten bytes per byte of these 14 MB
    for seed in range(8):
        letters = np.random.default_rng(seed).integers(97, 123, (200_000, 9)).astype("u1")
        letters[:, 8] = 32
        texts = [letters[at : at + 5000].tobytes().decode() for at in range(0, len(letters), 5000)]
        encoder.encode(pa.array(texts, pa.large_string()))
        grown.append(fast.resident_bytes() - encoder._fast._base_bytes)
    assert encoder._fast.num_renewed >= 1 and max(grown) < 48 << 20
