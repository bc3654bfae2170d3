from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gristmill.dedup.evaluate import against_brute_force, brute_force, evaluate_pairs
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.errors import InputError
from tests.support.dedup_drive import documents, run_fuzzy, write_shards
from tests.support.made_texts import jaccard, mutated, page


def pairs_file(folder: Path) -> Path:
    same = [(" ".join(page(n)), " ".join(mutated(page(n), [60])), True) for n in range(20)]
    far = [(" ".join(page(n)), " ".join(page(n + 100)), False) for n in range(20)]
    close = [(" ".join(page(n)), " ".join(mutated(page(n), [20, 50, 80])), True) for n in range(10)]
    path = folder / "pairs.jsonl"
    path.write_text(
        "".join(json.dumps({"a": a, "b": b, "duplicate": label}) + "\n" for a, b, label in same + far + close)
    )
    return path


def test_precision_and_recall_on_labelled_pairs(tmp_path: Path) -> None:
    result = evaluate_pairs(FuzzySettings(), pairs_file(tmp_path))
    assert (result["pairs"], result["duplicates"]) == (50, 30)
    assert result["score alone"] == {"precision": 1.0, "recall": pytest.approx(20 / 30)}
    assert result["verified"]["precision"] == 1.0 and 0.5 < result["verified"]["recall"] <= 20 / 30


def test_a_row_that_is_no_pair_is_named(tmp_path: Path) -> None:
    (tmp_path / "p").write_text('{"a": "x", "b": "y", "duplicate": false}\n{"a": "x"}\n')
    with pytest.raises(InputError, match="no labelled pair") as caught:
        evaluate_pairs(FuzzySettings(), tmp_path / "p")
    assert caught.value.where == f"{tmp_path / 'p'}:2"
    with pytest.raises(InputError, match="cannot be read"):
        evaluate_pairs(FuzzySettings(), tmp_path / "none")


def test_brute_force_counts_what_sets_of_strings_do() -> None:
    texts = [" ".join(mutated(page(n // 4, 40), [7 * (n % 4)] if n % 4 else [])) for n in range(24)]
    expected = {(a, b): jaccard(texts[a], texts[b]) for a in range(24) for b in range(a + 1, 24)}
    found = {(int(a), int(b)): value for a, b, value in brute_force(FuzzySettings(), texts, 0.3)}
    assert found == {pair: pytest.approx(value) for pair, value in expected.items() if value >= 0.3}


def check_against_brute_force(folder: Path, real: list[str], seed: int, slack: float) -> dict[str, float]:
    """Half real, half mutated: recall follows the bands' curve, and every removal is right and verified."""
    chance = random.Random(seed)
    texts = list(real)
    for text in real:
        words = text.split()
        places = chance.sample(range(len(words)), min(len(words), chance.choice([0, 1, 2, 3, 5, 8, 20])))
        texts.append(" ".join(mutated(words, places)))
    settings = FuzzySettings()
    result = against_brute_force(settings, texts)
    assert result["recall"] >= result["expected_recall"] - slack
    found = run_fuzzy(
        settings, write_shards(folder / "in", documents(texts), [len(texts) // 3]), folder / "s"
    )
    similar = {
        frozenset((int(a), int(b))): value for a, b, value in brute_force(settings, texts, settings.threshold)
    }
    place = {value: number for number, value in enumerate(found.decisions["id"].to_pylist())}
    for row in found.decisions.to_pylist():
        if row["id"] != row["survivor_id"]:
            assert similar[frozenset((place[row["id"]], place[row["survivor_id"]]))] == pytest.approx(
                row["jaccard"]
            )
    return {**result, "removed": len(found.removed)}


def test_made_documents_follow_the_curve_and_no_removal_is_wrong(tmp_path: Path) -> None:
    real = [" ".join(page(n, 100)) for n in range(300)]
    assert check_against_brute_force(tmp_path, real, 1, 0.03)["removed"] > 100


@pytest.mark.slow
def test_twenty_thousand_real_and_mutated_documents_against_brute_force(
    tmp_path: Path, shared_data: Path
) -> None:
    with gzip.open(shared_data / "sources" / "arxiv" / "abstracts.jsonl.gz") as file:
        real = [json.loads(line)["text"] for line in file][:10_000]
    result = check_against_brute_force(tmp_path, real, 2, 0.01)
    print(result)
    assert result["removed"] > 3000


def test_the_verb_prints_what_it_measured(tmp_path: Path) -> None:
    import typer

    from gristmill.pipeline.verbs.stages.dedup import register

    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(
        app, ["dedup-eval", str(pairs_file(tmp_path)), "--json", "--set", "threshold=0.5"]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["score alone"]["recall"] == 1.0 and result["brute_force"]["documents"] >= 70
