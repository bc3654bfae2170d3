"""A flipped bit stops where it is read."""

from __future__ import annotations

import errno
import gc
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.document import document_schema
from gristmill.errors import IntegrityError
from gristmill.files.parquet import Writer, num_parquet_rows, parquet_schema, read_parquet
from gristmill.files.storage import ParquetWriter, read_tables


def documents(num_rows: int) -> pa.Table:
    draw = random.Random(1)
    rows = [
        {
            "id": draw.randbytes(16),
            "url": f"http://a.example/{number}",
            "source": "web",
            "date": datetime(2025, 1, 1, tzinfo=UTC),
            "text": " ".join(draw.choices(["grist", "mill", "wheel", "stone"], k=40)),
            "language": "en",
            "language_score": 0.5,
            "origin": {"file": "a.warc.gz", "offset": number, "length": 7},
        }
        for number in range(num_rows)
    ]
    return pa.Table.from_pylist(rows, schema=document_schema([]))


def test_every_flipped_bit_of_a_file_is_an_error_or_changes_nothing_that_is_read(tmp_path: Path) -> None:
    table, path = documents(12), tmp_path / "documents.parquet"
    with ParquetWriter(path, table.schema) as writer:
        writer.write(table)
    whole, draw, noticed = path.read_bytes(), random.Random(2), 0
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            (found,) = read_tables(path)
        except IntegrityError as error:
            assert "documents.parquet` is damaged" in error.message and error.hint
            noticed += 1
        else:
            assert found.equals(table), f"byte {at} changed what was read"
    assert noticed > len(whole) / 2


def test_a_truncated_file_and_one_of_zeros_are_damaged(tmp_path: Path) -> None:
    table, path = documents(3), tmp_path / "documents.parquet"
    with ParquetWriter(path, table.schema) as writer:
        writer.write(table)
    whole = path.read_bytes()
    for data in (b"", whole[:5], whole[: len(whole) // 2], whole[:-1], bytes(len(whole))):
        path.write_bytes(data)
        for read in (read_parquet, parquet_schema, num_parquet_rows):
            with pytest.raises(IntegrityError):
                read(path)


def test_files_of_other_writers_are_read_as_they_are(tmp_path: Path) -> None:
    table, path = documents(3), tmp_path / "theirs.parquet"
    pq.write_table(table, path)
    assert read_parquet(path).equals(table)


def test_other_readers_see_the_rows_and_no_seal_in_the_schema(tmp_path: Path) -> None:
    table, path = documents(3), tmp_path / "ours.parquet"
    with ParquetWriter(path, table.schema) as writer:
        writer.write(table)
    theirs = pq.read_table(path)
    assert theirs.equals(table) and b"gristmill.seal" not in (theirs.schema.metadata or {})


class FullDisk:
    """In the place of pyarrow's own writer, when there is no more room."""

    def add_key_value_metadata(self, _: object) -> None:
        pass

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_writer_on_a_full_disk_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for make in (ParquetWriter, Writer):
        writer: Any = make(tmp_path / "a.parquet", documents(1).schema)
        getattr(writer, "_writer", writer).writer = FullDisk()
        with pytest.raises(OSError, match="No space left"):
            writer.close()
        del writer  # as it is while the error is on its way
        gc.collect()
    assert told == []
