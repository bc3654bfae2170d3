from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gristmill.dedup.exact import normalise_text
from gristmill.dedup.settings.documents import ExactSettings
from gristmill.document import DOCUMENT, removed_schema
from gristmill.errors import UsageError
from gristmill.urls import normalise_url
from tests.support.dedup_drive import documents, run_exact, write_shards

DAYS = [datetime.datetime(2024, 1, day, tzinfo=datetime.UTC) for day in range(1, 8)]


def test_a_text_that_differs_in_white_space_alone_is_a_duplicate(tmp_path: Path) -> None:
    found = run_exact(
        ExactSettings(),
        write_shards(tmp_path / "in", documents(["a b\n   c", " a b c ", "a b d"]), [1]),
        tmp_path / "s",
    )
    assert found.texts() == ["a b\n   c", "a b d"]  # the longest stays
    assert found.removed["rule"].to_pylist() == ["dedup.exact"]
    assert found.removed.schema.equals(removed_schema(DOCUMENT))
    assert found.decisions["cluster_size"].to_pylist() == [2, 2, 1]
    assert found.decisions["survivor_id"].to_pylist()[:2] == [found.kept["id"][0].as_py()] * 2
    assert found.decisions["cluster_id"].to_pylist()[0] == min(found.decisions["id"].to_pylist()[:2])


def test_normalisations_are_what_their_names_say() -> None:
    assert normalise_text("A  b,\n", "none") == "A  b,\n"
    assert normalise_text("A  b,\n", "space") == "A b,"
    assert normalise_text("e\u0301", "space") == "\u00e9"
    assert normalise_text("A  b, Straße_", "letters") == "a b strasse"


def test_a_url_is_normalised_as_c4_does() -> None:
    assert normalise_url("https://www.a.org/x/?utm_source=q") == "a.org/x"
    assert normalise_url("http://a.org/x/") == "a.org/x"
    assert normalise_url("http://a.org/?id=1") == "a.org/?id=1"
    # TFDS 4.9.10 takes all last slashes, and a scheme wherever it stands.
    assert normalise_url("http://a.org/x//") == "a.org/x"
    assert normalise_url("http://web.archive.org/web/2/http://www.a.org/") == "web.archive.org/web/2/a.org"


def test_of_one_url_the_newest_page_stays_and_pages_without_url_all_do(tmp_path: Path) -> None:
    urls = ["http://a.org/x", "https://www.a.org/x/", None, None, "http://a.org/x?ref=1"]
    table = documents(["1", "2", "3", "4", "5"], url=urls, date=[DAYS[0], DAYS[3], None, None, DAYS[1]])
    settings = ExactSettings(key="url")
    assert settings.survivor == "newest"
    found = run_exact(settings, write_shards(tmp_path / "in", table, [2]), tmp_path / "s")
    assert found.texts() == ["2", "3", "4"]
    assert set(found.removed["rule"].to_pylist()) == {"dedup.url"}


def test_texts_of_nothing_are_nobody_s_duplicates(tmp_path: Path) -> None:
    found = run_exact(
        ExactSettings(),
        write_shards(tmp_path / "in", documents(["", "", None, " \n", "\0", "\0"]), []),
        tmp_path / "s",
    )
    assert found.texts() == ["", "", None, " \n", "\0"]


@pytest.mark.parametrize(
    ("survivor", "kept"),
    [("oldest", 1), ("newest", 2), ("best:score", 3), ("longest", 4), ("id", None)],
    ids=lambda value: str(value),
)
def test_the_survivor_is_who_the_policy_names(tmp_path: Path, survivor: str, kept: int | None) -> None:
    texts = ["one  two", "one two", "one two", "one two", "one    two"]
    table = documents(
        texts, date=[DAYS[2], DAYS[0], DAYS[6], None, DAYS[3]], score=[0.1, -3.0, None, 0.7, float("nan")]
    )
    found = run_exact(
        ExactSettings(survivor=survivor), write_shards(tmp_path / "in", table, [3]), tmp_path / "s"
    )
    ids = table["id"].to_pylist()
    assert found.kept["id"].to_pylist() == [min(ids) if kept is None else ids[kept]]


def test_the_best_by_a_number_above_two_to_the_53_stays(tmp_path: Path) -> None:
    table = documents(["one  two", "one two", "one two"]).append_column(
        "nanoseconds", pa.array([1_700_000_000_000_000_001, None, 1_800_000_000_000_000_001], pa.int64())
    )
    shards = write_shards(tmp_path / "in", table, [2])
    found = run_exact(ExactSettings(survivor="best:nanoseconds"), shards, tmp_path / "s")
    assert found.kept["nanoseconds"].to_pylist() == [1_800_000_000_000_000_001]


def test_a_source_of_priority_wins_before_the_policy_is_asked(tmp_path: Path) -> None:
    table = documents(["a  b", "a b"], source=["crawl", "books"])
    found = run_exact(
        ExactSettings(source_priority=("books",)), write_shards(tmp_path / "in", table, []), tmp_path / "s"
    )
    assert found.kept["source"].to_pylist() == ["books"]
    assert found.decisions["num_sources"].to_pylist() == [2, 2]


def test_within_a_scope_only_its_own_documents_are_compared(tmp_path: Path) -> None:
    table = documents(["x", "x", "x"], source=["a", "b", "b"], dump=["1", "1", "2"])
    shards = write_shards(tmp_path / "in", table, [])
    assert len(run_exact(ExactSettings(scope="source"), shards, tmp_path / "1").kept) == 2
    assert len(run_exact(ExactSettings(scope="dump"), shards, tmp_path / "2").kept) == 2
    assert len(run_exact(ExactSettings(), shards, tmp_path / "3").kept) == 1
    marked = run_exact(ExactSettings(snapshot_column="dump", mode="mark"), shards, tmp_path / "4")
    assert len(marked.kept) == 3 and marked.decisions["num_snapshots"].to_pylist() == [2, 2, 2]
    assert len(set(marked.decisions["survivor_id"].to_pylist())) == 1


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", documents(["x"]), [])
    with pytest.raises(UsageError, match="column `dump`") as caught:
        run_exact(ExactSettings(scope="dump"), shards, tmp_path / "s")
    assert "source" in str(caught.value)


def test_order_shards_and_parts_do_not_change_the_result(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    texts = [
        f"text {number} {'x' * int(generator.integers(3))}" for number in generator.integers(0, 120, 400)
    ]
    table = documents(texts)
    settings = ExactSettings(normalise="letters")
    first = run_exact(settings, write_shards(tmp_path / "a", table, []), tmp_path / "1", parts=1)
    shuffled = table.take(pa.array(generator.permutation(400)))
    second = run_exact(
        settings, write_shards(tmp_path / "b", shuffled, [1, 150, 30]), tmp_path / "2", parts=9
    )
    assert first.decisions.sort_by("id").equals(second.decisions.sort_by("id"))
    assert len(first.kept) == len(set(texts)) and len(first.removed) == 400 - len(set(texts))


def test_a_shard_without_documents_passes_through(tmp_path: Path) -> None:
    found = run_exact(ExactSettings(), write_shards(tmp_path / "in", documents([]), []), tmp_path / "s")
    assert len(found.kept) == 0 and found.kept.schema.names == DOCUMENT.names
