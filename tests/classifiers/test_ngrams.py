"""N-grams: counts equal brute force for any sharding, scores are Stupid Backoff, buckets are thirds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram.perplexity import NgramModel, Tally
from gristmill.classifiers.settings import NgramSettings
from gristmill.errors import UsageError
from gristmill.text.cores import cores_of
from tests.support.classified import TEXTS, write_documents
from tests.support.ngram_truth import brute_force, hashes_of, key

SETTINGS = NgramSettings(min_count=1)


def build(folder: Path, texts: list[str], settings: NgramSettings, files: int, parts: int) -> Path:
    """Count, merge and pack, over any number of files and key ranges."""
    folder.mkdir()
    runs: list[Path] = []
    num_words = 0
    for number in range(files):
        documents = write_documents(folder / f"{number}.parquet", f"s{number}", texts[number::files])
        (folder / str(number)).mkdir()
        counted = ngrams.count_file(settings, documents, folder / str(number), seed=1, heldout_fraction=0.0)
        runs += counted.runs
        num_words += counted.num_words
    merged = [folder / f"{part}.merged" for part in range(parts)]
    for part, out in enumerate(merged):
        ngrams.merge_runs(settings, runs, part, parts, out)
    ngrams.write_table(settings, merged, folder / "table", num_words)
    return folder


@pytest.mark.parametrize(("files", "parts"), [(1, 1), (3, 4)])
def test_counts_equal_brute_force_exactly(tmp_path: Path, files: int, parts: int) -> None:
    texts = TEXTS[:12]
    folder = build(tmp_path / "lm", texts, SETTINGS, files, parts)
    merged = np.concatenate([ngrams.read_run(folder / f"{part}.merged") for part in range(parts)])
    counted = dict(zip(merged["key"].tolist(), merged["count"].tolist(), strict=True))
    assert counted == {key(gram): count for gram, count in brute_force(texts).items()}
    assert (np.diff(merged["key"].astype(object)) > 0).all()


def test_a_file_counted_in_many_runs_counts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build(tmp_path / "whole", TEXTS[:12], SETTINGS, 1, 1) / "table"
    monkeypatch.setattr(ngrams, "_RUN_RECORDS", 1000)
    monkeypatch.setattr(ngrams, "_BATCH_BYTES", 5000)
    cut = build(tmp_path / "cut", TEXTS[:12], SETTINGS, 1, 1)
    assert len(list((cut / "0").glob("*.run"))) > 3
    assert all(
        (cut / "table" / name).read_bytes() == (whole / name).read_bytes()
        for name in (ngrams.LINES, ngrams.CARD)
    )


def test_rare_ngrams_are_pruned_and_single_words_stay(tmp_path: Path) -> None:
    folder = build(tmp_path / "lm", TEXTS[:12], NgramSettings(min_count=3), 2, 1)
    truth = brute_force(TEXTS[:12])
    wanted = {key(gram) for gram, count in truth.items() if len(gram) == 1 or count >= 3}
    assert set(ngrams.read_run(folder / "0.merged")["key"].tolist()) == wanted


def test_scores_are_stupid_backoff_over_quantised_counts(tmp_path: Path) -> None:
    texts = TEXTS[:12]
    folder = build(tmp_path / "lm", texts, SETTINGS, 2, 2)
    truth, total = brute_force(texts), sum(len(hashes_of(text)) for text in texts)
    text = TEXTS[3][:400] + " never seen zyzzyva here " + TEXTS[5][:200]
    hashes, rows = cores_of(pa.array([text, TEXTS[20][:300], "- -"], pa.large_string()))

    def plain(gram: tuple[int, ...]) -> float:
        if len(gram) == 1:
            return max(quantised(truth[gram]), 1.0) / total
        whole, context = quantised(truth[gram]), quantised(truth[gram[:-1]])
        return min(whole / context, 1.0) if whole and context else 0.4 * plain(gram[1:])

    expected = []
    for row in range(2):
        mine = hashes[rows[row] : rows[row + 1]].tolist()
        expected += [math.log2(plain(tuple(mine[max(0, i - 4) : i + 1]))) for i in range(len(mine))]
    found = NgramModel(folder / "table").log2_scores(hashes, rows)
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def quantised(count: int) -> float:
    return float(ngrams.code_values()[ngrams.quantise(np.array([count]))[0]]) if count else 0.0


def test_a_quantised_count_is_within_five_per_cent() -> None:
    counts = np.array([1, 2, 3, 10, 999, 12_345, 10**8])
    assert (np.abs(ngrams.code_values()[ngrams.quantise(counts)] / counts - 1) < 0.05).all()
    assert ngrams.code_values()[ngrams.quantise(np.array([1, 2]))].tolist() == [1.0, 2.0]


def test_known_text_is_less_surprising_than_shuffled_words(tmp_path: Path) -> None:
    model = NgramModel(build(tmp_path / "lm", TEXTS[:40], NgramSettings(), 2, 2) / "table")
    known = TEXTS[10]
    shuffled = " ".join(sorted(known.split()))
    table = pa.table({"text": pa.array([known, shuffled, None], pa.large_string())})
    known_score, shuffled_score, none = model.perplexity(table).to_pylist()
    assert known_score < shuffled_score / 3 and none is None


def test_held_out_rows_have_the_form_of_the_transformers(tmp_path: Path) -> None:
    model = NgramModel(build(tmp_path / "lm", TEXTS[:40], NgramSettings(), 2, 2) / "table")
    table = pa.table({"text": pa.array(TEXTS[40:42], pa.large_string())})
    tally = Tally()
    tally.add(model, table)
    row = tally.row("docs")
    assert (
        row["source"] == "docs"
        and row["docs"] == 2
        and row["bytes"] == sum(len(text.encode()) for text in TEXTS[40:42])
    )
    assert 0.5 < row["bits_per_byte"] < 8 and row["perplexity"] == pytest.approx(
        2 ** (row["bits"] / row["words"])
    )


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no n-gram model"):
        NgramModel(tmp_path)


def test_the_table_is_the_same_for_any_sharding(tmp_path: Path) -> None:
    tables: list[Any] = []
    for files, parts in ((1, 1), (3, 5)):
        folder = build(tmp_path / f"{files}", TEXTS[:12], NgramSettings(), files, parts) / "table"
        tables.append([(folder / name).read_bytes() for name in (ngrams.LINES, ngrams.CARD)])
    assert tables[0] == tables[1]


@pytest.mark.parametrize("smoothing", ["stupid_backoff", "kneser_ney"])
def test_a_model_knows_the_words_it_counted(tmp_path: Path, smoothing: str) -> None:
    from tests.classifiers.test_kneser_ney import build as build_kneser_ney

    how = NgramSettings(order=2, min_count=1, smoothing=smoothing)  # type: ignore[arg-type]
    if smoothing == "kneser_ney":
        model = NgramModel(build_kneser_ney(tmp_path / "lm", TEXTS[:5], how))
    else:
        model = NgramModel(build(tmp_path / "lm", TEXTS[:5], how, 1, 1) / "table")
    hashes, _ = cores_of(pa.array([TEXTS[2], "zyzzyva quuxly"], pa.large_string()))
    assert model.knows(hashes).tolist() == [True] * (len(hashes) - 2) + [False, False]
