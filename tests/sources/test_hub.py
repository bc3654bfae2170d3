"""Data sets of the Hugging Face Hub by hf:// paths: globs, folders, revisions, formats, faults, tokens."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.errors import InputError, UsageError
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from tests.support import hub
from tests.support.archives import records, source_of

pytest.importorskip("huggingface_hub")


def rows(start: int, count: int) -> list[dict[str, Any]]:
    return [{"id": f"doc-{n}", "text": f"The text of document {n}."} for n in range(start, start + count)]


def parquet(table: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), out, row_group_size=10)
    return out.getvalue()


FILES = {
    "README.md": b"---\nlicense: odc-by\n---\n# Pages\n",
    ".gitattributes": b"*.parquet filter=lfs\n",
    "data/train-00000-of-00002.parquet": parquet(rows(0, 30)),
    "data/train-00001-of-00002.parquet": parquet(rows(30, 30)),
    "en/part.jsonl.gz": gzip.compress("".join(json.dumps(row) + "\n" for row in rows(60, 5)).encode()),
}


@pytest.fixture
def server() -> Iterator[tuple[hub.Hub, str]]:
    stand_in = hub.Hub({"acme/pages": dict(FILES)})
    with hub.serve(stand_in) as endpoint:
        yield stand_in, endpoint


def read(
    pattern: str, endpoint: str, shard_bytes: int = 1 << 20, token: Any = False, **more: Any
) -> list[str]:
    options = {"endpoint": endpoint, "token": token, "skip_instance_cache": True}
    source = source_of(pattern, storage_options=options, request_attempts=3, **more)
    shards = plan_shards(source, shard_bytes)
    return [record.text or "" for shard in shards for record in records(list(read_records(shard, source)))]


ALL = [row["text"] for row in rows(0, 60)]


@pytest.mark.parametrize(
    "pattern",
    [
        "hf://datasets/acme/pages/data/*.parquet",
        "hf://datasets/acme/pages/**/train-*.parquet",
        "hf://datasets/acme/pages/data",
        "hf://datasets/acme/pages@main/data/*.parquet",
        f"hf://datasets/acme/pages@{hub.COMMIT}/data/train-0000?-of-00002.parquet",
    ],
)
def test_a_data_set_is_read_by_glob_folder_and_revision(pattern: str, server: tuple[hub.Hub, str]) -> None:
    assert read(pattern, server[1]) == ALL


def test_a_whole_data_set_is_its_data_without_what_describes_it(server: tuple[hub.Hub, str]) -> None:
    assert sorted(read("hf://datasets/acme/pages", server[1])) == sorted(row["text"] for row in rows(0, 65))


def test_a_large_file_is_read_by_row_groups_and_only_in_ranges(server: tuple[hub.Hub, str]) -> None:
    assert (
        read("hf://datasets/acme/pages/data/train-00000-of-00002.parquet", server[1], shard_bytes=400)
        == ALL[:30]
    )


def test_json_lines_are_read_with_a_layout(server: tuple[hub.Hub, str]) -> None:
    path = "hf://datasets/acme/pages/en/part.jsonl.gz"
    assert read(path, server[1], columns={"text": "text", "id": "id"}) == [row["text"] for row in rows(60, 5)]


def test_a_busy_hub_is_asked_again(server: tuple[hub.Hub, str]) -> None:
    server[0].failures = 1
    assert read("hf://datasets/acme/pages/data/*.parquet", server[1]) == ALL


def test_a_private_data_set_needs_its_token_which_no_message_shows(server: tuple[hub.Hub, str]) -> None:
    server[0].token = "hf_secretsecret"
    assert read("hf://datasets/acme/pages/data", server[1], token="hf_secretsecret") == ALL
    with pytest.raises((InputError, UsageError)) as refused:
        read("hf://datasets/acme/pages/data/*.parquet", server[1], token="hf_wrongwrong")
    assert "hf_wrongwrong" not in str(refused.value)


@pytest.mark.parametrize(
    "pattern", ["hf://datasets/acme/absent/data/*.parquet", "hf://datasets/acme/pages/none/*.parquet"]
)
def test_what_is_not_there_is_an_error_that_names_it(pattern: str, server: tuple[hub.Hub, str]) -> None:
    with pytest.raises((InputError, UsageError)) as missing:
        read(pattern, server[1])
    assert pattern in f"{missing.value} {missing.value.where}"


def test_a_file_that_changes_after_planning_is_refused(server: tuple[hub.Hub, str]) -> None:
    path, (stand_in, endpoint) = "hf://datasets/acme/pages/en/part.jsonl.gz", server
    options = {"endpoint": endpoint, "token": False, "skip_instance_cache": True}
    source = source_of(path, storage_options=options, request_attempts=2)
    (shard,) = plan_shards(source, 1 << 20)
    data = stand_in.data_sets["acme/pages"]["en/part.jsonl.gz"]
    stand_in.data_sets["acme/pages"]["en/part.jsonl.gz"] = data[:4] + b"\1" + data[5:]  # its time
    with pytest.raises(InputError, match="changed since the run was planned"):
        list(read_records(shard, source))
