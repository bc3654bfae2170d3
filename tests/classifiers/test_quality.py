"""The quality classifier: the same bytes twice, calibrated scores, and rules that no order changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from gristmill.classifiers.quality import calibrate, keep
from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality.draw import draw
from gristmill.classifiers.quality.fasttext_child import train_supervised
from gristmill.classifiers.quality.lines import prepare, window
from gristmill.classifiers.quality.passages import (
    num_passages,
    sample,
    sample_bounds,
    smallest,
    with_passages_below,
)
from gristmill.classifiers.settings import ClassifierSettings, Pareto, Threshold, TopFraction
from gristmill.document import document_id
from gristmill.errors import InputError, UsageError
from tests.support.classified import CODE, TEXTS, write_documents

SETTINGS = ClassifierSettings(buckets=10_000, heldout_fraction=0.25)
IDS = pa.array([document_id("s", str(n)) for n in range(20_000)], pa.binary(16))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("quality")
    prose = write_documents(folder / "prose.parquet", "prose", TEXTS)
    code = write_documents(folder / "code.parquet", "code", CODE)
    return folder, quality.train(SETTINGS, {"prose": [prose]}, {"code": [code]}, folder / "model", 1)


def test_prose_is_told_from_code_and_the_report_says_so(trained: tuple[Path, dict[str, Any]]) -> None:
    _, report = trained
    assert report["f1"] > 0.9 and report["auc"] > 0.95
    assert report["heldout"]["positives"] == report["heldout"]["negatives"] > 5
    assert sum(report["histograms"]["prose"]) == report["heldout"]["positives"]
    assert len(report["deciles"]) == 10 and all(len(part["samples"]) <= 20 for part in report["deciles"])
    rates = [report["keep_rate_by_alpha"][alpha] for alpha in ("1", "3", "9")]
    assert rates == sorted(rates, reverse=True)


def test_the_same_input_trains_the_same_bytes(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, report = trained
    again = quality.train(
        SETTINGS, {"prose": [folder / "prose.parquet"]}, {"code": [folder / "code.parquet"]}, tmp_path, 1
    )
    assert again == report
    assert all(
        (tmp_path / name).read_bytes() == (folder / "model" / name).read_bytes()
        for name in ("model.bin", "card.json")
    )


def test_the_bytes_do_not_depend_on_what_memory_held(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """fastText leaves most of its input matrix as it finds it; in this process it would find NaN."""
    folder, report = trained
    for size in range(100_000, 400_000, 10_000):
        held = [np.full(size, np.nan, np.float32) for _ in range(20)]
    del held
    again = quality.train(
        SETTINGS, {"prose": [folder / "prose.parquet"]}, {"code": [folder / "code.parquet"]}, tmp_path, 1
    )
    assert again == report
    assert (tmp_path / "model.bin").read_bytes() == (folder / "model" / "model.bin").read_bytes()


def test_a_training_that_fails_says_what_fasttext_said(tmp_path: Path) -> None:
    (tmp_path / "examples.txt").write_text("")
    with pytest.raises(InputError, match="Empty vocabulary"):
        train_supervised(tmp_path / "examples.txt", tmp_path / "model.bin", {"thread": 1, "verbose": 0})


def test_scores_are_probabilities_of_all_labels_not_of_the_first(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    """The library's own batch call repeats the first label's probability; code would then score as high as
    prose."""
    folder, _ = trained
    scorer = quality.Scorer(SETTINGS, folder / "model")
    prose, code = (scorer.score(pq.read_table(folder / f"{name}.parquet")) for name in ("prose", "code"))
    assert np.nanmedian(prose) > 0.9 and np.nanmedian(code) < 0.1


def test_a_class_without_examples_is_named(tmp_path: Path) -> None:
    prose, empty = (
        write_documents(tmp_path / "p.parquet", "p", TEXTS[:9]),
        write_documents(tmp_path / "e.parquet", "e", []),
    )
    with pytest.raises(InputError, match="the class of negatives has no examples"):
        quality.train(SETTINGS, {"p": [prose]}, {"e": [empty]}, tmp_path, 1)


def test_a_model_that_is_not_there_or_has_other_labels_is_refused(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = trained
    with pytest.raises(UsageError, match="there is no classifier"):
        quality.Scorer(SETTINGS, tmp_path / "none.bin")
    with pytest.raises(UsageError, match=r"no label '__label__hq', it has __label__"):
        quality.Scorer(SETTINGS, folder / "model" / "model.bin")


def test_pareto_keeps_at_the_rate_of_the_integral() -> None:
    """Scores uniform on [0, 1]: the expected rate is the integral of (2 - s)^-9, within three standard
    errors."""
    scores = np.linspace(0, 1, len(IDS)).astype(np.float32)
    kept = keep.decide(Pareto(), IDS, scores, seed=3)
    expected = quad(lambda s: (2 - s) ** -9.0, 0, 1)[0]
    rates = keep.pareto_rate(scores.astype(np.float64), 9.0)
    error = np.sqrt(np.sum(rates * (1 - rates))) / len(IDS)
    assert abs(kept.mask.mean() - expected) < 3 * error
    assert (kept.mask == (scores > kept.bounds)).mean() > 0.9999


def test_pareto_is_numpys_own_lomax() -> None:
    draws = np.random.default_rng(1).pareto(9.0, 200_000)
    for score in (0.0, 0.5, 0.9):
        assert (draws > 1 - score).mean() == pytest.approx(
            float(keep.pareto_rate(np.array([score]), 9.0)[0]), abs=0.004
        )


@pytest.mark.parametrize("rule", [Pareto(), Threshold(rule="threshold", score=0.7)])
def test_what_is_kept_depends_on_no_order(rule: Any) -> None:
    scores = np.random.default_rng(0).random(len(IDS)).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(IDS))
    forward = keep.decide(rule, IDS, scores, 1).mask
    backward = keep.decide(rule, IDS.take(pa.array(order)), scores[order], 1).mask
    assert (forward[order] == backward).all()


def test_the_top_tenth_is_exact_and_ties_go_by_hash() -> None:
    scores = (np.arange(len(IDS)) % 7).astype(np.float32)
    counts = Counter(keep.tally(scores[:500])) + Counter(keep.tally(scores[500:]))
    which, wanted = keep.crossing(counts, 0.1)
    near = keep.in_bin(scores, which)
    draws = draw(1, IDS)[near]
    cut = keep.find_cut(scores[near], draws, wanted)
    assert cut == keep.find_cut(scores[near][::-1], draws[::-1], wanted)
    kept = keep.decide(TopFraction(rule="top_fraction"), IDS, scores, 1, cut).mask
    assert kept.sum() == 2000 and scores[kept].min() == 6.0


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=200), st.floats(0.001, 1.0))
def test_a_quantile_found_by_bins_is_the_one_that_sorting_finds(scores: list[float], fraction: float) -> None:
    values = np.array(scores, np.float32)
    draws = np.random.default_rng(0).random(len(values))
    which, wanted = keep.crossing(keep.tally(values), fraction)
    near = keep.in_bin(values, which)
    cut = keep.find_cut(values[near], draws[near], wanted)
    best = sorted(zip(-(values + np.float32(0)), draws, strict=True))[
        : max(1, int(np.ceil(round(fraction * len(values), 6))))
    ]
    assert (cut.score, cut.draw) == (-best[-1][0], best[-1][1])


def test_only_documents_that_can_be_sampled_are_passed_on_and_the_sample_is_the_same(tmp_path: Path) -> None:
    settings = ClassifierSettings(examples=40, passage_chars=200, window_chars=400)
    path = write_documents(tmp_path / "all.parquet", "prose", TEXTS * 3)
    table = pq.read_table(path)
    bounds = sample_bounds(settings, num_passages(table, settings, 1), 1)
    bounds["heldout"] = 1 << 62  # the quota of the held-out part is larger than this corpus
    passed = with_passages_below(table, settings, 1, bounds)
    pq.write_table(passed, tmp_path / "some.parquet")
    assert 0 < passed.num_rows < table.num_rows
    for heldout, quota in ((False, 40), (True, 20)):
        whole, part = (
            sample({"prose": [tmp_path / name]}, settings, 1, 0.0, heldout=heldout, quota=quota)
            for name in ("all.parquet", "some.parquet")
        )
        assert part == whole and len(whole) == quota


def test_alpha_is_fitted_to_the_curated_scores() -> None:
    rng = np.random.default_rng(0)
    crawled = rng.random(50_000)
    curated = crawled[rng.random(50_000) < keep.pareto_rate(crawled, 6.0)]
    assert keep.fit_alpha(crawled, curated) == pytest.approx(6.0, abs=0.75)


def test_alpha_may_be_fitted_or_above_zero_in_a_recipe() -> None:
    assert (
        Pareto.model_validate({"rule": "pareto", "alpha": "fit"}).alpha == "fit"
        and Pareto(alpha=3).alpha == 3.0
    )
    for wrong in (0, -1, "other"):
        with pytest.raises(ValueError, match="alpha"):
            Pareto.model_validate({"rule": "pareto", "alpha": wrong})


@pytest.mark.parametrize("how", ["platt", "isotonic"])
def test_calibrated_scores_mean_what_they_say(how: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(20_000)
    labels, raw = rng.random(20_000) < truth, truth**3
    scores = calibrate.apply(calibrate.fit(how, raw, labels), raw)
    for low in (0.2, 0.5, 0.8):
        part = (scores > low - 0.05) & (scores < low + 0.05)
        assert labels[part].mean() == pytest.approx(low, abs=0.08)


def test_preparations_are_as_named() -> None:
    text = " Über\n\nAll\t你好 "
    assert prepare(text, "spaces") == "Über All 你好"
    assert prepare(text, "folded") == "über all 你 好"
    assert prepare(text, "lines") == "Über  All\t你好"


def test_windows_cut_where_they_say() -> None:
    text = "".join(chr(97 + n % 26) for n in range(5000))
    assert window(text, "head", 100) == text[:100] and window(text, "tail", 100) == text[-100:]
    assert window(text, "middle", 100) == text[2450:2550] and window(text, "pile", 100) == text[:4000][-1500:]
    assert window("short", "pile", 100) == "short"


def test_a_sample_is_the_smallest_by_order_whatever_came_first() -> None:
    from gristmill.classifiers.quality.passages import Passage

    passages = [Passage(n * 7919 % 1000, b"", "s", str(n)) for n in range(1000)]
    assert smallest(passages, 10) == sorted(passages)[:10] == smallest(passages[::-1], 10)


@pytest.mark.slow
def test_curated_text_is_told_from_raw_pages(shared_data: Path, tmp_path: Path) -> None:
    """Wikipedia and books against the crawl's own text: F1 at least 0.95 on documents held out."""
    import gzip
    import json

    def read(*names: str) -> list[str]:
        lines = [
            line
            for name in names
            for line in gzip.decompress((shared_data / "sources" / name).read_bytes()).splitlines()
        ]
        return [json.loads(line)["text"] for line in lines]

    wiki = read("wikipedia/enwiki-articles.jsonl.gz", "wikipedia/multilingual-paragraphs.jsonl.gz")
    books = read("books/eltec.jsonl.gz", "books/classic-books-markdown.jsonl.gz")
    gold = gzip.decompress((shared_data / "realweb" / "gold.jsonl.gz").read_bytes()).splitlines()
    web = [json.loads(line)["gold_text"] or "" for line in gold]
    files = {
        name: [write_documents(tmp_path / f"{name}.parquet", name, texts)]
        for name, texts in (("w", wiki), ("b", books))
    }
    crawl = write_documents(tmp_path / "web.parquet", "web", web)
    report = quality.train(ClassifierSettings(), files, {"web": [crawl]}, tmp_path / "model", 1)
    assert report["f1"] >= 0.95
