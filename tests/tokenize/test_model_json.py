"""A SentencePiece model becomes the tokenizer.json that gigatoken makes of it, less what is never merged."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.literals import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, model_of, pieces_of
from gristmill.tokenize.training.model_json import model_json
from tests.support.small_corpus import TEXTS
from tests.support.tokenizer_files import sentencepiece_file


def varint(value: int) -> bytes:
    head, out = value, b""
    while head >= 0x80:
        head, out = head >> 7, out + bytes([head & 0x7F | 0x80])
    return out + bytes([head])


def piece(content: str, score: float, kind: int, *, turned: bool = False) -> bytes:
    """A piece's message; `turned`, its fields stand in an order that no writer uses, but any reader takes."""
    name = content.encode()
    fields = [b"\x0a" + varint(len(name)) + name, b"\x15" + struct.pack("<f", score), b"\x18" + varint(kind)]
    body = b"".join(fields[::-1] if turned else fields)
    return b"\x0a" + varint(len(body)) + body


BPE_WITH_BYTES = b"\x12" + varint(5) + b"\x18\x02" + b"\x98\x02\x01"  # TrainerSpec: model_type, byte_fallback


def as_gigatoken_has_it(data: bytes) -> dict[str, Any]:
    from gigatoken._load.sentencepiece import sentencepiece_to_tokenizer_json

    config: dict[str, Any] = json.loads(sentencepiece_to_tokenizer_json(data))
    apart = {content for content, kind in pieces_of(data) if kind not in (NORMAL, USER_DEFINED)}
    config["added_tokens"] = [token for token in config["added_tokens"] if not token["special"]]
    merges = config["model"]["merges"]
    config["model"]["merges"] = [
        merge for merge in merges if not {merge[0], merge[1], merge[0] + merge[1]} & apart
    ]
    return config


@pytest.mark.parametrize("symbols", [(), ("<|user|>", "▁▁▁", "ab")])
def test_a_trained_model(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    data = sentencepiece_file(tmp_path / "own.model", symbols).read_bytes()
    assert json.loads(model_json(data)) == as_gigatoken_has_it(data)


def test_a_model_with_a_normaliser_and_blanks_that_go(tmp_path: Path) -> None:
    import sentencepiece

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[0].split("\n") * 3), model_writer=buffer, vocab_size=380,
        model_type="bpe", byte_fallback=True, normalization_rule_name="nfkc", minloglevel=2,
        hard_vocab_limit=False, num_threads=1,
    )  # fmt: skip
    data = buffer.getvalue()
    assert len(json.loads(model_json(data))["normalizer"]["normalizers"]) == 5
    assert json.loads(model_json(data)) == as_gigatoken_has_it(data)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.text("ab▁é", min_size=1, max_size=5),
            st.sampled_from([0.0, -1.0, -2.0, -3.0]),
            st.sampled_from([NORMAL, NORMAL, NORMAL, USER_DEFINED, CONTROL, UNUSED, BYTE, UNKNOWN]),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
        unique_by=lambda row: row[0],
    )
)
def test_scores_that_repeat_and_pieces_of_every_kind(rows: Sequence[tuple[str, float, int, bool]]) -> None:
    data = b"".join(piece(*row[:3], turned=row[3]) for row in rows) + BPE_WITH_BYTES
    assert pieces_of(data) == tuple((content, kind) for content, _, kind, _ in rows)
    assert json.loads(model_json(data)) == as_gigatoken_has_it(data)


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
def test_a_model_that_ends_within_a_field_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="ends within"):
        model_of((piece("ab", -1.0, NORMAL) + piece("é" * 100, -2.0, NORMAL))[:-cut])


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        (b"\x18\x01\x98\x02\x01", "no BPE model"),
        (b"\x18\x02", "no byte fallback"),
        (b"\x18\x02\x98\x02\x01\xc0\x01\x01", "takes a blank with the word before it"),
    ],
)
def test_what_gigatoken_has_no_like_of_is_refused_with_the_reason(trainer: bytes, said: str) -> None:
    data = piece("ab", -1.0, NORMAL) + b"\x12" + varint(len(trainer)) + trainer
    with pytest.raises(ValueError, match=said):
        model_json(data)
