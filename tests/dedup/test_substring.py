from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.settings.parts import SubstringSettings
from tests.support.dedup_drive import balanced, documents, run_substring, write_shards
from tests.support.made_texts import page


@given(st.lists(st.text(st.sampled_from("abé"), max_size=40), max_size=5), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_exactly_what_occurred_before_is_cut(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], parts: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    table = documents(texts)
    shards = write_shards(folder / "in", table, [2])
    found = run_substring(SubstringSettings(min_bytes=10, min_characters=0), shards, folder / "s", parts)
    order = sorted(range(len(texts)), key=lambda place: table["id"][place].as_py())
    seen: set[bytes] = set()
    expected = dict(zip(table["id"].to_pylist(), ["" for _ in texts], strict=True))
    for place in order:
        data = texts[place].encode()
        doomed = [False] * len(data)
        for start in range(len(data) - 9):
            window = data[start : start + 10]
            if window in seen:
                doomed[start : start + 10] = [True] * 10
            seen.add(window)
        expected[table["id"][place].as_py()] = left_of(texts[place], doomed)
    kept = dict(zip(found.kept["id"].to_pylist(), found.texts(), strict=True))
    assert kept == expected


def left_of(text: str, doomed: list[bool]) -> str:
    """What stays of a text: doomed stretches shrunk to whole characters, if they are then long enough."""
    sizes = [len(letter.encode()) for letter in text]
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    gone = [all(doomed[a : a + size]) for a, size in zip(starts, sizes, strict=True)]
    out, place = "", 0
    while place < len(text):
        end = place
        # A stretch of doomed bytes may touch another only through a character that stays.
        while end < len(text) and gone[end]:
            end += 1
        if end > place and sum(sizes[place:end]) < 10:
            out += text[place:end]
        if end == place:
            out += text[place]
            end += 1
        place = end
    return out


def test_equal_windows_of_many_words_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """Repeats of every length from 50 words on, across shards; words and the blanks between must be equal."""
    texts = [" ".join([*page(100 + n, n), *page(n, 50 + n), *page(200 + n, 7)]) for n in range(0, 40, 3)]
    copies = [" ".join([*page(300 + n, 5), *page(n, 50 + n), *page(400 + n, n)]) for n in range(0, 40, 3)]
    other = [text.replace(" ", "\t") for text in texts]
    shards = write_shards(tmp_path / "in", documents([*texts, *copies, *other]), [3, 11, 14])
    found = run_substring(SubstringSettings(), shards, tmp_path / "s", parts=3)
    assert sum(found.decisions["num_cut"].to_pylist()) == len(copies)
    size = sum(len(" ".join(page(n, 50 + n)).encode()) for n in range(0, 40, 3))
    assert sum(found.decisions["deleted_bytes"].to_pylist()) == size


def test_fifty_shared_words_are_cut_once_and_forty_nine_stay(tmp_path: Path) -> None:
    shared = page(1, 50)

    def texts(count: int) -> list[str]:
        return [" ".join([*page(10 + n, 20), *shared[:count], *page(20 + n, 20)]) for n in range(3)]

    table = documents(texts(50))
    found = run_substring(SubstringSettings(), write_shards(tmp_path / "a", table, [1]), tmp_path / "1")
    assert sum(" ".join(shared) in text for text in found.texts()) == 1
    assert sum(found.decisions["num_cut"].to_pylist()) == 2
    balanced(found, table)
    less = run_substring(
        SubstringSettings(), write_shards(tmp_path / "b", documents(texts(49)), [1]), tmp_path / "2"
    )
    assert less.texts() == texts(49)


def test_a_document_that_is_all_repeats_is_removed_with_its_text(tmp_path: Path) -> None:
    text = " ".join(page(1, 80))
    found = run_substring(
        SubstringSettings(), write_shards(tmp_path / "in", documents([text, text]), []), tmp_path / "s"
    )
    assert found.texts() == [text] and found.removed["text"].to_pylist() == [text]
    assert found.removed["rule"].to_pylist() == ["dedup.substring.min_characters"]


def test_cuts_in_bytes_never_split_a_character(tmp_path: Path) -> None:
    texts = ["é漢字" * 20, "x" + "é漢字" * 20 + "ñ", "ó漢字" * 20]
    table = documents(texts)
    found = run_substring(
        SubstringSettings(min_bytes=10), write_shards(tmp_path / "in", table, []), tmp_path / "s"
    )
    balanced(found, table)


def test_order_and_shards_do_not_change_the_texts(tmp_path: Path) -> None:
    chance = random.Random(1)
    blocks = [page(n, 60) for n in range(12)]
    table = documents(
        [" ".join(word for block in chance.choices(blocks, k=3) for word in block) for _ in range(40)]
    )
    first = run_substring(
        SubstringSettings(), write_shards(tmp_path / "a", table, []), tmp_path / "1", parts=2
    )
    shuffled = table.take(pa.array(chance.sample(range(40), 40)))
    second = run_substring(
        SubstringSettings(), write_shards(tmp_path / "b", shuffled, [7, 20]), tmp_path / "2", parts=2
    )
    assert first.kept.sort_by("id").equals(second.kept.sort_by("id"))
    balanced(first, table)
    assert sum(count["repeats"] for count in first.counts) > 20


def test_empty_input_has_no_repeats(tmp_path: Path) -> None:
    found = run_substring(
        SubstringSettings(), write_shards(tmp_path / "in", documents(["", None]), []), tmp_path / "s", parts=3
    )
    assert len(found.kept) == 2
