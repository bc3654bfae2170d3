"""A column that no row of a source has is told at once, with the columns that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gristmill.errors import RecipeError
from gristmill.pipeline import cli
from gristmill.pipeline.extract.absent import AbsentColumns, absent_notes
from gristmill.pipeline.extract.extraction import Extraction
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.record import Origin, Record
from gristmill.pipeline.sources.settings import SourceSettings
from tests.extract.test_extraction import Milled
from tests.support.small_corpus import TEXTS

ROWS = [{"key": str(n), "text": text, "stars": n, "crawl": f"c{n % 2}"} for n, text in enumerate(TEXTS[:6])]


@pytest.fixture(scope="module", autouse=True)
def verbs() -> None:
    if not cli.app.registered_groups:
        cli.register()


def write(folder: Path, kind: str) -> Path:
    path, table = folder / f"a.{kind}", pa.Table.from_pylist(ROWS)
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    elif kind == "csv":
        lines = [",".join(ROWS[0]), *(",".join(json.dumps(str(v)) for v in row.values()) for row in ROWS)]
        path.write_text("\n".join(line.replace('\\"', '""').replace("\\n", " ") for line in lines))
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return path


def extracted(path: Path, **settings: Any) -> Extraction:
    """Extract one file of rows; nothing but texts, so that no extractor starts."""
    source = SourceSettings(inputs=[str(path)], **settings)
    (shard,) = plan_shards(source, 1 << 20)
    extraction = Extraction(shard, "a", source, ExtractSettings())
    for _ in extraction:
        pass
    return extraction


def extract(path: Path, *settings: str) -> Result:
    more = [part for setting in settings for part in ("--set", setting)]
    arguments = ["extract", str(path), "--out", str(path.parent / "out"), "--engine", "inline", *more]
    return CliRunner().invoke(cli.app, arguments)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "csv"])
def test_columns_that_no_row_has_are_known_with_those_there_are(tmp_path: Path, kind: str) -> None:
    columns = {"id": "keys", "date": "when", "url": None}
    extraction = extracted(
        write(tmp_path, kind), columns=columns, passthrough={"star": "int64", "stars": "int64"}
    )
    notes = absent_notes([(6, extraction.absent.facts())], "a")
    assert notes == [
        f"`a`: none of 6 records has `{name}`; there are key, text, stars, crawl"
        for name in ("star", "keys", "when")
    ]


def test_headers_that_no_record_of_an_archive_has_are_known() -> None:
    seen = AbsentColumns(["http.server", "http.sever", "page.title", "http.status", "stars"])
    for headers in ({"date": "x"}, {"date": "y", "server": "z"}):
        origin = Origin("a.warc", 0, 9)
        seen.see(Record("k", None, None, origin, 9, b"", status=200, http_headers=headers))
    assert absent_notes([(2, seen.facts())], "a") == [
        f"`a`: none of 2 records has `{name}`; there are http.date" for name in ("http.sever", "stars")
    ]


def test_the_run_tells_what_no_row_has(tmp_path: Path) -> None:
    run = extract(write(tmp_path, "parquet"), "sources.input.passthrough={star: int64}")
    told = "none of 6 records has `star`; there are key, text, stars, crawl"
    assert run.exit_code == 0 and told in " ".join(run.output.split())


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "csv"])
def test_a_text_that_no_row_has_fails_each_row_with_the_columns_of_the_file(
    tmp_path: Path, kind: str
) -> None:
    milled = Milled(write(tmp_path, kind), columns={"text": "content"})
    (message,) = set(milled.failed["message"].to_pylist())
    assert message == "column `content` is missing; there are key, text, stars, crawl"


def test_a_column_that_some_rows_of_some_file_have_is_not_told(tmp_path: Path) -> None:
    """Rows of JSON leave keys out where there is no value."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": TEXTS[0]}))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": t, "tag": "x"}) for t in TEXTS[1:3]))
    (tmp_path / "c.jsonl").write_text("not json")
    for column, told in (("tag", []), ("tags", ["`a`: none of 3 records has `tags`; there are text"])):
        shards = [extracted(tmp_path / f"{name}.jsonl", passthrough=[column]) for name in "cab"]
        read = [(shard.books.items_out["kept"], shard.absent.facts()) for shard in shards]
        assert absent_notes(read, "a") == told


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_column_that_is_null_in_every_row_of_every_file_is_told(tmp_path: Path, kind: str) -> None:
    def write_file(name: str, stars: list[int | None]) -> Path:
        path = tmp_path / f"{name}.{kind}"
        rows = [{"text": text, "stars": of, "other": None} for text, of in zip(TEXTS, stars, strict=False)]
        if kind == "parquet":
            types = {"text": pa.string(), "stars": pa.int64(), "other": pa.int64()}
            pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), path)
        else:
            path.write_text("\n".join(json.dumps(row) for row in rows))
        return path

    paths = [write_file("a", [None, None]), write_file("b", [None, 4])]
    shards = [extracted(path, passthrough={"stars": "int64", "other": "int64"}) for path in paths]
    read = [(shard.books.items_out["kept"], shard.absent.facts()) for shard in shards]
    assert absent_notes(read[:1], "a") == [
        "`a`: `stars` is null in all 2 records", "`a`: `other` is null in all 2 records",
    ]  # fmt: skip
    assert absent_notes(read, "a") == ["`a`: `other` is null in all 4 records"]


SOURCES = "sources: {a: {inputs: a.jsonl, passthrough: {stars: int64, crawl: string}}}"


@pytest.mark.parametrize(
    ("section", "key", "lacks"),
    [
        ("dedup: {exact: {scope: crawls}}", "dedup.exact.scope", "crawls"),
        ("dedup: {fuzzy: {survivor: 'best:star'}}", "dedup.fuzzy.survivor", "star"),
        ("dedup: {fuzzy: {snapshot_column: dump}}", "dedup.fuzzy.snapshot_column", "dump"),
        ("dedup: {lines: {scope: crawls}}", "dedup.lines.scope", "crawls"),
        ("dedup: {exact: {survivor: 'best:quality_score'}}", "dedup.exact.survivor", "quality_score"),
        ("tokenizer: {}\nmix: {weights: {a: star}}", "mix.weights.a", "star"),
        ("tokenizer: {}\nmix: {weights: {a: crawl}}", "mix.weights.a", "crawl"),
        ("tokenizer: {}\nmix: {weights: {a: {table: txt360}}}", "mix.weights.a", "cluster_size"),
        ("tokenizer: {}\nmix: {weights: {a: quality_score}}", "mix.weights.a", "quality_score"),
    ],
)
def test_a_key_that_names_a_column_no_document_will_carry_is_refused_when_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, key: str, lacks: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "jsonl")
    (tmp_path / "r.yaml").write_text(f"name: x\n{SOURCES}\n{section}\n")
    run = CliRunner().invoke(cli.app, ["plan", "r.yaml"])
    assert isinstance(run.exception, RecipeError), run.output
    said = f"{run.exception} {run.exception.hint} {run.exception.where}"
    assert f"`{key}` names the" in said and f"`{lacks}`" in said and "stars" in said, said
    assert "sources.a.passthrough" in said and "r.yaml:" in said


@pytest.mark.parametrize(
    ("section", "made_by"),
    [
        ("tokenizer: {}\nmix: {weights: {a: {curve: olmo-3}}}", "quality"),
        ("quality: {columns: {topic_score: higher}}", "topics"),
        ("quality: {columns: {perplexity: lower}}", "ngram"),
        ("dedup: {exact: {scope: crawls}}", None),
    ],
)
def test_the_section_that_makes_a_column_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, made_by: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "jsonl")
    (tmp_path / "r.yaml").write_text(f"name: x\n{SOURCES}\n{section}\n")
    run = CliRunner().invoke(cli.app, ["plan", "r.yaml"])
    assert isinstance(run.exception, RecipeError) and run.exception.hint
    said = f"documents get it by a section `{made_by}` that stands before; "
    assert run.exception.hint.startswith(said if made_by else "of rows it comes along")


@pytest.mark.parametrize(
    "section",
    [
        "dedup: {exact: {scope: crawl, survivor: 'best:stars', snapshot_column: crawl}}",
        "dedup: {exact: {scope: source}, fuzzy: {scope: language, survivor: 'best:cluster_size'}}",
        "dedup: {fuzzy: {}}\ntokenizer: {}\nmix: {weights: {a: {table: fineweb-2}}}",
        "tokenizer: {}\nmix: {weights: {a: stars}}",
    ],
)
def test_columns_that_documents_will_carry_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "jsonl")
    (tmp_path / "r.yaml").write_text(f"name: x\n{SOURCES}\n{section}\n")
    run = CliRunner().invoke(cli.app, ["plan", "r.yaml"])
    assert run.exit_code == 0, run.output
