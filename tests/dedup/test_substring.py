from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.settings import SubstringSettings
from gristmill.dedup.substring import find_repeated_ranges
from tests.support.dedup_drive import balanced, documents, run_substring, write_shards
from tests.support.made_texts import page


def joined(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    text = np.frombuffer(b"".join(text + b"\xff" for text in texts), np.uint8).copy()
    starts = np.concatenate([[0], np.cumsum([len(text) + 1 for text in texts])])[:-1]
    return text, starts


@given(st.lists(st.text(st.sampled_from("ab"), max_size=40), max_size=5))
@settings(max_examples=60, deadline=None)
def test_exactly_what_occurred_before_is_cut(texts: list[str]) -> None:
    data = [text.encode() for text in texts]
    text, starts = joined(data)
    expected: set[int] = set()
    whole = b"".join(part + b"\xff" for part in data)
    for start, part in zip(starts.tolist(), data, strict=True):
        for i in range(start, start + len(part) - 9):
            window = whole[i : i + 10]
            if b"\xff" not in window and whole.find(window, 0, i + 9) < i and whole.find(window) != i:
                expected.update(range(i, i + 10))
    found = find_repeated_ranges(SubstringSettings(min_bytes=10), text, starts)
    assert {place for start, stop in found.tolist() for place in range(start, stop)} == expected


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
