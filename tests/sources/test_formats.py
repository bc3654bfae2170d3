"""Every input format is declared in one place, and everything else follows from that."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gristmill.document import text_key
from gristmill.pipeline.sources import format as formats
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import InputRange, Item, Origin, RangeEnd, Record
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.pipeline.sources.window import ByteWindow
from tests.support.archives import failures, read_all, records, source_of

DOCS = Path(__file__).parents[2] / "docs" / "sources.md"


def test_a_format_without_a_reader_is_refused_before_anything_runs() -> None:
    for name in ("gristmill", "csvv", ""):
        with pytest.raises(ValidationError, match="no format"):
            SourceSettings(inputs=["a"], format=name)


def test_the_schema_names_every_format() -> None:
    schema = SourceSettings.model_json_schema()["properties"]["format"]
    assert schema["enum"] == ["auto", *formats.known_formats()]


def test_no_two_formats_share_an_ending() -> None:
    endings = [ending for format_ in formats.known_formats().values() for ending in format_.endings]
    assert len(set(endings)) == len(endings)


def test_the_page_of_sources_lists_every_format_and_ending() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|", DOCS.read_text(), re.MULTILINE)
    listed = {name: set(re.findall(r"\.\w+", endings)) for name, endings in rows}
    for name, format_ in formats.known_formats().items():
        assert set(format_.endings) <= listed[name], name


def test_a_format_declared_in_one_module_is_planned_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
        text = window.read_exactly(0, window.size).decode()[::-1]
        origin = Origin(source.path, 0, window.size)
        yield Record(text_key(None, text), None, None, origin, window.size, text=text)
        yield RangeEnd(source.path, source.start, source.end, 0, window.size)

    toy = formats.InputFormat("mirror", (".mirror",), "never", read)
    table = {**formats.known_formats(), "mirror": toy}
    formats._by_ending.cache_clear()
    for module in ("format", "read", "plan", "settings"):
        monkeypatch.setattr(f"gristmill.pipeline.sources.{module}.known_formats", lambda: table)
    (tmp_path / "a.mirror").write_text("llim")
    source = source_of(tmp_path / "a.mirror")
    (shard,) = plan_shards(source, 1)
    assert shard.format == "mirror"
    assert [item.text for item in records(list(read_records(shard, source)))] == ["mill"]
    formats._by_ending.cache_clear()


GOOD = "The mill ground wheat and rye."


@pytest.mark.parametrize(
    ("name", "data", "texts", "errors"),
    [
        ("semicolon.csv", f"id;text\n1;{GOOD}\n".encode(), [GOOD], []),  # as spreadsheets of Europe write it
        ("bar.csv", f"id|text\n1|{GOOD}\n".encode(), [GOOD], []),
        ("excel.csv", f"id\ttext\r\n1\t{GOOD} Müller\r\n".encode("utf-16"), [f"{GOOD} Müller"], []),
        ("mac.csv", f"id,text\r1,{GOOD}\r2,{GOOD} Again.\r".encode(), [GOOD, f"{GOOD} Again."], []),
        ("latin.csv", f"année,text\n1,{GOOD}\n2,né ici\n".encode("latin-1"), [GOOD], ["invalid_utf8"]),
        ("open.csv", f'id,text\n1,{GOOD}\n2,"never\n3,ends\n'.encode(), [GOOD], ["truncated"]),
        ("open-head.csv", b'id,"text\n1,never ends\n', [], ["truncated"]),
    ],
)
def test_dialects_of_csv_are_read_or_said(
    tmp_path: Path, name: str, data: bytes, texts: list[str], errors: list[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    items = read_all(tmp_path / name, "csv")
    assert [record.text for record in records(items)] == texts
    assert [failure.error for failure in failures(items)] == errors


def test_a_path_leads_into_a_map_of_parquet(tmp_path: Path) -> None:
    maps = pa.array([[("body", GOOD), ("n", "1")], None, []], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"fields": maps}), tmp_path / "a.parquet")
    items = read_all(tmp_path / "a.parquet", "parquet", columns={"text": "fields.body"})
    assert [record.text for record in records(items)] == [GOOD]
    assert [failure.error for failure in failures(items)] == ["no_text", "no_text"]


def test_zeros_behind_compressed_rows_are_padding_and_anything_else_is_junk(tmp_path: Path) -> None:
    """As gzip(1) and Python's gzip have it."""
    packed = gzip.compress(f'{{"text": "{GOOD}"}}\n'.encode())
    for padding, errors in ((b"\0" * 70_000, []), (b"\0" * 700 + b"x", ["junk"])):
        (tmp_path / "a.jsonl.gz").write_bytes(packed + padding)
        items = read_all(tmp_path / "a.jsonl.gz", "jsonl")
        assert [record.text for record in records(items)] == [GOOD]
        assert [failure.error for failure in failures(items)] == errors


def test_a_record_of_a_table_that_never_ends_is_one_failed_row_in_bounded_memory(tmp_path: Path) -> None:
    """What is behind a quote that is open is no row, whether it ends or not; no record has a column for each
    of its bytes."""
    settings = {"max_record_bytes": 2000}
    line = "a line, of it\n"
    for text, kept, lost in (
        ('text,b\n"' + line * 500, 0, 1),
        ('text,b\n"' + line * 500 + 'end of it",2\nfine,1\n', 1, 1),
        ('text,b\n"' + '\n","' * 5000 + "\n", 0, 1),
        ("text,b\n" + "a" * 3000 + "\nfine,1\n", 1, 1),
        ('text,b\nfine,1\n5" pipe,2\nfine,3\n', 3, 0),
        ("text," + "b," * 1500 + "\nfine,1\n", 0, 1),
    ):
        (tmp_path / "a.csv").write_text(text)
        items = read_all(tmp_path / "a.csv", "csv", **settings)
        found = len(records(items)), [failure.error for failure in failures(items)]
        assert found == (kept, ["too_large"] * lost), text[:40]


def test_a_row_of_more_columns_than_there_can_be_is_one_failed_row(tmp_path: Path) -> None:
    many = 131_073
    for text, kept in (
        ("text,b\n" + "," * many + "\nfine,1\n", ["fine"]),
        ('text,b\n"' + "," * many + '",1\n', ["," * many]),
        ('text,b\n"' + "so,\n" * many + '",1\nfine,1\n', ["so,\n" * many, "fine"]),
        ("text" + ",a" * many + "\nfine,1\n", []),
    ):
        (tmp_path / "a.csv").write_text(text)
        items = read_all(tmp_path / "a.csv", "csv")
        lost = ["too_large"] if not kept or kept == ["fine"] else []
        assert [item.text for item in records(items)] == kept
        assert [failure.error for failure in failures(items)] == lost
