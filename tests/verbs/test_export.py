"""What `export` writes is read back by others: pandas, polars, DuckDB, datasets, and by gristmill itself."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.errors import UsageError
from gristmill.pipeline.cli import main
from gristmill.pipeline.phases.exporting.export import HandedFile, grouped
from gristmill.pipeline.phases.exporting.export_files import format_of, united
from gristmill.pipeline.phases.exporting.export_layouts import LAYOUTS, Handing
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.sources.rows.layouts import LAYOUTS as READ
from tests.support.toy_stage import INLINE, QUIET

NUM = 60


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two sources, one with columns of its own."""
    folder = tmp_path_factory.mktemp("export")
    words = "the words of that river and with having water to be under it for the morning as his"
    with (folder / "a.jsonl").open("w") as file:
        for n in range(NUM):
            row = {"id": f"a-{n}", "text": f"{words} {n}", "meta": {"n": n}, "url": f"https://x.example/{n}"}
            row |= {"date": "2024-05-06T07:08:09Z", "stars": n / 2}
            file.write(json.dumps(row) + "\n")
    with (folder / "b.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": f"prose {words} {n * n}"}) + "\n" for n in range(20))
    sources = {
        "a": {
            "inputs": f"{folder}/a.jsonl",
            "passthrough": {"id": "string", "meta": "json", "stars": "float64"},
        },
        "b": {"inputs": f"{folder}/b.jsonl"},
    }
    tokens = {"tokenizer": {"vocab_size": 320}, "mix": {"heldout_fraction": 0.2}}
    recipe = make_recipe(
        {"name": "x", "sources": sources, "dedup": {"exact": {}}, "shard_bytes": 4000, **tokens}
    )
    run_plan(build_plan(recipe), folder / "out", INLINE, QUIET)
    return folder / "out"


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "arrow"])
def test_the_ending_decides_what_is_written(out: Path, tmp_path: Path, ending: str, layout: str) -> None:
    path = tmp_path / f"x.{ending}"
    assert call("export", out, "--to", path, "--layout", layout) == 0
    head = path.read_bytes()[:4]
    magic = {
        "jsonl": b'{"',
        "jsonl.gz": b"\x1f\x8b",
        "jsonl.zst": b"\x28\xb5\x2f\xfd",
        "parquet": b"PAR1",
        "arrow": b"ARRO",
    }
    assert head.startswith(magic[ending])
    frame = read(path, ending)
    assert len(frame) == NUM + 20
    names = {
        "native": {"id", "origin"},
        "dolma": {"id", "added", "metadata"},
        "fineweb": {"dump", "token_count"},
        "c4": {"text", "timestamp", "url"},
        "redpajama-v1": {"text", "meta"},
        "redpajama-v2": {"raw_content", "digest", "nlines", "source_domain", "date_download"},
    }
    assert names.get(layout, {"id", "url", "source"}) <= set(frame.columns)


def read(path: Path, ending: str) -> Any:
    if ending == "parquet":
        return pandas.read_parquet(path)
    if ending == "arrow":
        return pandas.read_feather(path)
    return pandas.read_json(
        path, lines=True, compression={"jsonl.gz": "gzip", "jsonl.zst": "zstd"}.get(ending)
    )


def test_dolma_has_string_ids_and_metadata_as_objects(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "dolma.jsonl.gz"
    assert call("export", out, "--to", path, "--layout", "dolma") == 0
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    first = next(row for row in rows if row["id"] == "a-0")
    assert list(first) == ["id", "text", "source", "added", "created", "metadata"]
    assert (first["source"], first["created"]) == ("a", "2024-05-06T07:08:09.000Z")
    assert first["metadata"]["url"] == "https://x.example/0" and first["metadata"]["meta"] == {"n": 0}
    assert "origin" not in first["metadata"] and first["metadata"]["stars"] == 0.0
    assert all(len(row["id"]) == 32 for row in rows if row["source"] == "b")


def test_duckdb_and_polars_read_a_folder_of_both_splits(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    given = ["--layout", "huggingface", "--split", "both", "--size", "2k", "--engine", "inline", "-q"]
    assert call("export", out, "--to", folder, *given) == 0
    assert sorted({path.name.partition("-")[0] for path in folder.iterdir()}) == ["test", "train"]
    assert len(list(folder.iterdir())) > 4
    query = "select count(*), count(distinct id) from read_parquet('{}/{}-*.parquet')"
    counts = [duckdb.sql(query.format(folder, split)).fetchall()[0] for split in ("train", "test")]
    assert sum(num for num, _ in counts) == NUM + 20
    assert all(num == distinct > 0 for num, distinct in counts)
    polars = pytest.importorskip("polars")
    assert polars.read_parquet(f"{folder}/*.parquet").schema["id"] == polars.String


def test_nothing_of_a_stopped_export_of_another_size_is_left(out: Path, tmp_path: Path) -> None:
    given = ["--to", tmp_path / "x", "--engine", "inline", "-q"]
    assert call("export", out, *given, "--size", "2k", "--split", "both") == 0
    small = {path.name for path in (tmp_path / "x").iterdir()}
    (tmp_path / "x" / ".export").mkdir()  # as a killed one leaves it
    (tmp_path / "x" / "README.md").write_text("of a person")
    assert call("export", out, *given, "--size", "1G") == 0
    left = {path.name for path in (tmp_path / "x").iterdir()}
    assert len(left) < len(small) and "README.md" in left and not any("heldout" in name for name in left)
    ids = [
        row for path in (tmp_path / "x").glob("*.parquet") for row in pq.read_table(path)["id"].to_pylist()
    ]
    assert len(ids) == len({*ids}) == NUM + 20


@pytest.mark.filterwarnings("ignore:The default formatting of datetime")  # of pandas, within datasets
def test_datasets_loads_both_splits_and_writes_json(out: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "corpus"
    given = ["--layout", "huggingface", "--split", "both", "--engine", "inline", "-q"]
    assert call("export", out, "--to", folder, *given) == 0
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert set(found) == {"train", "test"} and sum(len(part) for part in found.values()) == NUM + 20
    assert found["train"].to_json(tmp_path / "again.jsonl") > 0
    assert call("export", out, "--to", tmp_path / "x.jsonl.gz", "--layout", "dolma") == 0
    assert len(
        datasets.load_dataset("json", data_files=str(tmp_path / "x.jsonl.gz"), cache_dir=str(tmp_path))[
            "train"
        ]
    )


def test_redpajama_says_of_a_text_what_ccnet_says(out: Path, tmp_path: Path) -> None:
    assert call("export", out, "--to", tmp_path / "x.jsonl", "--layout", "redpajama-v2") == 0
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    row = next(row for row in rows if row["url"] == "https://x.example/7")
    digest = base64.b32decode(row["digest"].removeprefix("sha1:"))
    assert digest == hashlib.sha1(row["raw_content"].encode()).digest()
    assert (row["length"], row["nlines"]) == (len(row["raw_content"]), 1)
    assert row["source_domain"] == "x.example" and row["date_download"] == "2024-05-06T07:08:09.000Z"


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) & set(READ)))
def test_a_layout_that_was_written_is_a_layout_that_is_read(out: Path, tmp_path: Path, layout: str) -> None:
    assert call("export", out, "--to", tmp_path / "x.parquet", "--layout", layout) == 0
    given = ["--columns", layout, "--engine", "inline", "-q", "--out", tmp_path / "again"]
    assert call("extract", tmp_path / "x.parquet", *given) == 0
    assert call("export", tmp_path / "again", "--to", tmp_path / "again.jsonl") == 0
    before = pq.read_table(tmp_path / "x.parquet").to_pylist()
    after = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    text = str(READ[layout]["text"])
    assert sorted(row["text"] for row in after) == sorted(row[text] for row in before)
    assert {row["date"][:19] for row in after if row["date"]} == {"2024-05-06T07:08:09"}
    assert {row["url"] for row in after} >= {"https://x.example/0"}


def test_the_splits_of_an_export_are_those_of_the_mixture(out: Path, tmp_path: Path) -> None:
    counts = {}
    for split in ("train", "heldout", "all"):
        assert call("export", out, "--to", tmp_path / f"{split}.jsonl", "--split", split) == 0
        counts[split] = len((tmp_path / f"{split}.jsonl").read_text().splitlines())
    assert counts["train"] + counts["heldout"] == counts["all"] == NUM + 20 and counts["heldout"] > 0


def test_an_export_to_a_store_is_whole_there(out: Path) -> None:
    import fsspec

    assert call("export", out, "--to", "memory://bucket/x.jsonl.gz") == 0
    with fsspec.open("memory://bucket/x.jsonl.gz", "rt", compression="gzip") as lines:
        assert len(list(lines)) == NUM + 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--to", "x.parquet", "--format", "jsonl"],
            "`--to x.parquet` is a parquet file, `--format` says jsonl",
        ),
        (["--layout", "pile"], "`--layout` is 'pile'"),
        (["--to", "x.jsonl", "--split", "both"], "`--split both` writes several files"),
        (["--format", "parquet"], "`--format parquet` needs a file"),
        (["--removed", "--failed"], "exclude each other"),
        (["--to", "folder", "--size", "big"], "`--size` is 'big'"),
        (["--to", ".", "--engine", "inline"], "is not empty"),
        (["--id", "nothing"], "have no column `nothing`"),
    ],
)
def test_what_cannot_be_written_is_refused(
    out: Path, tmp_path: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("")
    assert call("export", out, *given) == 2
    assert said in capsys.readouterr().err


def test_files_of_one_source_share_a_task_up_to_a_size() -> None:
    files = [HandedFile(str(n), 40, Handing("a" if n < 4 else "b")) for n in range(6)]
    assert [[file.path for file in group] for group in grouped(files, 100)] == [
        ["0", "1"],
        ["2", "3"],
        ["4", "5"],
    ]
    assert len(grouped(files, 10)) == 6


def test_formats_by_ending_and_schemas_of_several_sources() -> None:
    assert [format_of(name) for name in ("A.JSONL.GZ", "a.json", "a.feather", "a", "a.csv")] == [
        "jsonl.gz", "jsonl", "arrow", None, None,
    ]  # fmt: skip
    one = pa.schema([("m", pa.struct([("a", pa.int64())]))])
    other = pa.schema([("m", pa.struct([("b", pa.string())])), ("c", pa.string())])
    assert united([one, other]) == pa.schema(
        [("m", pa.struct([("a", pa.int64()), ("b", pa.string())])), ("c", pa.string())]
    )
    with pytest.raises(UsageError, match="is int64 in one source and string in another"):
        united([pa.schema([("a", pa.int64())]), pa.schema([("a", pa.string())])])
