"""Tokenizers: exact round trips, the same bytes when trained twice, and errors that say what is missing."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.errors import InputError
from gristmill.token_shards import token_dtype
from gristmill.tokenize.encoding.encode import encode, flat
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer, checked, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from tests.support.small_corpus import TEXTS, train_tokenizer, write_documents

VALID = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"))


@given(VALID)
def test_any_valid_text_comes_back_exactly(tokenizer: Tokenizer, text: str) -> None:
    (ids,) = tokenizer.encode_batch([text])
    assert tokenizer.decode(ids) == text


def test_the_meta_symbol_does_not_come_back_and_is_counted(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert tokenizer.decode(tokenizer.encode_batch(["a\u2581b"])[0]) == "a b"
    documents = write_documents(tmp_path / "d.parquet", "s", ["a\u2581b \u2581", "plain", None])
    found = encode(Encoder(tokenizer), documents, tmp_path / "t.bin", tmp_path / "i.parquet")
    assert found.losses == {"checked": 3, "lossy": 1, "U+2581": 1}
    assert found.counts["documents"] == 3 and found.counts["bytes"] == len("a\u2581b \u2581plain".encode())


def test_the_same_input_trains_the_same_bytes(model: Path, tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "docs.parquet", "docs", list(TEXTS))
    taken = train_tokenizer(
        TokenizerSettings(vocab_size=500), {"docs": [documents]}, {}, tmp_path / "again.model"
    )
    assert (tmp_path / "again.model").read_bytes() == model.read_bytes()
    assert taken == {"docs": sum(len(text.encode()) for text in TEXTS)}


def test_the_vocabulary_is_a_multiple_of_64_and_spells_special_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 512 and tokenizer.piece(tokenizer.eos_id) == "</s>"
    assert tokenizer.eos_id not in tokenizer.encode_batch(["</s>"])[0]


def test_a_sample_has_the_mixtures_proportions_in_bytes(tmp_path: Path) -> None:
    halves = {"a": TEXTS[::2] * 3, "b": TEXTS[1::2]}
    paths = {
        name: [write_documents(tmp_path / f"{name}.parquet", name, list(texts))]
        for name, texts in halves.items()
    }
    taken = train_tokenizer(
        TokenizerSettings(vocab_size=400), paths, {"a": 0.25, "b": 0.75}, tmp_path / "m.model"
    )
    assert taken["a"] / sum(taken.values()) == pytest.approx(0.25, abs=0.01)


def test_too_little_text_for_the_vocabulary_says_what_to_do(tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "d.parquet", "s", ["three words here"])
    with pytest.raises(InputError, match="cannot be trained to 32000 pieces on 3 distinct words") as caught:
        train_tokenizer(TokenizerSettings(), {"s": [documents]}, {}, tmp_path / "m.model")
    assert "lower `tokenizer.vocab_size`" in str(caught.value)


def test_a_source_without_text_is_named(tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "d.parquet", "s", [])
    with pytest.raises(InputError, match="the source `s` has no text"):
        train_tokenizer(TokenizerSettings(), {"s": [documents]}, {"s": 1.0}, tmp_path / "m.model")


def huggingface(path: Path, eos: str | None) -> Path:
    import tokenizers

    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None, byte_fallback=False))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    special = [eos] if eos else []
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(TEXTS[:3], trainer)
    model.save(str(path))
    return path


def test_a_hugging_face_tokenizer_is_read_from_its_file(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(huggingface(tmp_path / "tokenizer.json", "<|endoftext|>"))
    text = "Déjà vu, <|endoftext|> 世界\n\n  x"
    (ids,) = tokenizer.encode_batch([text])
    assert tokenizer.decode(ids) == text and tokenizer.eos_id not in ids


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no token that ends a document") as caught:
        open_tokenizer(huggingface(tmp_path / "tokenizer.json", None))
    assert "tokenizer.eos" in str(caught.value)


def test_a_tiktoken_file_is_read_with_its_end_after_the_last_rank(tmp_path: Path) -> None:
    ranks = [bytes([byte]) for byte in range(256)] + [b"he", b"ll", b"hell"]
    lines = [base64.b64encode(token) + b" " + str(rank).encode() for rank, token in enumerate(ranks)]
    (tmp_path / "small.tiktoken").write_bytes(b"\n".join(lines))
    tokenizer = open_tokenizer(tmp_path / "small.tiktoken")
    assert tokenizer.vocab_size == 260 and tokenizer.eos_id == 259
    assert tokenizer.encode_batch(["hello"])[0] == [258, 111] and tokenizer.decode([258, 111]) == "hello"


def test_ids_beyond_the_vocabulary_are_an_error_never_wrapped() -> None:
    with pytest.raises(InputError, match="the id 70000, beyond its vocabulary of 512"):
        checked(np.array([1, 70_000]), 512, "documents.parquet")


@pytest.mark.parametrize(("vocab", "dtype"), [(65_536, "<u2"), (65_537, "<u4")])
def test_tokens_are_two_bytes_wide_while_every_id_fits(vocab: int, dtype: str) -> None:
    assert token_dtype(vocab).str == dtype


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6))
def test_documents_laid_end_to_end_are_cut_by_their_ends(batch: list[list[int]]) -> None:
    tokens, ends = flat(batch, 77)
    starts = [0, *ends.tolist()]
    assert [tokens[a:b].tolist() for a, b in pairwise(starts)] == [[*ids, 77] for ids in batch]


def rank_lines(path: Path, *more: bytes) -> Path:
    lines = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
    path.write_bytes(b"\n".join([*lines, *more]))
    return path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"enp6 5", r"the rank of b'zzz' is 5, and that of b'.x05'"),
        (b"Bg== 999", "the rank of b'.x06' is 999, and the rank 6, too"),
        (b"enp6 -1", "the id -1, ids are whole numbers from 0 to 16,777,215"),
        (b"enp6 4294967296", "the id 4294967296"),
        (b"enp6 1180591620717411303424", "the id 1180591620717411303424"),
    ],
)
def test_a_rank_file_gives_each_token_a_rank_of_its_own_within_bounds(
    tmp_path: Path, line: bytes, said: str
) -> None:
    file = rank_lines(tmp_path / "own.tiktoken", line)
    with pytest.raises(InputError, match=said) as told:
        open_tokenizer(file)
    assert str(file) in str(told.value)


def test_an_end_token_beyond_every_vocabulary_is_refused(tmp_path: Path) -> None:
    file = rank_lines(tmp_path / "own.tiktoken")
    with pytest.raises(InputError, match="the id 1000000000000"):
        open_tokenizer(file, TokenizerSettings(eos=10**12))


def test_a_pattern_that_is_none_is_told(tmp_path: Path) -> None:
    file = rank_lines(tmp_path / "own.tiktoken")
    with pytest.raises(InputError, match=r"own.tiktoken` cannot be read with the pattern '\(\('"):
        open_tokenizer(file, TokenizerSettings(pattern="(("))


def replaced(content: str, pattern: dict[str, str]) -> dict[str, object]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def test_a_tokenizer_json_that_would_take_all_memory_is_refused(tmp_path: Path) -> None:
    """The library makes a table of the largest id, and ends the process where memory does not suffice."""
    whole = json.loads(huggingface(tmp_path / "whole.json", "</s>").read_text())
    steps = [replaced("x" * 10, {"String": "xy"}), replaced("y" * 20, {"Regex": "x"})]
    bombs: list[tuple[dict[str, object], str]] = [
        (
            {"normalizer": {"type": "Sequence", "normalizers": steps}},
            "text 100 times as long, more than 64",
        ),
        ({"normalizer": replaced("x" * 1000, {"String": "l"})}, "1,000 times"),
        ({"model": {**whole["model"], "vocab": {**whole["model"]["vocab"], "zz": 1 << 31}}}, "id 2147483648"),
        ({"added_tokens": [{**whole["added_tokens"][0], "id": 1 << 31}]}, "the id 2147483648"),
        ({"added_tokens": [{**whole["added_tokens"][0], "id": "7"}]}, "the id '7'"),
    ]
    for number, (said, match) in enumerate(bombs):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps({**whole, **said}))
        with pytest.raises(InputError, match=match) as told:
            open_tokenizer(file)
        assert str(file) in str(told.value)
    file.write_text(json.dumps({**whole, "normalizer": replaced("x" * 60, {"String": "l"})}))
    assert open_tokenizer(file).vocab_size
