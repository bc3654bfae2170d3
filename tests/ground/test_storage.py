import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.errors import GristmillError, IntegrityError
from gristmill.files.storage import (
    ROW_GROUP_ROWS,
    ParquetWriter,
    publish,
    put_if_absent,
    read_tables,
    write_atomic,
)
from gristmill.hashing import sha256_file
from gristmill.ledger import Books
from gristmill.manifest import (
    Manifest,
    TaskRecord,
    put_manifest,
    put_record,
    read_manifest,
    read_record,
    record_path,
)

SCHEMA = pa.schema([("source", pa.string()), ("text", pa.large_string())])


def write(path: Path, texts: list[str], cuts: list[int]) -> None:
    table = pa.table(
        {"source": ["s"] * len(texts), "text": pa.array(texts, pa.large_string())}, schema=SCHEMA
    )
    with ParquetWriter(path, SCHEMA) as writer:
        for start, end in zip([0, *cuts], [*cuts, len(texts)], strict=True):
            writer.write(table.slice(start, end - start))


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 5000), max_size=6).map(sorted))
def test_the_bytes_of_a_file_do_not_depend_on_how_its_rows_were_batched(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("writer")
    texts = [f"text {i} " * (i % 50) for i in range(5000)]
    write(folder / "whole", texts, [])
    write(folder / "cut", texts, cuts)
    assert sha256_file(folder / "whole") == sha256_file(folder / "cut")


def test_every_row_group_but_the_last_has_the_same_number_of_rows(tmp_path: Path) -> None:
    write(tmp_path / "f", ["x"] * (2 * ROW_GROUP_ROWS + 3), [7, 11])
    groups = pq.ParquetFile(tmp_path / "f")
    assert [groups.metadata.row_group(i).num_rows for i in range(groups.num_row_groups)] == [
        ROW_GROUP_ROWS,
        ROW_GROUP_ROWS,
        3,
    ]
    assert sum(table.num_rows for table in read_tables(tmp_path / "f")) == 2 * ROW_GROUP_ROWS + 3


def test_a_writer_whose_body_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ParquetWriter(tmp_path / "f.parquet", SCHEMA) as writer:
        writer.write(pa.table({"source": ["s"], "text": ["t"]}))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_writers_wins_put_if_absent(tmp_path: Path) -> None:
    assert put_if_absent(tmp_path / "x", b"one")
    assert not put_if_absent(tmp_path / "x", b"two")
    assert (tmp_path / "x").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_reported_with_the_free_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GristmillError, match=r"no space left .* bytes are free"):
        write_atomic(tmp_path / "x", b"data")
    assert list(tmp_path.iterdir()) == []


def test_two_attempts_with_the_same_bytes_publish_one_file(tmp_path: Path) -> None:
    for attempt in ("a", "b"):
        (tmp_path / attempt).mkdir()
        (tmp_path / attempt / "part.parquet").write_bytes(b"same")
    first = publish(tmp_path / "a" / "part.parquet", tmp_path / "step", "documents-00000", "documents", 1)
    second = publish(tmp_path / "b" / "part.parquet", tmp_path / "step", "documents-00000", "documents", 1)
    assert first == second
    assert [path.name for path in (tmp_path / "step" / "data").iterdir()] == [
        f"documents-00000-{first.sha256[:12]}.parquet"
    ]


def test_a_record_comes_back_as_it_was_put_and_an_altered_one_is_refused(tmp_path: Path) -> None:
    books = Books(3, 30)
    books.items_out.update(kept=2, removed=1)
    books.bytes_out.update(kept=20, removed=10)
    books.by_rule_first["gopher.num_words"] = 1
    record = TaskRecord("map", "00000", books=books, counts={"b": 2, "a": 1}, timing={"seconds": 1.5})
    assert put_record(tmp_path, record)
    path = record_path(tmp_path, "map", "00000")
    assert read_record(path).body() == record.body()
    path.write_bytes(path.read_bytes().replace(b'"items_in":3', b'"items_in":4'))
    with pytest.raises(IntegrityError, match="was altered"):
        read_record(path)


def test_the_timing_of_a_step_is_no_part_of_its_digest(tmp_path: Path) -> None:
    digests = []
    for seconds in (1.0, 2.0):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        put_manifest(Manifest(folder, "s", "id", {}, [], [], None, {"n": 1}, {"seconds": seconds}))
        digests.append(read_manifest(folder).content_digest)
    assert digests[0] == digests[1]
    with pytest.raises(IntegrityError, match=r"holds no manifest\.json"):
        read_manifest(tmp_path)
