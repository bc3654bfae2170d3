"""Rows of every kind: each that can be read is read, with every digit, and a bad cell costs its own row."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.sources.rows.elements import Elements
from gristmill.pipeline.sources.rows.layouts import LAYOUTS
from gristmill.pipeline.sources.rows.values import as_int64
from tests.extract.test_extraction import Milled
from tests.support.archives import failures, read_all, records

MILL = "The mill by the river ground wheat and rye for the whole valley."


def column_with_bad_cell(num_rows: int, bad: int) -> pa.Array:
    """A string column one of whose cells is no UTF-8, as writers that do not check leave it."""
    cells = [b"bad \xff\xfe cell" if row == bad else f"{MILL} {row}".encode() for row in range(num_rows)]
    return pa.Array.from_buffers(pa.string(), num_rows, pa.array(cells, pa.binary()).buffers())


@pytest.mark.parametrize("column", ["text", "url", "id"])
def test_one_cell_that_is_no_utf8_costs_one_row(tmp_path: Path, column: str) -> None:
    rows = 2000
    columns = {"id": [str(n) for n in range(rows)], "text": [f"{MILL} {n}" for n in range(rows)]}
    pq.write_table(pa.table({**columns, column: column_with_bad_cell(rows, 300)}), tmp_path / "a.parquet")
    milled = Milled(tmp_path / "a.parquet")
    assert milled.documents.num_rows == rows - 1
    assert milled.errors == ["invalid_utf8"]
    assert f"column `{column}`: byte 4" in milled.failed["message"][0].as_py()
    assert milled.failed["origin"][0].as_py()["offset"] == 300


def test_a_bad_cell_of_a_column_kept_beside_is_null_and_counted(tmp_path: Path) -> None:
    table = pa.table({"text": [f"{MILL} {n}" for n in range(9)], "tag": column_with_bad_cell(9, 4)})
    pq.write_table(table, tmp_path / "a.parquet")
    milled = Milled(tmp_path / "a.parquet", passthrough=["tag"])
    assert milled.documents["tag"].null_count == 1
    assert milled.notes == {"note.unreadable.tag": 1}


def test_a_row_group_that_cannot_be_read_counts_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{MILL} {n}" for n in range(3000)]})
    pq.write_table(table, path, row_group_size=1000, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 200] = bytes(200)
    path.write_bytes(data)
    milled = Milled(path)
    (books,) = milled.books
    assert books.items_in == 3000
    assert books.items_out["kept"] + books.items_out["failed"] == 3000
    assert books.by_error["damaged_row_group"] == books.items_out["failed"] == 1000


@pytest.mark.parametrize(
    "literal",
    ["18446744073709551616", "123456789012345678901234567890", "-9223372036854775809", "1" * 5000,
     "0.1234567890123456789012", "1.5", "7", "1e400"],
)  # fmt: skip
def test_numbers_keep_their_digits(tmp_path: Path, literal: str) -> None:
    # RFC 8259 section 6 sets no limit; orjson reads integers of 2^64 and more as floats.
    line = f'{{"id": {literal}, "text": "x", "n": {literal}, "deep": {{"n": [{literal}]}}}}\n'
    (tmp_path / "a.jsonl").write_text(line)
    (row,) = Milled(tmp_path / "a.jsonl", passthrough={"id": "string", "n": "string", "deep": "json"}).rows()
    shown = "1E+400" if literal == "1e400" else literal
    assert (row["input.id"], row["n"], row["deep"]) == (shown, shown, f'{{"n": [{shown}]}}')


def test_large_ids_do_not_collide(tmp_path: Path) -> None:
    ids = [18446744073709551616 + n for n in range(5)]
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": {n}, "text": "same"}}\n' for n in ids))
    assert len({row["id"] for row in Milled(tmp_path / "a.jsonl").rows()}) == 5


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(2**63 - 1, 2**63 - 1), (2**63, None), (-(2**63), -(2**63)), (1e3, 1000), (1.5, None), ("12", 12),
     ("x", None), (1e300, None), (float("nan"), None), (True, True), ([1], None)],
)  # fmt: skip
def test_an_integer_column_holds_what_fits_and_nothing_else(value: Any, wanted: int | None) -> None:
    assert as_int64(value) == wanted


def test_values_beyond_their_column_are_null_and_counted(tmp_path: Path) -> None:
    deep = "[" * 900 + "]" * 900
    rows = [
        '{"text": "a", "n": 9223372036854775808}',
        '{"text": "b", "n": 1}',
        f'{{"text": "c", "d": {deep}}}',
    ]
    rows.append('{"text": "d", "n": "\\ud800", "d": {"\\ud800": 1}}')
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    milled = Milled(tmp_path / "a.jsonl", passthrough={"n": "int64", "d": "json"})
    assert milled.documents["n"].to_pylist() == [None, 1, None, None]
    assert milled.notes["note.no_int64.n"] == 2
    assert milled.documents["d"][3].as_py() == '{"\ufffd": 1}'


def test_timestamps_finer_than_microseconds_are_read(tmp_path: Path) -> None:
    when = pa.array([1_700_000_000_123_456_789, None, -(2**62)], pa.timestamp("ns", tz="UTC"))
    pq.write_table(pa.table({"text": ["a", "b", "c"], "date": when, "seen": when}), tmp_path / "a.parquet")
    rows = list(Milled(tmp_path / "a.parquet", passthrough=["seen"]).rows())
    assert [row["date"] for row in rows][:2] == [datetime(2023, 11, 14, 22, 13, 20, 123000, UTC), None]
    assert rows[0]["seen"] == "2023-11-14 22:13:20.123456789Z"


def test_a_timestamp_beyond_the_calendar_costs_no_more_than_itself(tmp_path: Path) -> None:
    when = pa.array([0, 2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"text": ["a", "b"], "date": when}), tmp_path / "a.parquet")
    milled = Milled(tmp_path / "a.parquet")
    assert [row["text"] for row in milled.rows()] == ["a", "b"]
    assert milled.notes == {"note.unreadable_date": 1}


NESTED = {"body": {"text": MILL}, "metadata": {"url": "https://a.example/1", "warc.id": "w7", "n": {"m": 5}}}


def test_nested_columns_are_named_by_path_in_json(tmp_path: Path) -> None:
    as_text = {**NESTED, "metadata": json.dumps(NESTED["metadata"])}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(NESTED)}\n{json.dumps(as_text)}\n")
    columns = {"text": "body.text", "url": "metadata.url", "id": "metadata.warc.id"}
    milled = Milled(tmp_path / "a.jsonl", columns=columns, passthrough={"metadata.n.m": "int64"})
    rows = list(milled.rows())
    assert [(row["text"], row["url"], row["metadata.n.m"]) for row in rows] == [
        (MILL, "https://a.example/1", 5)
    ]
    assert milled.rules == ["input.repeated_record"]  # the same id and text, told in two ways


def test_nested_columns_are_named_by_path_in_parquet_and_arrow(tmp_path: Path) -> None:
    table = pa.table({"body": [NESTED["body"]], "metadata": [NESTED["metadata"]], "other": ["x"]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "b.arrow", table.schema) as writer:
        writer.write_table(table)
    columns = {"text": "body.text", "url": "metadata.url", "id": "metadata.warc.id"}
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        milled = Milled(tmp_path / name, columns=columns, passthrough={"metadata.n": "json"})
        (row,) = milled.rows()
        assert (row["text"], row["url"], row["metadata.n"]) == (MILL, "https://a.example/1", '{"m": 5}')


def test_binary_columns_are_read_by_the_rules_of_pages(tmp_path: Path) -> None:
    russian = "Мельница у реки молола пшеницу и рожь для всей долины, и её жернова ещё стоят там."
    page = f'<html><meta charset="koi8-r"><body><p>{russian}</p></body></html>'.encode("koi8-r")
    pq.write_table(pa.table({"html": [page], "raw": [russian.encode("cp1251")]}), tmp_path / "a.parquet")
    (row,) = Milled(tmp_path / "a.parquet", columns={"html": "html", "text": None}).rows()
    assert row["text"] == russian
    (row,) = Milled(tmp_path / "a.parquet", columns={"text": "raw"}).rows()
    assert row["text"] == russian


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("layout", [None, 1, 4])
def test_an_array_of_objects_is_rows(tmp_path: Path, layout: int | None, compress: bool) -> None:
    rows = [{"text": f'{MILL} {n} ], "}} \\', "tags": ["a", {"b": [n]}]} for n in range(200)]
    data = json.dumps(rows, indent=layout).encode()
    path = tmp_path / ("a.json.gz" if compress else "a.json")
    path.write_bytes(gzip.compress(data) if compress else data)
    items = read_all(path, "jsonl")
    assert [item.text for item in records(items)] == [row["text"] for row in rows]
    assert not failures(items)


def test_an_array_is_cut_the_same_wherever_its_bytes_are(tmp_path: Path) -> None:
    data = b' \n[ {"a": "\\"], \\\\"}, [1, [2]], 3 , "x,]" , {} ] [{"b": 1}]\n'
    whole = [element for _, element in Elements(100).feed(data)]
    assert [element.strip() for element in whole if element] == [
        b'{"a": "\\"], \\\\"}', b"[1, [2]]", b"3", b'"x,]"', b"{}", b'{"b": 1}',
    ]  # fmt: skip
    for step in range(1, len(data)):
        elements = Elements(100)
        parts = [data[at : at + step] for at in range(0, len(data), step)]
        found = [element for part in parts for _, element in elements.feed(part)]
        assert found == whole, step
        assert not elements.is_open
        assert elements.stray is None


def test_what_is_wrong_with_an_array_is_a_failure(tmp_path: Path) -> None:
    cases = {
        '[{"text": "a"}, {"text": ': ["truncated"],
        '[{"text": "a"}] {"text": "b"}': ["junk"],
        '[{"text": "a"}, {broken}, 5]': ["not_json", "not_an_object"],
        '[{"text": "a"}, {"text": "' + "x" * 3000 + '"}]': ["too_large"],
    }
    for data, wanted in cases.items():
        (tmp_path / "a.json").write_text(data)
        items = read_all(tmp_path / "a.json", "jsonl", max_record_bytes=2000)
        assert [item.text for item in records(items)] == ["a"]
        assert [failure.error for failure in failures(items)] == wanted


@pytest.mark.parametrize("ending", ["json", "jsonl", "json.gz"])
def test_a_pretty_printed_object_is_said_to_be_one(tmp_path: Path, ending: str) -> None:
    data = json.dumps({"text": "a", "id": 7}, indent=2).encode()
    (tmp_path / f"a.{ending}").write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    (failure,) = failures(read_all(tmp_path / f"a.{ending}", "jsonl"))
    assert failure.error == "pretty_printed"
    assert "a pretty-printed JSON object" in failure.message


def test_a_column_name_given_twice_is_said_in_those_words(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a", "b"]), pa.array(["c", "d"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("text,text\na,b\n")
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    for name, format_, num in (("a.parquet", "parquet", 2), ("a.csv", "csv", 1), ("a.arrow", "arrow", 1)):
        found = failures(read_all(tmp_path / name, format_))
        assert len(found) >= num
        assert "two columns `text`" in found[0].message or "`text` twice" in found[0].message


def test_csv_is_read_with_quotes_line_ends_and_compression(tmp_path: Path) -> None:
    data = '\ufefftext,id,url\r\n"a ""quoted"", text\r\nof two lines",1,https://a.example\r\nplain,2,\r\n'
    bad = b"caf\xe9,3,\r\ntoo,many,fields,here\r\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(data.encode() + bad + b"last,4,"))
    items = read_all(tmp_path / "a.csv.gz", "csv")
    assert [(item.text, item.own_id, item.url) for item in records(items)] == [
        ('a "quoted", text\r\nof two lines', "1", "https://a.example"),
        ("plain", "2", None),
        ("last", "4", None),
    ]
    assert [failure.error for failure in failures(items)] == ["invalid_utf8", "not_csv"]
    (tmp_path / "a.tsv").write_text("id\ttext\n1\ta, b\n")
    assert [item.text for item in records(read_all(tmp_path / "a.tsv", "csv"))] == ["a, b"]


# A row of each corpus as it is published; where that is said stands beside the layouts.
URL, WHEN = "http://a.example/", "2013-05-18T05:48:54Z"
PUBLISHED: dict[str, dict[str, Any]] = {
    "fineweb": {
        "text": MILL,
        "id": "<urn:uuid:1>",
        "dump": "CC-MAIN-2013-20",
        "url": URL,
        "date": WHEN,
        "file_path": "s3://x",
        "language": "en",
        "language_score": 0.9,
        "token_count": 12,
    },
    "dolma": {
        "id": "d1",
        "text": MILL,
        "source": "common-crawl",
        "added": "2023-05-18T00:00:00Z",
        "created": WHEN,
        "metadata": {"url": URL},
    },
    "redpajama-v1": {"text": MILL, "meta": {"url": URL, "timestamp": WHEN, "source": "common_crawl"}},
    "redpajama-v2": {"url": URL, "date_download": WHEN, "digest": "sha1:X", "raw_content": MILL},
    "c4": {"text": MILL, "timestamp": WHEN, "url": URL},
    "the-stack": {"hexsha": "ab12", "size": 5, "ext": "py", "lang": "Python", "content": MILL},
    "wikipedia": {"id": "12", "url": URL, "title": "Mill", "text": MILL},
    "dclm": {"text": MILL, "url": URL, "metadata": {"WARC-Record-ID": "<urn:uuid:1>", "WARC-Date": WHEN}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_corpora_are_read_by_the_name_of_their_layout(tmp_path: Path, layout: str) -> None:
    row = PUBLISHED[layout]
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        (document,) = Milled(tmp_path / name, columns=layout).rows()
        assert document["text"] == MILL
        assert document["url"] == (None if layout == "the-stack" else "http://a.example/")
        dated = layout not in ("the-stack", "wikipedia")
        assert document["date"] == (datetime(2013, 5, 18, 5, 48, 54, tzinfo=UTC) if dated else None)
    (item,) = records(read_all(tmp_path / "a.jsonl", "jsonl", columns=layout))
    path = LAYOUTS[layout]["id"]
    assert (item.own_id is None) == (path is None)


def test_a_layout_can_be_changed_and_brought_along(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"body": MILL, "metadata": {"url": "http://a.example/"}}))
    (tmp_path / "mine.yaml").write_text("layout: dolma\ntext: body\n")
    for columns in ({"layout": "dolma", "text": "body"}, str(tmp_path / "mine.yaml")):
        (row,) = Milled(tmp_path / "a.jsonl", columns=columns).rows()
        assert (row["text"], row["url"]) == (MILL, "http://a.example/")


def test_columns_with_the_names_of_a_documents_own_are_kept_beside(tmp_path: Path) -> None:
    row = {"id": "d1", "text": MILL, "source": "pile", "language": "xx", "language_score": 0.25}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    passthrough = {"id": "string", "source": "string", "language_score": "float64"}
    (found,) = Milled(tmp_path / "a.jsonl", passthrough=passthrough).rows()
    assert (found["input.id"], found["input.source"], found["input.language_score"]) == ("d1", "pile", 0.25)
    assert (found["source"], found["language"]) == ("web", "en")


def test_a_url_beyond_any_servers_bound_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": MILL, "url": "http://a.example/" + "x" * 20_000}))
    milled = Milled(tmp_path / "a.jsonl")
    assert [row["url"] for row in milled.rows()] == [None]
    assert milled.notes == {"note.url_too_long": 1}
