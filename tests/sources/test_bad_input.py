"""Input that is not what it should be: a clear error where a user can act, else a counted failure."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import ValidationError

from gristmill.errors import GristmillError, InputError, UsageError
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import InputShard
from tests.support.archives import ends, failures, member, read_all, read_split, record, records, source_of


def fails(pattern: Path | str, kind: type[GristmillError], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        plan_shards(source_of(pattern, **settings), 1 << 20)
    return str(caught.value)


def errors(path: Path, format_: str, **settings: Any) -> list[str]:
    return [failure.error for failure in failures(read_all(path, format_, **settings))]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = fails(tmp_path / "no.warc.gz", UsageError)
    assert "an input does not exist" in message
    assert str(tmp_path / "no.warc.gz") in message


def test_a_glob_that_matches_nothing_is_named(tmp_path: Path) -> None:
    message = fails(tmp_path / "*.warc.gz", UsageError)
    assert "no file matches an input" in message
    assert "hint: check the path" in message


def test_an_unknown_ending_asks_for_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("x")
    message = fails(tmp_path / "a.xyz", UsageError)
    assert "cannot tell the format of an input by its name" in message
    assert "set `format`" in message


def test_a_path_through_a_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_text("x")
    assert "cannot look at an input: Not a directory" in fails(tmp_path / "a.warc" / "b.warc", InputError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(record(1))
    path.chmod(0)
    with pytest.raises(InputError, match="cannot read an input: Permission denied"):
        read_all(path)


def test_a_file_that_changes_after_planning_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(record(1))
    source = source_of(path)
    (shard,) = plan_shards(source, 1 << 20)
    path.write_bytes(record(1) + record(2))
    with pytest.raises(InputError, match="changed since the run was planned"):
        list(read_records(shard, source))


def test_a_limit_over_several_formats_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(1))
    (tmp_path / "a.txt").write_text("x")
    assert "`limit` needs inputs of one format, got text, warc" in fails(
        tmp_path / "a.*", UsageError, limit=1
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": []}, "give either `inputs` or `commoncrawl`"),
        ({"inputs": "a", "fromat": "warc"}, "Extra inputs are not permitted"),
        ({"inputs": "a", "limit": 0}, "greater than or equal to 1"),
        ({"inputs": "a", "columns": "dolmas"}, "no layout `dolmas`; known: fineweb, dolma"),
        ({"inputs": "a", "columns": {"layout": "dolma", "txt": "x"}}, "Extra inputs are not permitted"),
        ({"inputs": "a", "passthrough": {"x": "int32"}}, "Input should be 'string'"),
        ({"inputs": "a", "columns": {"text": None}}, "one of `text` and `html`"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    from gristmill.pipeline.sources.settings import SourceSettings

    with pytest.raises(ValidationError, match=message):
        SourceSettings(**settings)


def test_secrets_are_never_shown() -> None:
    settings = source_of("s3://b/a.warc.gz", storage_options={"key": "AKIA", "secret": "hunter2"})
    assert settings.storage_options["secret"] == "hunter2"
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "hunter2" not in shown
        assert "AKIA" not in shown


@pytest.mark.parametrize(
    "name", ["a.warc.gz", "a.warc", "a.arc", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.txt"]
)
def test_an_empty_file_is_one_failure(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    source = source_of(tmp_path / name)
    (shard,) = plan_shards(source, 1 << 20)
    items = list(read_records(shard, source))
    assert [failure.error for failure in failures(items)] == ["empty_file"]
    assert len(ends(items)) == 1


@pytest.mark.parametrize(
    ("name", "format_", "error"),
    [
        ("a.warc.gz", "warc", "junk"),
        ("a.jsonl.gz", "jsonl", "junk"),
        ("a.txt.gz", "text", "junk"),
        ("a.warc.zst", "warc", "junk"),
    ],
)
def test_a_file_that_is_not_compressed_as_its_name_says_is_one_failure(
    tmp_path: Path, name: str, format_: str, error: str
) -> None:
    (tmp_path / name).write_bytes(b"<html>an error page of a proxy</html>\n" * 20)
    assert errors(tmp_path / name, format_) == [error]


def test_a_plain_archive_named_gz_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(record(1) + record(2))
    assert len(records(read_all(tmp_path / "a.warc.gz"))) == 2
    (tmp_path / "a.jsonl.gz").write_text('{"text": "x"}\n')
    assert len(records(read_all(tmp_path / "a.jsonl.gz", "jsonl"))) == 1


def test_a_text_file_among_archives_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_text("nothing like an archive\n" * 100)
    (failure,) = failures(read_all(tmp_path / "a.warc"))
    assert (failure.error, failure.origin.offset, failure.origin.length) == ("junk", 0, 2400)


def test_each_bad_line_is_one_failure_and_the_others_are_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b"{broken",
        b"[1, 2]",
        b'"a string"',
        b"{}",
        b'{"text": null}',
        b'{"text": 5}',
        b'{"text": "\xff\xfe"}',
        b"",
        b'{"text": "also good"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    items = read_all(tmp_path / "a.jsonl", "jsonl")
    assert [item.text for item in records(items)] == ["good", "also good"]
    found = [(failure.error, failure.message) for failure in failures(items)]
    assert [error for error, _ in found] == [
        "not_json",
        "not_an_object",
        "not_an_object",
        "no_text",
        "no_text",
        "no_text",
        "invalid_utf8",
    ]
    assert found[3][1] == "column `text` is missing; there are none"
    assert found[4][1] == "column `text` is null"
    assert found[5][1] == "column `text` is int, not a string"
    assert failures(items)[0].origin.offset == 17


def test_lone_surrogates_and_nul_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a\\ud800b\\u0000c", "url": "\\udfff"}\n')
    (item,) = records(read_all(tmp_path / "a.jsonl", "jsonl"))
    assert (item.text, item.url) == ("a\ufffdb\ufffdc", "\ufffd")


def test_deeply_nested_json_is_a_failure_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": ' + b"[" * 200_000 + b"\n" + b'{"text": "x"}\n')
    items = read_all(tmp_path / "a.jsonl", "jsonl")
    assert ([f.error for f in failures(items)], len(records(items))) == (["not_json"], 1)


def test_a_line_beyond_the_bound_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(b'{"text": "a"}\n{"text": "' + b"x" * 5_000_000 + b'"}\n{"text": "b"}\n')
    )
    items = read_all(tmp_path / "a.jsonl.gz", "jsonl", max_record_bytes=1 << 20)
    assert [item.text for item in records(items)] == ["a", "b"]
    assert [failure.error for failure in failures(items)] == ["too_large"]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_truncated_file_of_lines_is_kept_up_to_its_damage(tmp_path: Path, ending: str) -> None:
    data = b"".join(json.dumps({"text": os.urandom(40).hex()}).encode() + b"\n" for _ in range(5000))
    path = tmp_path / f"a.jsonl.{ending}"
    stored = gzip.compress(data) if ending == "gz" else zstandard.compress(data)
    path.write_bytes(stored[: len(stored) // 2])
    items = read_all(path, "jsonl")
    assert len(records(items)) > 1000
    assert [failure.error for failure in failures(items)] == ["truncated"]
    assert failures(items)[0].origin.length == len(stored) // 2


def test_lines_behind_a_damaged_gzip_member_are_read(tmp_path: Path) -> None:
    parts = [
        bytearray(member(b"".join(b'{"text": "%d"}\n' % (n * 10 + k) for k in range(10)))) for n in range(3)
    ]
    parts[1][20] ^= 0xFF
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(parts))
    items = read_all(tmp_path / "a.jsonl.gz", "jsonl")
    texts = [int(item.text or "") for item in records(items)]
    assert texts[:10] == list(range(10))
    assert texts[-10:] == list(range(20, 30))
    assert [failure.error for failure in failures(items)] == ["damaged_member"]


def test_parquet_is_read_by_row_groups_wherever_it_is_cut(tmp_path: Path) -> None:
    rows = 2000
    table = pa.table(
        {"id": list(range(rows)), "text": [f"text {n} " * 20 for n in range(rows)], "other": [0.5] * rows}
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=100, compression="none")
    wanted = [item.own_id for item in records(read_all(path, "parquet"))]
    assert wanted == [str(n) for n in range(rows)]
    split = read_split(path, 30_000)
    assert len(ends(split)) > 5
    assert [item.own_id for item in records(split)] == wanted
    check_ranges_meet(ends(split))


def test_a_file_that_is_no_parquet_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 or so, but not quite" * 4000)
    assert errors(tmp_path / "a.parquet", "parquet") == ["not_parquet"]
    split = read_split(tmp_path / "a.parquet", 20_000)
    assert [failure.error for failure in failures(split)] == ["not_parquet"]
    check_ranges_meet(ends(split))


def test_a_damaged_row_group_is_one_failure_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": [os.urandom(50).hex() for _ in range(300)]}),
        path,
        row_group_size=100,
        compression="zstd",
        use_dictionary=False,
    )
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 400] = bytes(400)
    path.write_bytes(data)
    items = read_all(path, "parquet")
    assert len(records(items)) == 200
    assert [failure.error for failure in failures(items)] == ["damaged_row_group"] * 100
    assert [failure.origin.offset for failure in failures(items)] == list(range(100, 200))


def test_a_text_column_of_another_type_is_one_failure_a_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2], "body": ["a", "b"]}), tmp_path / "a.parquet")
    assert errors(tmp_path / "a.parquet", "parquet") == ["no_text", "no_text"]
    assert errors(tmp_path / "a.parquet", "parquet", columns={"text": "wrong"}) == ["no_text", "no_text"]
    assert len(records(read_all(tmp_path / "a.parquet", "parquet", columns={"text": "body"}))) == 2


def test_text_files_are_read_whole_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffGrüße\n".encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"zipped"))
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    (tmp_path / "d.txt").write_bytes(b"x" * 5000)
    source = source_of(tmp_path / "*.txt*", max_record_bytes=2000)
    (shard,) = plan_shards(source, 1 << 20)
    items = list(read_records(shard, source))
    assert [item.text for item in records(items)] == ["Grüße\n", "zipped"]
    assert [failure.error for failure in failures(items)] == ["invalid_utf8", "too_large"]


def plan_many(folder: Path, num_files: int) -> list[InputShard]:
    for number in range(num_files):
        (folder / f"{number:06d}.jsonl").touch()
    source = source_of(folder / "*.jsonl")
    first = plan_shards(source, 1 << 20)
    assert sum(len(shard.ranges) for shard in first) == num_files
    assert first == plan_shards(source, 1 << 20)
    return first


def test_tiny_inputs_are_grouped(tmp_path: Path) -> None:
    assert [len(shard.ranges) for shard in plan_many(tmp_path, 2500)] == [1000, 1000, 500]


@pytest.mark.slow
def test_a_hundred_thousand_inputs_are_planned_in_seconds_and_little_memory(tmp_path: Path) -> None:
    plan_many(tmp_path, 100_000)
    script = (
        "import sys, time; from gristmill.pipeline.run.attempt import peak_bytes; from"
        " gristmill.pipeline.sources.plan import plan_shards;from gristmill.pipeline.sources.settings import"
        " SourceSettings; started = time.process_time();plan_shards(SourceSettings(inputs=sys.argv[1]), 1 <<"
        " 20);print(time.process_time() - started, peak_bytes() >> 20)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, f"{tmp_path}/*.jsonl"], capture_output=True, check=True, text=True
    )
    seconds, mebibytes = map(float, ran.stdout.split())
    assert seconds < 10
    assert mebibytes < 500


def test_an_arrow_file_that_points_outside_itself_costs_its_batch_and_not_the_process(tmp_path: Path) -> None:
    texts = [f"the mill number {number}" for number in range(40)]
    columns = {
        "dictionary": pa.array(texts).dictionary_encode(),
        "list": pa.array([[text, None] for text in texts]),
        "map": pa.array([[(text, 1)] for text in texts], pa.map_(pa.string(), pa.int64())),
        "struct": pa.array([{"bytes": text.encode()} for text in texts]),
    }
    for name, column in columns.items():
        table = pa.table({"text": texts, "beside": column})
        (tmp_path / name).mkdir()
        path = tmp_path / name / "a.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        data = bytearray(path.read_bytes())
        ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)  # of texts, in lists of which two belong
        wanted = {
            "dictionary": np.arange(40, dtype=np.int32),
            "list": np.arange(0, 82, 2, dtype=np.int32),
            "map": np.arange(41, dtype=np.int32),
            "struct": ends,
        }[name].tobytes()
        at = data.rfind(wanted)
        assert at > 0
        data[at + 40 : at + 44] = (1 << 30).to_bytes(4, "little")
        path.write_bytes(data)
        code = f"""if True:
            from pathlib import Path
            from tests.support.archives import read_all, failures
            found = failures(read_all(Path({str(path)!r}), "arrow", passthrough={{"beside": "json"}}))
            assert len(found) == 40, found
            print({{one.error for one in found}})
        """
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, (name, run.returncode, run.stderr[-800:])


def test_a_cell_of_a_nested_column_that_is_no_utf8_costs_itself_alone(tmp_path: Path) -> None:
    bad = pa.array([[b"fine"], [b"\xff"], [b"fine"]]).view(pa.list_(pa.string()))
    table = pa.table({"text": ["one mill", "two mills", "three mills"], "tags": bad})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    found = records(read_all(tmp_path / "a.arrow", "arrow", passthrough={"tags": "json"}))
    assert [one.columns["tags"] for one in found] == [["fine"], None, ["fine"]]


def test_a_column_of_parquet_whose_name_is_no_utf8_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["the mill"], "columnname": ["x"]}), path, store_schema=False)
    data = bytearray(path.read_bytes())
    for at in range(data.find(b"columnname", len(data) // 2), len(data)):
        if data[at : at + 10] == b"columnname":
            data[at] = 0xEB  # no UTF-8
    path.write_bytes(data)
    (failure,) = failures(read_all(path, "parquet"))
    assert failure.error in ("not_parquet", "damaged_row_group") and "0xeb" in failure.message
