"""Rows by columns and rows one by one: the same documents, books and losses, whatever the rows hold."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.extract.dates import milliseconds, milliseconds_of
from gristmill.pipeline.extract.decoding.text_bytes import broken_fractions
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.sources.broken import broken_fraction
from gristmill.pipeline.sources.read import read_items, read_records
from gristmill.pipeline.sources.record import InputShard, Record
from gristmill.pipeline.sources.rows import arrow_columns, json_columns, text_rows
from gristmill.pipeline.sources.rows.json_scan import ESCAPED, MISSING, OBJECT, STRING, scan_lines, unescape
from gristmill.pipeline.sources.rows.text_rows import TextRows
from tests.extract.test_extraction import Milled
from tests.support.archives import source_of, whole

MILL = "The mill by the river ground wheat and rye for the whole valley, then oats."
LINES = [
    json.dumps({"text": MILL, "id": "a", "url": "https://a.example/1", "n": 1}),
    '{"text": "tab\\tand \\u00e9 and \\ud83d\\ude00 \\/ \\"quoted\\"", "id": "b", "metadata": {"url": "u"}}',
    '{"text": "lone \\ud800 surrogate", "id": "c"}',
    '{"text": "nul \\u0000 inside", "id": "d\\u0000"}',
    '{"text": null, "id": "e"}',
    '{"id": "no text"}',
    '{"text": 5, "id": "f"}',
    '{"text": "integer id", "id": 7}',
    '{"text": "minus zero", "id": -0}',
    '{"text": "float id", "id": 1.50}',
    '{"text": "long id", "id": 123456789012345678901234567890}',
    '{"text": "twice", "text": "the last one counts"}',
    '{"te\\u0078t": "an escaped key"}',
    '{"text": "empty url", "url": "", "id": ""}',
    '{"text": "list as date", "date": [1]}',
    '{"text": "nested", "metadata": {"url": "https://b.example/", "n": {"m": [1, {"x": []}]}}, "n": "12"}',
    '{"text": "path in text", "metadata": "{\\"url\\": \\"https://c.example/\\"}"}',
    '{"text": "no object", "metadata": 5, "n": 9223372036854775808}',
    '{"text": "null on the way", "metadata": null, "n": true}',
    '{"text": "dates", "date": "2024-05-06T07:08:09+02:00", "score": 0.25, "flag": true}',
    '{"text": "dates", "date": 1700000000, "score": 3, "flag": null}',
    '{"text": "dates", "date": "6 May", "score": "0.5", "flag": "no"}',
    '{"text": "", "id": "empty"}',
    '{"text": "%s"}' % ("\\u009f" * 9),
    '{"text": "trailing comma",}',
    '{"text": "cut',
    "[1, 2]",
    "not json",
    "",
    "   ",
    '{"text": "%s"}' % ("x" * 3000),
    '  {"text" : "blanks around" , "id":"g" }  ',
    '{"text": "number 01", "x": 01}',
    '{"text": "bare -", "x": -}',
    '{"text": "deep", "x": ' + "[" * 70 + "]" * 70 + "}",
    json.dumps({"text": MILL, "id": "a", "url": "https://a.example/1", "n": 1}),
    '{"text": "same text"}',
    '{"text": "same text"}',
]
PASSED = {"n": "int64", "tag": "string", "score": "float64", "flag": "bool"}


def by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_columns.JsonColumns, "read", lambda *_: None)
    monkeypatch.setattr(arrow_columns, "_by_columns", lambda *_: None)


def told(milled: Milled) -> list[Any]:
    """Rows in the order of the input: records that pages may lie among leave a batch at a time."""
    tables = (milled.documents, milled.removed, milled.failed)
    rows = [sorted(table.to_pylist(), key=lambda row: row["origin"]["offset"]) for table in tables]
    return [milled.documents.to_pylist(), *rows, milled.books, milled.notes]


def same_both_ways(monkeypatch: pytest.MonkeyPatch, path: Path, **source: Any) -> Milled:
    strict = ExtractSettings(extractor="resiliparse", min_text_bytes=4, block_domains=["c.example"])
    monkeypatch.setattr(text_rows, "_ALL_ODD", 0)  # however many are odd, the others go by columns
    columns = Milled(path, strict, **source)
    shard = InputShard("jsonl" if path.suffix == ".jsonl" else path.suffix[1:], (whole(path),))
    assert any(isinstance(item, TextRows) for item in read_items(shard, columns.source))
    expanded = list(read_records(shard, columns.source))
    with monkeypatch.context() as patch:
        by_rows(patch)
        rows = Milled(path, strict, **source)
        read = list(read_records(shard, columns.source))
    assert told(columns) == told(rows)
    if path.suffix == ".jsonl":  # of timestamps a record has the source's own digits, below a millisecond too
        for ours, theirs in zip(expanded, read, strict=True):
            for item in (ours, theirs):
                if isinstance(item, Record):
                    item.absent = item.there = ()  # rows by columns say what all of a block lack
            assert ours == theirs
    return columns


@pytest.mark.parametrize("seed", range(6))
def test_json_lines_are_the_same_by_columns_and_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    lines = [LINES[0], *draw.choices(LINES, k=300)] if seed else LINES
    ends = draw.choices(["\n", "\r\n"], weights=[5, 1], k=len(lines))
    data = "".join(line + end for line, end in zip(lines, ends, strict=True))
    (tmp_path / "a.jsonl").write_text(data.rstrip("\r\n") if seed % 2 else data)
    columns = {"url": "metadata.url"} if seed % 3 == 2 else {}
    same_both_ways(
        monkeypatch, tmp_path / "a.jsonl", columns=columns, passthrough=PASSED, max_record_bytes=2048
    )


def test_a_block_that_is_not_utf8_throughout_costs_its_bad_lines_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = b'{"text": "as it should be"}\n'
    (tmp_path / "a.jsonl").write_bytes(good * 3 + b'{"text": "\xff"}\n' + good)
    by_columns = Milled(tmp_path / "a.jsonl")
    by_rows(monkeypatch)
    assert told(by_columns) == told(Milled(tmp_path / "a.jsonl"))
    assert by_columns.errors == ["invalid_utf8"]


def test_lines_are_the_same_wherever_blocks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gristmill.pipeline.sources.formats import jsonl

    (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in LINES * 4))
    whole_file = told(Milled(tmp_path / "a.jsonl"))
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 500)
    monkeypatch.setattr(jsonl, "_PIECE_BYTES", 64)
    assert told(Milled(tmp_path / "a.jsonl")) == whole_file


def arrow_table() -> pa.Table:
    rows = 40
    texts = [f"{MILL} {number % 30}" for number in range(rows)]
    texts[3], texts[4], texts[5] = "nul \0 inside", "", None
    whens = [datetime(2024, 1, 1, 2, 3, 4, 567_891, UTC) if number % 3 else None for number in range(rows)]
    metadata = [{"url": f"https://{'abc'[number % 3]}.example/", "n": number} for number in range(rows)]
    metadata[7] = None
    return pa.table(
        {
            "text": texts,
            "id": pa.array([number % 30 for number in range(rows)], pa.int32()),
            "date": pa.array(whens, pa.timestamp("us", tz="UTC")),
            "metadata": metadata,
            "tag": pa.array([["x", None, "y"][number % 3] for number in range(rows)]).dictionary_encode(),
            "score": pa.array([number / 8 for number in range(rows)], pa.float32()),
            "flag": [number % 2 == 0 for number in range(rows)],
            "n": pa.array([number - 5 for number in range(rows)], pa.int16()),
        }
    )


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("url", ["url", "metadata.url"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "date"])
def test_tables_are_the_same_by_columns_and_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, url: str, unit: str
) -> None:
    table = arrow_table()
    kind = pa.date32() if unit == "date" else pa.timestamp(unit, tz="UTC" if unit != "s" else None)
    when = table["date"].cast(kind, safe=False)
    table = table.set_column(2, "date", when)
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(table, path, row_group_size=11)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=11)
    milled = same_both_ways(monkeypatch, path, columns={"url": url}, passthrough=PASSED)
    assert milled.rules.count("input.repeated_record") == 7  # three of ten have texts of their own
    assert milled.documents["date"].null_count < milled.documents.num_rows


def test_a_value_beyond_its_column_sends_its_batch_to_the_careful_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"text": [MILL, MILL + "."], "n": pa.array([1, 2**64 - 1], pa.uint64())})
    pq.write_table(table, tmp_path / "a.parquet")
    milled = Milled(tmp_path / "a.parquet", passthrough={"n": "int64"})
    assert milled.documents["n"].to_pylist() == [1, None]
    assert milled.notes == {"note.no_int64.n": 1}


def test_a_limit_cuts_rows_by_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"{MILL} {n}" for n in range(50)]}), tmp_path / "a.parquet")
    assert Milled(tmp_path / "a.parquet", limit=13).documents.num_rows == 13


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "text", "é"]), PLAIN, max_size=4), min_size=1),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=2)), max_size=2),
)
@settings(max_examples=300, deadline=None)
def test_what_the_scan_calls_plain_every_parser_reads_the_same(
    rows: list[dict[str, Any]], ascii_only: bool, damage: list[tuple[int, bytes]]
) -> None:
    data = bytearray(
        "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows) + "\n", "utf-8", "replace"
    )
    for at, bytes_ in damage:
        at %= len(data)
        data[at : at + len(bytes_)] = bytes_
    if not data.endswith(b"\n"):
        data += b"\n"
    try:
        data.decode()
    except UnicodeDecodeError:
        return  # such a block is not scanned
    raw = bytes(data)
    block = np.frombuffer(raw, np.uint8)
    found = scan_lines(block, raw.count(b"\n"), ["text", "a"])
    for number, line in enumerate(raw.split(b"\n")[:-1]):
        if found.odd[number]:
            continue
        value = orjson.loads(line)
        for which, name in enumerate(["text", "a"]):
            kinds, starts, stops = found.of(which)
            assert (kinds[number] == MISSING) == (name not in value)
            if kinds[number] in (STRING, ESCAPED):
                at = slice(number, number + 1)
                ends, out = unescape(block, kinds[at], starts[at], stops[at])
                assert out[: ends[1]].tobytes().decode() == value[name]
            elif kinds[number] != MISSING:
                assert not isinstance(value[name], str)
                assert (kinds[number] == OBJECT) == isinstance(value[name], dict)
                assert orjson.loads(raw[starts[number] : stops[number]]) == value[name]


def test_most_lines_of_a_plain_file_are_plain(tmp_path: Path) -> None:
    lines = [orjson.dumps({"text": f'{MILL} "\\ {n} \t é', "id": n, "m": {"a": [1, {}]}}) for n in range(100)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    shard = InputShard("jsonl", (whole(tmp_path / "a.jsonl"),))
    items = list(read_items(shard, source_of(tmp_path / "a.jsonl")))
    assert sum(len(item) for item in items if isinstance(item, TextRows)) == 98  # not the first, not the last


@pytest.mark.parametrize(
    "written",
    ["2024-05-06", "2024-05-06T07:08:09Z", "2024-05-06 07:08:09", "2024-05-06T07:08:09.1234+05:30",
     "2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29T23:59:59.999999Z", "1969-12-31T23:59:59.5Z",
     "0001-01-01T00:00:00+14:00", "9999-12-31", "2024-13-01", "2024-00-10", "2024-01-32",
     "2024-05-06T24:00:00", "2024-05-06T07:60:09Z", "20240131123000", "1700000000", "1700000000123",
     "17000000001", "2024-05-06T07:08", " 2024-05-06", "2024-05-06T07:08:09.", "today", "2024-05-06x", "",
     "2024-05-06T07:08:09.1234567Z", "2024-05-06T07:08:09-00:00", "2024-05-06T07:08:09+2:00",
     date.max.isoformat()],
)  # fmt: skip
def test_a_date_is_the_same_by_columns(written: str) -> None:
    number = milliseconds(written)
    (value,) = milliseconds_of(pa.array([written], pa.large_string())).cast(pa.int64()).to_pylist()
    assert value == number


@given(st.lists(st.text(alphabet="ab \n\t\x00\x07\x7f\x80\x9f\xa0é\ufffd\uffff漢", max_size=30), min_size=1))
@settings(deadline=None)
def test_how_much_of_a_text_is_broken_is_the_same_by_columns(texts: list[str]) -> None:
    found = broken_fractions(pa.array(texts, pa.large_string())).tolist()
    assert found == [broken_fraction(text, text.encode()) for text in texts]
