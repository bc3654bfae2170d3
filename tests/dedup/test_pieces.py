from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.dedup.below.split import ccnet_key
from gristmill.dedup.settings.parts import LineSettings, ParagraphSettings, SpanSettings
from tests.support.dedup_drive import balanced, documents, run_pieces, write_shards

ANY_LINE = LineSettings(min_sentences=0)


def test_a_line_stays_on_the_page_with_the_smallest_md5_of_its_url(tmp_path: Path) -> None:
    urls = ["http://a/1", "http://a/2", "http://a/3"]
    texts = [f"own {number}\n  The Same line \nmore {number}" for number in range(3)]
    table = documents(texts, url=urls)
    found = run_pieces(ANY_LINE, write_shards(tmp_path / "in", table, [1]), tmp_path / "s")
    first = min(range(3), key=lambda number: hashlib.md5(urls[number].encode()).digest())
    assert found.texts() == [
        text if number == first else f"own {number}\nmore {number}" for number, text in enumerate(texts)
    ]
    balanced(found, table)
    decision = found.decisions.to_pylist()[(first + 1) % 3]
    assert decision["decision"] == "edited" and decision["num_cut"] == 1
    assert decision["edits"] == [{"start": 6, "end": 6 + len("  The Same line \n")}]


def test_a_line_repeated_within_a_page_stays_once_and_leaves_no_line_end_behind(tmp_path: Path) -> None:
    table = documents(["x\ny\nX \nz\ny", "only\none"])
    found = run_pieces(ANY_LINE, write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert found.texts() == ["x\ny\nz", "only\none"]
    balanced(found, table)


def test_a_page_left_with_two_sentences_is_removed_with_its_whole_text(tmp_path: Path) -> None:
    shared = "This line is here twice."
    texts = [f"One. Two. Three.\n{shared}", f"Four. Five.\n{shared}"]
    table = documents(texts, url=["http://a/1", "http://a/2"])
    keeper = min(range(2), key=lambda number: hashlib.md5(f"http://a/{number + 1}".encode()).digest())
    table = table if keeper == 0 else table.set_column(1, "url", pa.array(["http://a/2", "http://a/1"]))
    found = run_pieces(LineSettings(), write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert found.texts() == texts[:1]
    assert found.removed.to_pylist()[0]["text"] == texts[1]
    assert [found.removed[name][0].as_py() for name in ("rule", "value", "bound")] == [
        "dedup.line.min_sentences",
        2.0,
        3.0,
    ]
    balanced(found, table)


def test_paragraphs_are_compared_without_case_accents_digits_and_marks(tmp_path: Path) -> None:
    table = documents(["Café, 12 May!\na", "cafe 34 may\nb"])
    found = run_pieces(ParagraphSettings(), write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert sum(text.count("\n") for text in found.texts()) == 1
    assert len(run_pieces(ANY_LINE, write_shards(tmp_path / "in2", table, []), tmp_path / "s2").kept) == 2
    balanced(found, table)


def test_a_span_of_three_sentences_stays_once(tmp_path: Path) -> None:
    shared = "Alpha went home. Beta stayed out. Gamma slept well."
    texts = [f"First own one. {shared} Last own one.", f"{shared} Another end."]
    table = documents(texts)
    settings_ = SpanSettings(min_words=0, min_sentences=0)
    found = run_pieces(settings_, write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert sum("Beta stayed out." in text for text in found.texts()) == 1
    assert sorted(text.count(".") for text in found.texts()) in ([1, 5], [2, 4])
    balanced(found, table)


def test_two_shared_sentences_are_no_span_of_three(tmp_path: Path) -> None:
    texts = ["Alpha went. Beta stayed. Own one.", "Alpha went. Beta stayed. Own two."]
    found = run_pieces(
        SpanSettings(min_words=0), write_shards(tmp_path / "in", documents(texts), []), tmp_path / "s"
    )
    assert found.texts() == texts


def test_a_sentence_said_five_times_in_a_row_keeps_one_span(tmp_path: Path) -> None:
    table = documents(["Say it again. " * 5])
    found = run_pieces(SpanSettings(min_words=0), write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert found.texts()[0].count("Say it again.") == 3
    balanced(found, table)


@pytest.mark.parametrize(
    "kind", [ANY_LINE, ParagraphSettings(min_characters=5), SpanSettings(min_words=3, min_sentences=1)]
)
def test_order_shards_and_parts_do_not_change_the_texts(tmp_path: Path, kind: LineSettings) -> None:
    chance = random.Random(4)
    lines = [f"Line {chance.randrange(40)} says so. And more. Then on." for _ in range(300)]
    table = documents(["\n".join(chance.choices(lines, k=chance.randrange(1, 6))) for _ in range(120)])
    first = run_pieces(kind, write_shards(tmp_path / "a", table, []), tmp_path / "1", parts=1)
    shuffled = table.take(pa.array(chance.sample(range(120), 120)))
    second = run_pieces(kind, write_shards(tmp_path / "b", shuffled, [1, 50, 20]), tmp_path / "2", parts=5)
    assert first.kept.sort_by("id").equals(second.kept.sort_by("id"))
    assert first.removed.sort_by("id").equals(second.removed.sort_by("id"))
    balanced(first, table)


@given(st.lists(st.text(st.sampled_from("ab.\n é漢\0"), max_size=30), max_size=12))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_books_balance_in_bytes_for_any_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    table = documents(texts)
    shards = write_shards(folder / "in", table, [3])
    for number, kind in enumerate(
        [LineSettings(), ParagraphSettings(), SpanSettings(min_words=1, min_sentences=0)]
    ):
        balanced(run_pieces(kind, shards, folder / str(number)), table)


def test_paragraphs_as_cc_nets_code_compares_them_keep_accents_and_ascii_marks(tmp_path: Path) -> None:
    """text_normalizer.normalize_for_dedup, with its own examples of what it takes out."""
    assert ccnet_key("  Café 12, «Tour»\x07…! ") == "café 00, tour!"
    same, other = "Prices: 12 «euros»\nx", "prices: 34 euros\ny"
    accent = "Café\nz", "Cafe\nw"
    table = documents([same, other, *accent])
    asked = ParagraphSettings(normalise="ccnet-code")
    found = run_pieces(asked, write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert sum(text.count("\n") for text in found.texts()) == 3
