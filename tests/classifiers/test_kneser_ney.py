"""Kneser-Ney is the textbook's and KenLM's, for any sharding; keys avalanche; bare punctuation is no word."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram import kneser_ney, perplexity
from gristmill.classifiers.ngram.perplexity import NgramModel, open_scorer
from gristmill.classifiers.settings import KenlmSettings, NgramSettings
from gristmill.errors import UsageError
from gristmill.text.cores import cores_of
from tests.support.classified import TEXTS, write_documents
from tests.support.kneser_ney_truth import BEGIN, KneserNey
from tests.support.ngram_truth import hashes_of

ORDER = 3
SETTINGS = NgramSettings(order=ORDER, min_count=1, smoothing="kneser_ney")
SMALL = [text[:600] for text in TEXTS[:25]]


def build(folder: Path, texts: list[str], settings: NgramSettings, files: int = 1, parts: int = 1) -> Path:
    folder.mkdir()
    counted, facts = [], {}
    for number in range(files):
        path = write_documents(folder / f"{number}.parquet", f"s{number}", texts[number::files])
        (folder / f"{number}").mkdir()
        counted.append(kneser_ney.count_file(settings, path, folder / f"{number}", 1, 0.0))
    runs = [run for each in counted for run in each.runs]
    said = [folder / f"{part}.stats" for part in range(parts)]
    for part, out in enumerate(said):
        kneser_ney.emit(runs, part, parts, settings.order, out)
    joined = [folder / f"{part}.joined" for part in range(parts + 1)]
    for part, out in enumerate(joined):
        for name, value in kneser_ney.join(settings, said, part, parts + 1, out).items():
            facts[name] = facts.get(name, 0) + value
    languages = {"en": sum(each.num_words for each in counted)}
    kneser_ney.write_table(settings, joined, folder / "table", languages["en"], languages, facts)
    return folder / "table"


def scores(model: NgramModel, text: str) -> list[float]:
    hashes, rows = cores_of(pa.array([text], pa.large_string()))
    return model.log2_scores(hashes, rows).tolist()


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts below 256 as they are, instead of in eight steps to a doubling."""
    monkeypatch.setattr(ngrams, "quantise", lambda counts: np.minimum(counts, 255).astype(np.uint8))
    monkeypatch.setattr(perplexity, "code_values", lambda: np.arange(256, dtype=np.float64))


@pytest.mark.usefixtures("exact")
def test_probabilities_are_the_textbooks(tmp_path: Path) -> None:
    truth = KneserNey([hashes_of(text) for text in SMALL], ORDER)
    assert max(truth.total.values()) > 255  # the unigrams' sum, which is kept apart
    model = NgramModel(build(tmp_path / "lm", SMALL, SETTINGS, 2, 3))
    assert model.card["discounts"] == pytest.approx(truth.discounts[1:])
    text = SMALL[3] + " zyzzyva never " + TEXTS[40][:300]
    words = [BEGIN, *hashes_of(text)]
    wanted = []
    for i in range(1, len(words)):
        gram = tuple(words[max(0, i - ORDER + 1) : i + 1])
        wanted.append(math.log2(truth.chance(gram)))
    few = [count for count in truth.total.values() if count > 255]
    tolerance = 1e-9 if len(few) == 1 else 0.2
    assert scores(model, text) == pytest.approx(wanted, abs=tolerance)


def test_chances_of_all_words_sum_to_one(tmp_path: Path) -> None:
    truth = KneserNey([hashes_of(text) for text in SMALL[:6]], ORDER)
    vocabulary = [gram[0] for gram in truth.adjusted if len(gram) == 1]
    words = hashes_of(SMALL[2])
    for context in ((), (BEGIN,), tuple(words[4:6]), (words[3], words[9])):
        total = sum(truth.chance((*context, word)) for word in (*vocabulary, "unseen"))
        assert total == pytest.approx(1.0)


def test_quantised_counts_move_a_perplexity_little_and_pruning_makes_none_cheaper(tmp_path: Path) -> None:
    truth = KneserNey([hashes_of(text) for text in SMALL], ORDER)
    model = NgramModel(build(tmp_path / "lm", SMALL, SETTINGS))
    pruned = NgramModel(build(tmp_path / "pruned", SMALL, SETTINGS.model_copy(update={"min_count": 2})))
    text = TEXTS[41][:2000]
    words = [BEGIN, *hashes_of(text)]
    grams = [tuple(words[max(0, i - ORDER + 1) : i + 1]) for i in range(1, len(words))]
    wanted = sum(math.log2(truth.chance(gram)) for gram in grams) / len(grams)
    assert np.mean(scores(model, text)) == pytest.approx(wanted, abs=0.05)
    assert pruned.card["ngrams"] < model.card["ngrams"]
    assert np.mean(scores(pruned, SMALL[3])) < np.mean(scores(model, SMALL[3]))


def test_the_table_is_the_same_for_any_sharding(tmp_path: Path) -> None:
    tables: list[Any] = []
    for files, parts in ((1, 1), (3, 5)):
        folder = build(tmp_path / f"{files}", SMALL, SETTINGS, files, parts)
        tables.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert tables[0] == tables[1] and len(tables[0]) == 2


def test_kenlm_reads_the_same_model_the_same_way(tmp_path: Path) -> None:
    """KenLM, given the textbook's numbers as ARPA, and our table: the same order of texts, the same bits."""
    kenlm = pytest.importorskip("kenlm")
    lines = [" ".join(map(str, hashes_of(text))) for text in SMALL]
    truth = KneserNey([line.split() for line in lines], ORDER)
    truth.write_arpa(tmp_path / "model.arpa")
    theirs = kenlm.Model(str(tmp_path / "model.arpa"))
    ours = NgramModel(build(tmp_path / "lm", SMALL, SETTINGS))
    pairs = []
    for text in [*SMALL[::3], *(text[:600] for text in TEXTS[40:70])]:
        line = " ".join(map(str, hashes_of(text)))
        found = scores(ours, text)
        pairs.append(
            (-sum(found) / len(found), -theirs.score(line, bos=True, eos=False) * math.log2(10) / len(found))
        )
    mine, other = np.array(pairs).T
    assert np.abs(mine - other).max() < 0.1
    ranks = [np.argsort(np.argsort(side)) for side in (mine, other)]
    assert np.corrcoef(*ranks)[0, 1] > 0.995


def test_a_kenlm_model_by_path_scores_line_by_line_as_cc_net_does(tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm")
    lines = [" ".join(text.lower().split()) for text in SMALL]
    KneserNey([line.split() for line in lines], 2).write_arpa(tmp_path / "model.arpa")
    opened = open_scorer(tmp_path / "model.arpa", KenlmSettings(), ("en",))
    assert opened.sees("en", 0) and not opened.sees("de", 0)
    text = "The Name of this\n\nis used"
    table = pa.table({"text": pa.array([text, " \n", None], pa.large_string())})
    model = kenlm.Model(str(tmp_path / "model.arpa"))
    log10 = sum(model.score(line) for line in ("the name of this", "is used"))
    assert opened.perplexity(table).to_pylist() == [pytest.approx(10 ** (-log10 / 8), rel=1e-5), None, None]


def test_a_file_that_is_no_kenlm_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.arpa").write_text("nothing\n")
    with pytest.raises(UsageError, match=r"model\.arpa"):
        open_scorer(tmp_path / "model.arpa")


def test_bare_punctuation_has_no_perplexity(tmp_path: Path) -> None:
    texts = [*SMALL, "- - - - - - - - - -", "a - b - c"]
    model = NgramModel(build(tmp_path / "lm", texts, SETTINGS))
    table = pa.table({"text": pa.array(["- - - -", "... !!! ---", "a - b", "a b"], pa.large_string())})
    found = model.perplexity(table).to_pylist()
    assert found[:2] == [None, None] and found[2] == found[3]


def test_a_model_knows_the_languages_it_counted(tmp_path: Path) -> None:
    model = NgramModel(build(tmp_path / "lm", SMALL, SETTINGS))
    words = model.card["words"]
    assert model.sees("en", words) and not model.sees("en", words + 1) and not model.sees("zz", 1)
    model.card["languages"] = {"": words}
    assert model.sees("zz", 1000)
    del model.card["languages"]
    assert model.sees("zz", 1000)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_every_bit_of_a_word_turns_every_bit_of_a_key_half_the_time(length: int) -> None:
    """Strict avalanche over 20,000 n-grams: each of the 61 bits of a hash within 5 standard errors of 1/2."""
    generator = np.random.default_rng(length)
    num = 20_000
    words = [generator.integers(0, 1 << 64, num, dtype=np.uint64) for _ in range(length)]

    def keys(words: list[np.ndarray]) -> np.ndarray:
        state = np.zeros(num, np.uint64)
        for word in words:
            state = ngrams.extend(state, word)
        return ngrams.finish(state, length)

    plain = keys(words)
    worst = 0.0
    for place in range(length):
        for bit in range(0, 64, 3):
            turned = [word ^ np.uint64(1 << bit) if n == place else word for n, word in enumerate(words)]
            changed = plain ^ keys(turned)
            shares = [((changed >> np.uint64(out)) & np.uint64(1)).mean() for out in range(3, 64)]
            worst = max(worst, float(np.abs(np.array(shares) - 0.5).max()))
    assert worst < 5 * 0.5 / num**0.5
