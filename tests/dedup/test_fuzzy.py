from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings
from tests.support.dedup_drive import documents, run_exact, run_fuzzy, write_shards
from tests.support.made_texts import corpus, jaccard, mutated, page


def test_a_page_with_one_word_changed_is_removed_with_its_exact_score(tmp_path: Path) -> None:
    texts = [" ".join(page(1)), " ".join([*mutated(page(1), [60]), "tail"]), " ".join(page(2))]
    found = run_fuzzy(FuzzySettings(), write_shards(tmp_path / "in", documents(texts), [1]), tmp_path / "s")
    assert found.texts() == texts[1:]  # the longest stays
    row = found.removed.to_pylist()[0]
    assert (
        row["rule"] == "dedup.fuzzy"
        and row["bound"] == 0.8
        and row["value"] == pytest.approx(jaccard(texts[0], texts[1]))
    )
    decision = found.decisions.to_pylist()[0]
    assert (
        decision["survivor_id"] == found.kept["id"][0].as_py()
        and decision["verified"]
        and decision["jaccard"] == row["value"]
    )
    assert found.pairs is not None and found.pairs["accepted"].to_pylist() == [True]


def test_a_pair_below_the_threshold_is_kept_and_recorded(tmp_path: Path) -> None:
    texts = [" ".join(page(1)), " ".join(mutated(page(1), [30, 60, 90]))]
    assert 0.7 < jaccard(*texts) < 0.8
    found = run_fuzzy(
        FuzzySettings(bands=100, rows=3), write_shards(tmp_path / "in", documents(texts), []), tmp_path / "s"
    )
    assert len(found.kept) == 2 and found.decisions["cluster_size"].to_pylist() == [1, 1]
    assert found.pairs is not None and found.pairs["accepted"].to_pylist() == [False]
    assert found.pairs["score"].to_pylist() == [pytest.approx(jaccard(*texts))]


def test_a_text_on_the_threshold_is_removed(tmp_path: Path) -> None:
    # 13 words give 9 shingles; the same with another end share 8 of 10.
    words = page(3, 13)
    texts = [" ".join(words), " ".join([*words[:-1], "other"])]
    assert jaccard(*texts) == 0.8
    found = run_fuzzy(
        FuzzySettings(bands=100, rows=1), write_shards(tmp_path / "in", documents(texts), []), tmp_path / "s"
    )
    assert len(found.kept) == 1


def test_without_verification_a_component_has_one_survivor(tmp_path: Path) -> None:
    texts = [" ".join(page(1)), " ".join(mutated(page(1), [30, 60, 90]))]
    shards = write_shards(tmp_path / "in", documents(texts), [])
    found = run_fuzzy(FuzzySettings(bands=100, rows=3, verify="none"), shards, tmp_path / "s")
    assert len(found.kept) == 1
    assert found.removed["value"].to_pylist() == [None] and found.removed["bound"].to_pylist() == [None]
    assert [row["verified"] for row in found.decisions.to_pylist() if row["survivor_id"] != row["id"]] == [
        False
    ]


def test_containment_finds_a_page_inside_a_longer_one(tmp_path: Path) -> None:
    texts = [" ".join(page(1, 300)), " ".join(page(1, 300)[:200])]
    shards = write_shards(tmp_path / "in", documents(texts), [])
    assert len(run_fuzzy(FuzzySettings(bands=100, rows=2), shards, tmp_path / "1").kept) == 2
    assert (
        len(run_fuzzy(FuzzySettings(bands=100, rows=2, verify="containment"), shards, tmp_path / "2").kept)
        == 1
    )


def test_a_chain_of_a_thousand_drifting_documents_does_not_collapse(tmp_path: Path) -> None:
    texts, words = [], page(1, 100)
    for step in range(1000):
        words = [*words[1:], f"drift{step}"]
        texts.append(" ".join(words))
    found = run_fuzzy(
        FuzzySettings(survivor="id"), write_shards(tmp_path / "in", documents(texts), [300]), tmp_path / "s"
    )
    assert found.counts[0]["components"] == 1 and found.counts[0]["largest"] == 1000
    assert len(found.kept) >= 1000 // 25  # a window of 0.8 spans about 11 steps either way
    by_id = dict(zip(found.decisions["id"].to_pylist(), texts, strict=True))
    for row in found.decisions.to_pylist():
        if row["survivor_id"] != row["id"]:
            assert (
                jaccard(by_id[row["id"]], by_id[row["survivor_id"]]) == pytest.approx(row["jaccard"])
                and row["jaccard"] >= 0.8
            )


def test_short_texts_are_duplicates_of_their_equals_only(tmp_path: Path) -> None:
    texts = ["one two", "One, two!", "one two three", "one", "one", "two"]
    found = run_fuzzy(
        FuzzySettings(survivor="id"), write_shards(tmp_path / "in", documents(texts), [2]), tmp_path / "s"
    )
    assert sorted(text.lower().replace(",", "").rstrip("!") for text in found.texts()) == [
        "one",
        "one two",
        "one two three",
        "two",
    ]


def test_texts_without_words_are_nobody_s_duplicates(tmp_path: Path) -> None:
    texts = ["", "", None, " \n ", "...", "...", "?!", "?!"]
    found = run_fuzzy(FuzzySettings(), write_shards(tmp_path / "in", documents(texts), [3]), tmp_path / "s")
    assert len(found.kept) == len(texts)


def test_nul_bytes_and_marks_do_not_hide_a_duplicate(tmp_path: Path) -> None:
    texts = [" ".join(page(1)), " ".join(page(1)) + " \0 \0", "«" + " ".join(page(1)).upper() + "»"]
    found = run_fuzzy(FuzzySettings(), write_shards(tmp_path / "in", documents(texts), []), tmp_path / "s")
    assert len(found.kept) == 1


def test_text_beyond_the_cap_is_not_compared(tmp_path: Path) -> None:
    texts = [" ".join(page(1)), " ".join(page(1) + page(2, 500))]
    shards = write_shards(tmp_path / "in", documents(texts), [])
    assert len(run_fuzzy(FuzzySettings(), shards, tmp_path / "1").kept) == 2
    assert len(run_fuzzy(FuzzySettings(max_characters=len(texts[0])), shards, tmp_path / "2").kept) == 1


def test_characters_find_what_words_cannot(tmp_path: Path) -> None:
    texts = ["wort" * 80 + "ende", "wort" * 80 + "enden"]
    shards = write_shards(tmp_path / "in", documents(texts), [])
    assert len(run_fuzzy(FuzzySettings(), shards, tmp_path / "1").kept) == 2
    assert (
        len(
            run_fuzzy(
                FuzzySettings(shingle="characters", ngram=6, bands=60, rows=2, threshold=0.6),
                shards,
                tmp_path / "2",
            ).kept
        )
        == 1
    )


def test_fineweb_mode_runs_end_to_end(tmp_path: Path) -> None:
    texts = [" ".join(page(1)), " ".join([*page(1), "more"]), " ".join(page(2))]
    found = run_fuzzy(
        FuzzySettings(scheme="fineweb"), write_shards(tmp_path / "in", documents(texts), [1]), tmp_path / "s"
    )
    assert found.texts() == texts[1:]


def test_order_shards_parts_and_groups_do_not_change_the_result(tmp_path: Path) -> None:
    table = documents(corpus(600, 1))
    first = run_fuzzy(FuzzySettings(), write_shards(tmp_path / "a", table, []), tmp_path / "1")
    shuffled = table.take(pa.array(random.Random(2).sample(range(600), 600)))
    small = FuzzySettings(part_records=1000, group_documents=7)
    second = run_fuzzy(small, write_shards(tmp_path / "b", shuffled, [1, 99, 250]), tmp_path / "2")
    assert len(first.removed) > 50 and len(second.counts) > 10
    assert first.decisions.sort_by("id").equals(second.decisions.sort_by("id"))
    assert first.removed.sort_by("id").equals(second.removed.sort_by("id"))
    assert first.pairs is not None and second.pairs is not None
    order = [("id", "ascending"), ("kept_id", "ascending")]
    assert first.pairs.sort_by(order).equals(second.pairs.sort_by(order))


def test_planted_exact_duplicates_are_all_found(tmp_path: Path) -> None:
    texts = [" ".join(page(seed)) for seed in range(200)]
    table = documents([text for text in texts for _ in range(3)])
    shards = write_shards(tmp_path / "in", table, [100])
    assert len(run_fuzzy(FuzzySettings(), shards, tmp_path / "1").kept) == 200
    assert len(run_exact(ExactSettings(), shards, tmp_path / "2").kept) == 200


@given(
    st.lists(st.text(st.sampled_from("ab .\n\0é漢"), max_size=30), max_size=25),
    st.lists(st.integers(0, 10), max_size=3),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_survivors_and_removed_are_the_input_and_each_removed_names_its_survivor(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    table = documents(texts)
    found = run_fuzzy(
        FuzzySettings(ngram=2, bands=20, rows=2, threshold=0.5),
        write_shards(folder / "in", table, sizes),
        folder / "s",
    )
    assert sorted(found.kept["id"].to_pylist() + found.removed["id"].to_pylist()) == sorted(
        table["id"].to_pylist()
    )
    assert found.decisions["id"].to_pylist() == table["id"].to_pylist()
    kept = set(found.kept["id"].to_pylist())
    for row in found.decisions.to_pylist():
        assert row["survivor_id"] in kept
        if row["id"] not in kept:
            assert row["verified"] and row["jaccard"] >= 0.5 and row["cluster_size"] >= 2
