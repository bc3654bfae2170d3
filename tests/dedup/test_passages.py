from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.below import passage_links
from gristmill.dedup.below.seeds import SEED_WORDS, folded_words, link_places, seeds_of
from gristmill.dedup.settings.parts import PassageSettings
from gristmill.dedup.sorted.runs import SortedRun, key_slices, write_run
from tests.support.dedup_drive import Outcome, balanced, documents, run_passages, write_shards
from tests.support.made_texts import page

ASKED = PassageSettings()


def changed(words: list[str], share: float, chance: random.Random) -> list[str]:
    """Words with a share of them replaced, dropped or doubled."""
    out = []
    for word in words:
        kind = chance.choice("rdi") if chance.random() < share else "="
        out += {"r": ["other" + word], "d": [], "i": [word, "more" + word], "=": [word]}[kind]
    return out


def planted(copies: int, share: float, seed: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Texts of which every second one holds a passage of the one before with a share of its words changed,
    and both forms of each passage."""
    chance = random.Random(seed)
    texts, passages = [], []
    for number in range(copies):
        first = page(1000 + number, 120)
        again = changed(first, share, chance)
        passages.append((" ".join(first), " ".join(again)))
        for place, body in enumerate((first, again)):
            around = page(50_000 + 2 * number + place, 200)
            texts.append(" ".join([*around[:90], *body, *around[90:]]))
    return texts, passages


def run(asked: PassageSettings, table: pa.Table, folder: Path, sizes: list[int], parts: int = 2) -> Outcome:
    return run_passages(asked, write_shards(folder / "in", table, sizes), folder / "scratch", parts)


@pytest.mark.parametrize(("share", "least"), [(0.0, 1.0), (0.05, 0.97), (0.1, 0.9)])
def test_passages_with_small_changes_are_cut_from_all_but_the_first(
    tmp_path: Path, share: float, least: float
) -> None:
    texts, passages = planted(40, share, 1)
    table = documents(texts)
    found = run(ASKED, table, tmp_path, [13, 30])
    balanced(found, table)
    edits = dict(zip(found.decisions["id"].to_pylist(), found.decisions["edits"].to_pylist(), strict=True))
    recalled = 0.0
    for number, forms in enumerate(passages):
        ids = [table["id"][2 * number + place].as_py() for place in (0, 1)]
        later = int(ids[1] > ids[0])
        assert edits[ids[1 - later]] == []  # the first in the order stays whole
        cut = sum(edit["end"] - edit["start"] for edit in edits[ids[later]])
        whole = len(forms[later].encode())
        assert cut <= whole + 30, "more than the passage is cut"
        recalled += cut / whole
    assert recalled / len(passages) >= least


def test_who_keeps_a_passage_is_named(tmp_path: Path) -> None:
    texts, _ = planted(5, 0.05, 2)
    table = documents(texts)
    found = run(ASKED, table, tmp_path, [3])
    partner = {table["id"][place].as_py(): table["id"][place ^ 1].as_py() for place in range(10)}
    for row in found.decisions.to_pylist():
        assert row["kept_in"] == [partner[row["id"]]] * len(row["edits"])
    assert sum(found.decisions["num_cut"].to_pylist()) == 5


def test_other_texts_and_too_many_changes_stay(tmp_path: Path) -> None:
    texts, _ = planted(20, 0.6, 3)
    table = documents([*texts, *(" ".join(page(n, 150)) for n in range(200, 220))])
    found = run(ASKED, table, tmp_path, [])
    assert found.texts() == table["text"].to_pylist()


def test_a_passage_shorter_than_the_bound_stays(tmp_path: Path) -> None:
    shared = page(1, 60)
    table = documents([" ".join([*page(10 + n, 40), *shared, *page(20 + n, 40)]) for n in range(2)])
    size = len(" ".join(shared))
    kept = run(PassageSettings(min_bytes=size + 1), table, tmp_path / "a", [])
    assert sum(kept.decisions["num_cut"].to_pylist()) == 0
    cut = run(PassageSettings(min_bytes=size), table, tmp_path / "b", [])
    assert sum(cut.decisions["deleted_bytes"].to_pylist()) == size


def test_a_passage_repeated_within_a_document_stays_once(tmp_path: Path) -> None:
    passage = page(1, 120)
    text = " ".join([*page(2, 60), *passage, *page(3, 60), *changed(passage, 0.05, random.Random(1))])
    found = run(ASKED, documents([text]), tmp_path, [])
    (left,) = found.texts()
    assert " ".join(passage) in left and len(left) < len(text) - 400
    assert found.decisions["kept_in"].to_pylist() == [found.decisions["id"].to_pylist()]


def test_case_and_punctuation_are_no_changes(tmp_path: Path) -> None:
    passage = page(1, 120)
    loud = [word.upper() + "!" if n % 3 else f"«{word}»" for n, word in enumerate(passage)]
    found = run(ASKED, documents([" ".join(passage), " ".join(loud)]), tmp_path, [])
    assert found.removed["rule"].to_pylist() == ["dedup.passages.min_characters"]


@pytest.mark.parametrize(("sizes", "parts"), [([7, 20], 3), ([1] * 30, 1), ([50], 5)])
def test_order_shards_parts_and_memory_do_not_change_the_texts(
    tmp_path: Path, sizes: list[int], parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    blocks = [page(n, 90) for n in range(12)]
    rows = [
        " ".join(" ".join(changed(block, 0.06, chance)) for block in chance.choices(blocks, k=3))
        for _ in range(40)
    ]
    table = documents(rows)
    first = run(ASKED, table, tmp_path / "a", [])
    monkeypatch.setattr(passage_links, "seeds_at_a_time", lambda settings: 4)
    shuffled = table.take(pa.array(chance.sample(range(40), 40)))
    second = run(ASKED, shuffled, tmp_path / "b", sizes, parts)
    assert first.kept.sort_by("id").equals(second.kept.sort_by("id"))
    assert first.decisions.sort_by("id").equals(second.decisions.sort_by("id"))
    assert sum(first.decisions["num_cut"].to_pylist()) > 20


def test_scope_keeps_sources_apart(tmp_path: Path) -> None:
    text = " ".join(page(1, 150))
    table = documents([text, text], source=["a", "b"])
    assert len(run(PassageSettings(scope="source"), table, tmp_path / "a", []).kept) == 2
    assert len(run(ASKED, table, tmp_path / "b", []).kept) == 1


def test_empty_input_has_no_passages(tmp_path: Path) -> None:
    found = run(ASKED, documents(["", None, "a few words"]), tmp_path, [1], parts=3)
    assert len(found.kept) == 3


@given(st.lists(st.lists(st.sampled_from("ab ç!漢D"), max_size=60).map("".join), max_size=4))
@settings(max_examples=60, deadline=None)
def test_seeds_are_chosen_by_their_own_words(texts: list[str]) -> None:
    words = folded_words(pa.chunked_array([pa.array(texts, pa.large_string())]))
    keys, docs, places = seeds_of(words)
    known: dict[tuple[int, ...], set[int]] = {}
    chosen = {(doc, place): key for key, doc, place in zip(*map(list, (keys, docs, places)), strict=True)}
    for doc in range(len(texts)):
        row = words.hashes[words.bounds[doc] : words.bounds[doc + 1]].tolist()
        last = -1
        for place in range(len(row) - SEED_WORDS + 1):
            key = chosen.get((doc, place), -1)
            known.setdefault(tuple(row[place : place + SEED_WORDS]), set()).add(int(key))
            last = place if key != -1 else last
            assert place - last < 6  # any 14 words in a row hold a seed
    assert all(len(same) == 1 for same in known.values())


PLACES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 3)), unique=True, max_size=30
)


@given(PLACES, st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_links_lead_to_the_first_documents_of_a_key(places: list[tuple[int, int, int]], most: int) -> None:
    places = sorted(places)  # by key, row (and id) and place
    key, row, place = (np.array([at[n] for at in places], np.uint64) for n in range(3))
    arguments = (key, row, row, place.astype(np.uint32), np.ones(len(places), bool), most)
    found = set(zip(*(side.tolist() for side in link_places(*arguments)), strict=True))
    expected = set()
    for own, (k, doc, at) in enumerate(places):
        docs = sorted({other for key_, other, _ in places if key_ == k})[:most]
        for other in docs:
            head = min(n for n, there in enumerate(places) if there[:2] == (k, other))
            if other < doc or (other == doc and places[head][2] < at):
                expected.add((own, head))
    assert found == expected


@given(st.lists(st.lists(st.integers(0, 60), max_size=40), min_size=1, max_size=3), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_slices_of_keys_hold_no_more_than_asked_or_one_key(
    tmp_path_factory: pytest.TempPathFactory, keys: list[list[int]], most: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    for number, some in enumerate(keys):
        write_run(folder / f"{number}", {"key": np.sort(np.array(some, np.uint64))})
    runs = [SortedRun(folder / f"{number}") for number in range(len(keys))]
    inside = sorted(key for some in keys for key in some if 5 <= key < 50)
    slices = list(key_slices(runs, 5, 50, most))
    held = [[key for key in inside if low <= key < high] for low, high in slices]
    assert sorted(key for some in held for key in some) == inside
    assert all(len(some) <= most or len(set(some)) == 1 for some in held)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(slices))
