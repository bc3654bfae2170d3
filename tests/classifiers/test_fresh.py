"""What a report says holds on fresh texts: parts share no domain and no text, calibration is judged apart."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from gristmill.classifiers.quality import calibrate, parts
from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality.intervals import Intervals, calibration_error, share_interval
from gristmill.classifiers.quality.passages import Passage, of_equal_lengths, sample
from gristmill.classifiers.quality.teaching import Heldout
from gristmill.classifiers.settings import ClassifierSettings
from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter
from gristmill.urls import domain_of
from tests.support.classified import CODE, TEXTS, write_documents

VOCABULARY = [f"w{number}" for number in range(400)]


def noise(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(VOCABULARY[i] for i in generator.integers(0, 400, 120)) for _ in range(count)]


@pytest.mark.parametrize("changed_words", [0, 3])
def test_copies_under_other_ids_lend_a_classifier_no_skill(tmp_path: Path, changed_words: int) -> None:
    """Labels at random, every text three times, exactly or nearly: the report must not show that it can tell
    them apart."""

    def copies(texts: list[str], seed: int) -> list[str]:
        generator, found = np.random.default_rng(seed), []
        for text in texts * 3:
            words = text.split()
            for place in generator.integers(0, len(words), changed_words):
                words[place] = "other"
            found.append(" ".join(words))
        return found

    one = write_documents(tmp_path / "a.parquet", "a", copies(noise(150, 1), 3))
    two = write_documents(tmp_path / "b.parquet", "b", copies(noise(150, 2), 4))
    settings = ClassifierSettings(buckets=10_000, epoch=25, heldout_fraction=0.3)
    report = quality.train(settings, {"a": [one]}, {"b": [two]}, tmp_path / "model", 1)
    assert report["auc"] < 0.75
    low, high = report["intervals"]["auc"]
    assert low < 0.6 and low <= report["auc"] <= high


def write_with_urls(path: Path, urls: list[str], texts: list[str]) -> Path:
    rows = [
        {
            "id": document_id("s", f"{n}"),
            "source": "s",
            "url": url,
            "text": text,
            "origin": {"file": "f", "offset": n, "length": 1},
        }
        for n, (url, text) in enumerate(zip(urls, texts, strict=True))
    ]
    with ParquetWriter(path, DOCUMENT) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=DOCUMENT))
    return path


def test_a_domain_is_on_one_side_unless_it_is_most_of_its_source(tmp_path: Path) -> None:
    urls = [f"https://site{n % 97}.example/{n}" for n in range(600)]
    urls += [f"https://en.wikipedia.org/wiki/{n}" for n in range(600)]
    path = write_with_urls(tmp_path / "web.parquet", urls, noise(1200, 5))
    settings = ClassifierSettings(heldout_fraction=0.3, passage_chars=100, window_chars=200)
    table = pa.parquet.read_table(path)
    large = parts.large_domains([parts.tally_hosts([table])])
    assert large == ["en.wikipedia.org"]
    url_of = dict(zip(table["id"].to_pylist(), map(domain_of, table["url"].to_pylist()), strict=True))
    sides = []
    for heldout in (False, True):
        chosen = sample(
            {"s": [path]}, settings, 1, 0.0, heldout=heldout, quota=10_000, large=frozenset(large)
        )
        sides.append({url_of[passage.id] for passage in chosen})
    assert sides[0] & sides[1] == {"en.wikipedia.org"}
    assert len(sides[1]) > 10


def test_near_equal_texts_share_a_unit_as_often_as_they_share_shingles() -> None:
    words = noise(1, 7)[0].split()
    pairs = [(" ".join(words[n:]), " ".join([*words[n:], "end"])) for n in range(60)]
    first, second = (parts.least_shingles(pa.array(side)) for side in zip(*pairs, strict=True))
    assert (first == second).mean() > 0.9
    others = parts.least_shingles(pa.array(noise(60, 8)))
    assert len(set(others.tolist())) == 60


def test_what_is_shared_with_training_is_measured() -> None:
    known = parts.shingles_of(noise(5, 1))
    fresh = noise(1, 9)[0]
    copied = " ".join(noise(5, 1)[2].split()[:60])
    found = parts.share_in([fresh, copied, "", f"{copied} {fresh}"], known)
    assert found[0] == found[2] == 0 and found[1] == 1 and 0.2 < found[3] < 0.5


def test_both_classes_have_training_passages_of_the_same_lengths() -> None:
    def side(texts: list[str], source: str) -> list[Passage]:
        return [Passage(number, b"%d" % number, source, text) for number, text in enumerate(texts)]

    good = side([text[:1000] for text in noise(40, 1)], "good")
    bad = side([text[: 50 + 20 * n] for n, text in enumerate(noise(40, 2))], "bad")
    pair = of_equal_lengths(good, bad)
    assert all(len(part) == 40 and part == sorted(part) for part in pair)
    lengths = [sorted(len(passage.text) for passage in part) for part in pair]
    assert np.abs(np.subtract(*lengths)).max() < 8
    kept = {passage.id: passage.text for passage in pair[0]}
    assert all(passage.text.startswith(kept[passage.id]) for passage in good)


def test_fresh_calibration_lies_in_its_interval_in_19_of_20_seeds() -> None:
    """Scores that are a little wrong, judged on 300 passages of 100 domains: the error of 20,000 fresh ones,
    as scikit-learn bins them, against the interval shown."""
    inside = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)

        def draw(count: int, unit: int, generator: np.random.Generator = generator) -> tuple[np.ndarray, ...]:
            level = np.repeat(generator.normal(0, 2, count // unit), unit)
            truth = 1 / (1 + np.exp(-level))
            return generator.random(len(level)) < truth, truth**1.3

        labels, raw = draw(300, 3)
        fitted = calibrate.fit("isotonic" if seed % 2 else "platt", raw, labels)
        judged, scores = draw(300, 3)
        shown = calibrate.apply(fitted, scores)
        units = [number // 3 for number in range(300)]
        error, (low, high) = calibration_error(judged, shown, Intervals(units))
        fresh, raw = draw(30_000, 3)
        said = calibrate.apply(fitted, raw)
        curated, mean = calibration_curve(fresh, said, n_bins=10)
        sizes = np.histogram(said, np.linspace(0, 1, 11))[0]
        truth = float((np.abs(curated - mean) * sizes[sizes > 0]).sum() / len(said))
        inside += low <= truth <= high
        assert low <= error <= high
    assert inside >= 19


@pytest.mark.slow
def test_real_calibration_lies_in_its_interval_in_19_of_20_seeds(shared_data: Path, tmp_path: Path) -> None:
    """Wikipedia against the main text of pages, drawn anew for each seed: 60 % train, calibrate and judge a
    model, whose interval is asked for its error on the rest."""

    def texts(name: str, field: str) -> list[str]:
        lines = gzip.decompress((shared_data / name).read_bytes()).splitlines()
        found = [json.loads(line)[field] or "" for line in lines]
        return [text[:1500] for text in found if len(text) > 300]

    classes = {
        "wiki": texts("sources/wikipedia/enwiki-articles.jsonl.gz", "text"),
        "web": texts("realweb/gold.jsonl.gz", "gold_text"),
    }
    size = min(map(len, classes.values()))
    settings = ClassifierSettings(heldout_fraction=0.4, buckets=20_000)
    inside = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        sides, fresh = [], []
        for name, every in classes.items():
            drawn = [every[n] for n in generator.permutation(len(every))[:size]]
            cut = size * 3 // 5
            sides.append({name: [write_documents(folder / f"{name}.parquet", name, drawn[:cut])]})
            fresh.append(drawn[cut:])
        report = quality.train(settings, *sides, folder / "model", seed)
        scorer = quality.Scorer(settings, folder / "model")
        scores = scorer.score(pa.table({"text": pa.array([*fresh[0], *fresh[1]], pa.large_string())}))
        labels, known = np.arange(len(scores)) < len(fresh[0]), ~np.isnan(scores)
        units = list(range(int(known.sum())))
        error, _ = calibration_error(labels[known], scores[known].astype(np.float32), Intervals(units))
        low, high = report["intervals"]["calibration_error"]
        inside.append(low <= error <= high)
    assert sum(inside) >= 19, inside


def test_isotonic_is_not_judged_on_what_it_was_fitted_to(tmp_path: Path) -> None:
    """It fits its own part without error; a report of error 0 would be of that part."""
    good = write_documents(
        tmp_path / "p.parquet",
        "p",
        [f"{a} {b[:150]}" for a, b in zip(noise(400, 1), TEXTS * 9, strict=False)],
    )
    bad = write_documents(
        tmp_path / "n.parquet", "n", [f"{a} {b[:150]}" for a, b in zip(noise(400, 2), CODE * 9, strict=False)]
    )
    settings = ClassifierSettings(
        buckets=10_000, heldout_fraction=0.3, calibration="isotonic", learning_rate=0.1
    )
    report = quality.train(settings, {"p": [good]}, {"n": [bad]}, tmp_path / "model", 1)
    assert report["calibration_error"] > 0.001
    assert report["calibrated_on"]["positives"] > 10 and report["heldout"]["positives"] > 10
    for row in report["calibration"]:
        assert row["interval"][0] <= row["curated"] <= row["interval"][1]


def test_shares_have_wilsons_interval() -> None:
    """Values of Newcombe 1998, table I, method 3."""
    for hits, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        assert share_interval(hits, trials) == pytest.approx([low, high], abs=5e-5)


def test_words_that_speak_for_curated_stand_more_often_there(tmp_path: Path) -> None:
    prose = write_documents(tmp_path / "p.parquet", "p", TEXTS)
    code = write_documents(tmp_path / "c.parquet", "c", CODE)
    settings = ClassifierSettings(buckets=10_000, heldout_fraction=0.25)
    report = quality.train(settings, {"p": [prose]}, {"c": [code]}, tmp_path / "model", 1)
    for side, sign in (("top", 1), ("bottom", -1)):
        assert report["ngrams"][side]
        for row in report["ngrams"][side]:
            assert sign * (row["score"] - 0.5) > 0 and sign * (row["curated"] - row["crawled"]) > 0


def test_the_intervals_of_measures_hold_the_measures() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(400) < 0.5
    scores = np.clip(labels * 0.3 + generator.random(400) * 0.7, 0, 1).astype(np.float32)
    intervals = Intervals([number // 4 for number in range(400)])
    found = intervals.of(lambda rows: {"auc": float(roc_auc_score(labels[rows], scores[rows]))}, labels)
    low, high = found["auc"]
    assert intervals.num_units == 100 and low < roc_auc_score(labels, scores) < high and high - low < 0.15


def test_a_class_of_one_held_out_document_is_judged_by_it_and_the_report_says_so() -> None:
    def passages(source: str, units: int, count: int) -> list[Passage]:
        unit = source.encode() + b"%d"
        return [Passage(n, b"%d" % n, source, f"text {n}", unit % (n % units)) for n in range(count)]

    def nothing(texts: list[str]) -> np.ndarray:
        return np.zeros(len(texts), bool)

    known = np.empty(0, np.uint64)
    many = Heldout(passages("a", 6, 12), passages("b", 5, 12)).prepared(known, nothing)
    assert not many.warnings
    units = [{p.unit for p in half.passages} for half in (many.calibration, many.judgement)]
    assert not units[0] & units[1] and all(units)
    few = Heldout(passages("a", 1, 4), passages("b", 5, 12)).prepared(known, nothing)
    assert "of the positives one document" in few.warnings[0]
    assert all(half.labels.sum() == 2 for half in (few.calibration, few.judgement))
    one = Heldout(passages("a", 1, 1), passages("b", 5, 12)).prepared(known, nothing)
    assert one.calibration.labels.sum() == one.judgement.labels.sum() == 1 and one.facts()["warnings"]


def test_no_text_that_calibrates_is_judged_by_on_whatever_domain_it_stands() -> None:
    """Every text on two domains, some in both classes: nothing is known of them but what they say."""
    texts = noise(90, 3)

    def side(name: str, start: int) -> list[Passage]:
        return [
            Passage(n, f"{name}{n}".encode(), name, texts[start + n // 2], f"{name}-site{n}".encode())
            for n in range(60)
        ]

    halves = Heldout(side("a", 0), side("b", 20)).prepared(
        np.empty(0, np.uint64), lambda texts: np.zeros(len(texts), bool)
    )
    fitted, judged = ({p.text for p in half.passages} for half in (halves.calibration, halves.judgement))
    assert fitted and judged and not fitted & judged and not halves.warnings
    assert all(half.labels.sum() > 15 for half in (halves.calibration, halves.judgement))
