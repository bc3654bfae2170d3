"""Importance weights: Python's own hash, RedPajama-V2's arithmetic in plain Python beside the kernels, and
the way from texts over counted distributions to signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.errors import InputError
from gristmill.filters.block import Batch
from gristmill.filters.passes import compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.published.distribution import Distribution, files_of, open_distribution, save
from gristmill.filters.published.importance import count, raw_words
from gristmill.filters.published.python_hash import string_hashes
from gristmill.filters.published.redpajama import measure_redpajama
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.cli import main
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from tests.filters.test_blocks import removed_by
from tests.support.filter_documents import documents

BUCKETS = 97
BOOKS = [
    "It was the best of times, it was the worst of times.",
    "Call me Ishmael. Some years ago - never mind.",
]
CRAWL = [
    "Buy now! Click here: best prices, best times.",
    "Log in | Register | Home",
    "Some years of warranty",
]
TEXTS = [
    *(
        "",
        " ",
        "a",
        "It was the worst price.",
        "Click here, Ishmael!",
        "naïve œuvre",
        "漢字かな",
        "🦊 fox 🦊 fox",
    ),
    *("x" * 9, "word " * 700, "\ud7ff\ue000 edge", "tab\tand\nline"),
]
# RedPajama's rules as they are described, in the plainest Python; run where `hash` has a fixed secret.
PLAIN = r"""
import json, math, re, sys
given = json.load(sys.stdin)

def features(text, buckets):
    words = re.findall(r"\w+|[^\w\s]+", text)
    found = [0] * buckets
    for gram in [*words, *zip(words, words[1:])]:
        found[abs(hash(gram)) % buckets] += 1
    return found, len(words)

def distribution(texts, buckets):
    counted = [features(text, buckets) for text in texts]
    return [sum(column) for column in zip(*(f for f, _ in counted))], sum(n for _, n in counted) / len(texts)

def poisson(number, mean):
    return math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))

buckets = given["buckets"]
(target, target_mean), (source, source_mean) = (distribution(given[k], buckets) for k in ("target", "source"))
told = []
for text in given["texts"]:
    own, _ = features(text, buckets)
    score = math.fsum(
        n * (math.log(p / sum(target) + 1e-8) - math.log(q / sum(source) + 1e-8))
        for n, p, q in zip(own, target, source)
    )
    probabilities = (poisson(len(text), target_mean), poisson(len(text), source_mean))
    correction = math.log(probabilities[0] + 1e-8) - math.log(probabilities[1] + 1e-8)
    told.append([own, score, score + correction] if text else [own, 0.0, 0.0])
print(json.dumps({"told": told, "target": [target, target_mean]}))
"""


def under_seed(seed: int, program: str, given: Any) -> Any:
    """What a program prints of JSON, run by a Python whose `hash` has the secret of a seed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="a Python built with another hash")
@pytest.mark.parametrize("seed", [0, 1, 42, 4_294_967_295])
def test_strings_and_pairs_are_hashed_as_python_does(seed: int) -> None:
    draw = np.random.default_rng(seed)
    strings = [
        "".join(map(chr, draw.integers(1, top, size)))
        for size in range(40)
        for top in (0x7F, 0xFF, 0xD7FF, 0x10FFFF)
    ]
    strings = [text.encode("utf-16", "ignore").decode("utf-16") for text in strings]
    program = "import json, sys; print(json.dumps([hash(text) for text in json.load(sys.stdin)]))"
    assert string_hashes(strings, seed).tolist() == under_seed(seed, program, strings)


def counted(texts: Sequence[str], folder: Path) -> str:
    words = raw_words(texts)
    save(Distribution(count(words, BUCKETS), len(words.places) / len(texts)), folder)
    return str(folder)


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="a Python built with another hash")
def test_weights_and_counts_are_those_of_plain_python(tmp_path: Path) -> None:
    texts = [*TEXTS, *BOOKS, *CRAWL]
    given = {"buckets": BUCKETS, "target": BOOKS, "source": CRAWL, "texts": texts}
    plain = under_seed(42, PLAIN, given)
    places = {"books": counted(BOOKS, tmp_path / "books"), "source": counted(CRAWL, tmp_path / "crawl")}
    target = open_distribution(places["books"])
    assert [target.counts.tolist(), target.mean_words] == plain["target"]
    found = measure_redpajama(Batch(documents(texts)), places).signals
    assert "wikipedia_importance" not in found
    for row, (features, score, corrected) in enumerate(plain["told"]):
        assert count(raw_words(texts[row : row + 1]), BUCKETS).tolist() == features
        assert found["books_importance"][row] == pytest.approx(score, abs=1e-8)
        assert found["books_importance_length_correction"][row] == pytest.approx(corrected, abs=1e-8)
    corrections = found["books_importance_length_correction"] - found["books_importance"]
    assert np.abs(corrections).max() > 1  # some texts are short enough for the correction to say something


def test_pairs_do_not_reach_from_one_text_into_the_next() -> None:
    apart = count(raw_words(["one two", "three"]), BUCKETS)
    assert apart.sum() == 4 and count(raw_words(["one two three"]), BUCKETS).sum() == 5


def test_counts_are_read_under_redpajamas_own_names(tmp_path: Path) -> None:
    folder = Path(counted(BOOKS, tmp_path / "own"))
    theirs = tmp_path / "books.en.97.counts.npy"
    theirs.write_bytes((folder / "counts.npy").read_bytes())
    (tmp_path / "books.en.lambda.npy").write_bytes((folder / "lambda.npy").read_bytes())
    assert files_of(str(theirs)) == [str(theirs), str(tmp_path / "books.en.lambda.npy")]
    found, own = open_distribution(str(theirs)), open_distribution(str(folder))
    assert found.counts.tolist() == own.counts.tolist() and found.mean_words == own.mean_words
    digests = [PRESETS["redpajama-v2"].digests({"books": str(place)})["books"] for place in (theirs, folder)]
    assert digests[0] == digests[1]
    np.save(tmp_path / "books.en.lambda.npy", np.float64(3))  # the mean decides weights, so it is digested
    assert PRESETS["redpajama-v2"].digests({"books": str(theirs)})["books"] != digests[0]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("counts.npy", np.zeros(BUCKETS, np.int64), "no whole numbers with a sum above 0"),
        ("counts.npy", np.ones(BUCKETS), "no whole numbers with a sum above 0"),
        ("lambda.npy", np.float64(0), "no number above 0"),
        ("lambda.npy", None, "numpy reads no array"),
    ],
)
def test_a_file_that_is_no_distribution_is_refused(tmp_path: Path, name: str, values: Any, said: str) -> None:
    folder = Path(counted(BOOKS, tmp_path / "books"))
    if values is None:
        (folder / name).write_bytes(b"not of numpy")
    else:
        np.save(folder / name, values)
    with pytest.raises(InputError, match=said):
        open_distribution(str(folder))


def test_other_numbers_of_buckets_do_not_go_together(tmp_path: Path) -> None:
    counted(BOOKS, tmp_path / "books")
    save(Distribution(np.ones(5, np.int64), 2.0), tmp_path / "crawl")
    places = {"books": str(tmp_path / "books"), "source": str(tmp_path / "crawl")}
    with pytest.raises(InputError, match=r"has 97 buckets, .* has 5"):
        measure_redpajama(Batch(documents(TEXTS)), places)


def test_a_target_without_a_source_is_refused_and_so_is_a_bound_on_what_is_not_measured() -> None:
    with pytest.raises(
        ValueError, match=r"by `redpajama-v2.books` alone nothing is measured: set `.*source`"
    ):
        FilterSettings(presets=("redpajama-v2",), set={"redpajama-v2.books": "b"})
    with pytest.raises(
        ValueError, match=r"measured only where `redpajama-v2.source` and `redpajama-v2.books`"
    ):
        FilterSettings(presets=("redpajama-v2",), set={"redpajama-v2.rps_doc_books_importance.min": 0})


def test_weights_are_measured_and_bounded_like_every_signal(tmp_path: Path) -> None:
    names = {"books": counted(BOOKS, tmp_path / "books"), "source": counted(CRAWL, tmp_path / "crawl")}
    told = {f"redpajama-v2.{name}": place for name, place in names.items()}
    without = compile_filters(FilterSettings(presets=("redpajama-v2",)), seed=1)
    assert not [rule for rule in without.rules if "importance" in rule]
    rule = "redpajama-v2.rps_doc_books_importance"
    found = removed_by(
        documents([BOOKS[0], CRAWL[0]]), presets=["redpajama-v2"], set={**told, f"{rule}.min": 0}
    )
    assert found == [None, rule]


def test_distributions_are_counted_from_the_command_line_and_measured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, texts in {"books": BOOKS, "crawl": CRAWL}.items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    quiet = ["--engine", "inline", "--quiet"]
    count_them = ["ngram", "distribution", "books.jsonl", "crawl.jsonl", "--out", "counted", "--to", "dsir"]
    with pytest.raises(SystemExit) as done:
        main([*count_them, "--set", f"importance.buckets={BUCKETS}", *quiet])
    assert not done.value.code
    printed = capsys.readouterr().out
    assert "dsir/books" in printed and "dsir/crawl" in printed
    own = open_distribution("dsir/books")
    assert own.counts.tolist() == count(raw_words(BOOKS), BUCKETS).tolist()
    set_ = ["--set", "redpajama-v2.books=dsir/books", "--set", "redpajama-v2.source=dsir/crawl"]
    bound = ["--set", "redpajama-v2.rps_doc_books_importance.min=0"]
    for _ in range(2):  # the second time nothing is left to do
        with pytest.raises(SystemExit) as done:
            main(
                ["filter", "crawl.jsonl", "--preset", "redpajama-v2", *set_, *bound, "--out", "kept", *quiet]
            )
        assert not done.value.code
    shown = capsys.readouterr().out
    assert "removed" in shown
    with pytest.raises(SystemExit) as done:
        main(["filter", "crawl.jsonl", "--preset", "redpajama-v2", *set_[:2], "--out", "other", *quiet])
    assert done.value.code


def test_other_counts_make_the_filter_step_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text(json.dumps({"text": "some text"}) + "\n")
    counted(BOOKS, Path("books")), counted(CRAWL, Path("crawl"))
    told = {
        "name": "r",
        "sources": {"web": {"inputs": ["in.jsonl"]}},
        "filter": {
            "presets": ["redpajama-v2"],
            "set": {"redpajama-v2.books": "books", "redpajama-v2.source": "crawl"},
        },
    }

    def digests() -> dict[str, str]:
        return next(
            step for step in build_plan(make_recipe(told)).steps if step.kind.name == "filter"
        ).external

    before = digests()
    counted([*BOOKS, "more"], Path("books"))
    assert digests() != before


def test_sources_without_words_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.jsonl").write_text(json.dumps({"text": "   "}) + "\n")
    with pytest.raises(SystemExit) as done:
        main(["ngram", "distribution", "none.jsonl", "--out", "out", "--engine", "inline", "--quiet"])
    assert done.value.code


def test_what_is_no_distribution_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text(json.dumps({"text": "some text"}) + "\n")
    counted(BOOKS, Path("books"))
    Path("empty").mkdir()
    for place, said in (
        ("nowhere", "`source`: cannot read `nowhere"),
        ("empty", "`source`: cannot read `empty"),
    ):
        set_ = ["--set", "redpajama-v2.books=books", "--set", f"redpajama-v2.source={place}"]
        with pytest.raises(SystemExit) as done:
            main(["filter", "in.jsonl", "--preset", "redpajama-v2", *set_, "--dry-run"])
        assert done.value.code
        told = capsys.readouterr().err
        assert said in told and "ngram distribution" in told
