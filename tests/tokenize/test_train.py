"""Training: words are counted exactly, samples have their shares, and both kinds repeat byte for byte."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.training import wordcount
from gristmill.tokenize.training.train import fractions, frequent, sample_misses, sample_words, text_bytes
from gristmill.tokenize.training.wordcount import add_counts, count_words
from tests.support.small_corpus import TEXTS, train_tokenizer, write_documents
from tests.tokenize.test_encoder import arbitrary

WORD = re.compile(r" (?=[^ \n\r])[^ \n\r]+|[^ \n\r]+| +(?= [^ \n\r])| +")


def counted(texts: list[str]) -> Counter[str]:
    """The definition, by regular expression; words longer than the kernel's bound are left out."""
    return Counter(word for text in texts for word in WORD.findall(text))


def kernel(texts: list[str | None]) -> Counter[str]:
    table = count_words([pa.array(texts, pa.large_string())])
    return Counter({row["word"].decode(): row["count"] for row in table.to_pylist()})


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab é字\n\r\t"), max_size=40), max_size=8))
def test_words_are_counted_as_their_definition_has_them(texts: list[str]) -> None:
    assert kernel([*texts, None]) == counted(texts)


def test_more_words_than_the_table_holds_are_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordcount, "_SLOTS", 1 << 6)  # both double some eight times
    monkeypatch.setattr(wordcount, "_POOL_BYTES", 1 << 9)
    rng = random.Random(1)
    texts = [" ".join(f"{rng.randrange(60_000):x}" for _ in range(1000)) for _ in range(20)]
    assert kernel(list(texts)) == counted(texts)


def test_long_runs_without_a_blank_are_cut_between_characters_and_lose_nothing() -> None:
    text = "字é" * 500
    found = kernel([text])
    assert sum(len(word) * count for word, count in found.items()) == len(text)
    assert max(len(word.encode()) for word in found) <= 256


def test_few_long_documents_give_their_share_of_the_sample(tmp_path: Path) -> None:
    """Ten books against a thousand pages: by whole documents the shares were anything."""
    rng = random.Random(2)
    words = [word for text in TEXTS for word in text.split()]
    texts = {
        "web": [" ".join(rng.choices(words, k=100)) for _ in range(1000)],
        "code": [" ".join(rng.choices(words, k=rng.choice([500, 12_000]))) for _ in range(12)],
    }
    paths = {
        name: write_documents(tmp_path / f"{name}.parquet", name, list(own)) for name, own in texts.items()
    }
    shares = {"web": 0.85, "code": 0.15}
    for seed in range(5):
        sizes = {name: text_bytes(path, seed, 0.0) for name, path in paths.items()}
        chosen = fractions(TokenizerSettings(sample_bytes=300_000), sizes, shares)
        taken = {
            name: sample_words(path, chosen[name], sizes[name], seed, 0.0)[1] for name, path in paths.items()
        }
        wanted = {name: round(fraction * sizes[name]) for name, fraction in chosen.items()}
        assert not sample_misses(wanted, taken), (seed, wanted, taken)
        assert all(taken[name] <= wanted[name] for name in wanted)


def test_a_source_that_is_off_by_a_point_is_named() -> None:
    assert sample_misses({"a": 80, "b": 20}, {"a": 80, "b": 19}) == {}
    assert set(sample_misses({"a": 80, "b": 20}, {"a": 80, "b": 10})) == {"a", "b"}


@pytest.mark.parametrize("pattern", ["gpt2", "llama3", "o200k"])
def test_byte_level_bpe_is_trained_encoded_fast_and_repeats(tmp_path: Path, pattern: str) -> None:
    documents = write_documents(tmp_path / "d.parquet", "s", list(TEXTS[:60]))
    wanted = TokenizerSettings(
        kind="byte-bpe", vocab_size=1024, pattern=pattern, special_tokens=("<|user|>",)
    )
    for name in ("a.json", "b.json"):
        train_tokenizer(wanted, {"s": [documents]}, {}, tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    tokenizer = open_tokenizer(tmp_path / "a.json")
    assert (tokenizer.vocab_size, tokenizer.eos_id) == (1024, 0) and "<|user|>" in tokenizer.special
    encoder = Encoder(tokenizer)
    assert encoder.facts["encoder"].startswith("gigatoken"), encoder.facts
    texts = [*arbitrary(200), "<|user|>"]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert tokenizer.decode(ids) == text
    sizes = [len(ids) for ids in tokenizer.encode_batch(list(TEXTS[:20]))]
    assert sum(len(text.encode()) for text in TEXTS[:20]) / sum(sizes) > 2.5


def test_tabs_are_trained_on_though_they_part_words_from_counts(tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "d.parquet", "s", ["func f() {\n\t\treturn x\n}\n" * 400, *TEXTS])
    train_tokenizer(TokenizerSettings(vocab_size=640), {"s": [documents]}, {}, tmp_path / "t.model")
    tokenizer = open_tokenizer(tmp_path / "t.model")
    (ids,) = tokenizer.encode_batch(["\n\t\treturn x"])
    assert [tokenizer.piece(id) for id in ids][1].startswith("\t\t") and tokenizer.decode(
        ids
    ) == "\n\t\treturn x"


def test_words_counted_file_by_file_train_the_same_tokenizer(tmp_path: Path) -> None:
    """However a source is cut into files, and in whatever order their counts arrive."""
    whole = write_documents(tmp_path / "whole.parquet", "s", list(TEXTS))
    settings_ = TokenizerSettings(vocab_size=1024)
    train_tokenizer(settings_, {"s": [whole]}, {}, tmp_path / "whole.model")
    for times in (1, 2):
        parts = [
            write_documents(tmp_path / f"{times}-{number}.parquet", "s", list(TEXTS[number :: 3 * times]))
            for number in range(3 * times)
        ]
        train_tokenizer(settings_, {"s": parts[::-1]}, {}, tmp_path / "parts.model")
        assert (tmp_path / "parts.model").read_bytes() == (tmp_path / "whole.model").read_bytes()


def test_a_sample_ends_at_its_bytes_and_the_words_are_those_of_what_was_taken(tmp_path: Path) -> None:
    path = write_documents(tmp_path / "d.parquet", "s", list(TEXTS))
    size = text_bytes(path, 1, 0.0)
    for fraction in (0.0, 0.1, 0.7, 1.0):
        words, taken = sample_words(path, fraction, size, 1, 0.0)
        assert taken <= round(fraction * size) and taken > 0.95 * round(fraction * size) - 4
        lengths = sum(len(row["word"]) * row["count"] for row in words.to_pylist())
        assert 0.9 * taken <= lengths <= taken
    assert add_counts([words, words])["count"].to_pylist() == [2 * n for n in words["count"].to_pylist()]


def test_of_too_many_words_the_rarest_are_left_out_but_for_scripts_without_blanks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gristmill.tokenize.training.train._MOST_WORDS", 3)
    monkeypatch.setattr("gristmill.tokenize.training.train._WORDS_PER_PIECE", 0)
    counts = {" a": 8, " b": 16, " c": 16, " d": 24, "字字": 1}
    words = pa.table({"word": [word.encode() for word in counts], "count": list(counts.values())})
    kept = {row["word"].decode() for row in frequent(words, 1).to_pylist()}
    assert kept == {" b", " c", " d", "字字"}
