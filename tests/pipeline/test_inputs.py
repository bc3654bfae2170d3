"""From what people have to documents, through the command line: ids of their own, lists of files, layouts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gristmill.hashing import digest16
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases import repeats
from gristmill.pipeline.run.folder import finished_steps
from tests.support.archives import http, record

MILL = "The mill by the river ground wheat and rye for the whole valley, and number {} of its stones stays."


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return int(ended.value.code or 0)


def documents(out: Path, *columns: str) -> list[Any]:
    (manifest,) = [one for name, one in finished_steps(out).items() if name.startswith("extract/")]
    assert manifest.books
    manifest.books.balance("a test")
    assert not list(verify(out))
    tables = [pq.read_table(path) for path in manifest.paths("documents")]
    assert sum(table.num_rows for table in tables) == manifest.books.items_out["kept"]
    return [
        row if not columns else tuple(row[name] for name in columns) for t in tables for row in t.to_pylist()
    ]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_ids_that_start_anew_in_each_file_lose_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":  # as most published JSON lines
        lines(tmp_path / f"{name}.jsonl", [{"id": n, "text": MILL.format(f"{name}{n}")} for n in range(5)])
    out = tmp_path / "out"
    shards = "shard_bytes=300"
    assert run("extract", tmp_path / "*.jsonl", "--out", out, "--engine", "inline", "--set", shards) == 0
    assert len(documents(out)) == len({row["id"] for row in documents(out)}) == 15
    said = capsys.readouterr().out
    assert "`input`: 5 ids are shared by 15 different texts, all kept; for instance that of" in said
    assert f"{tmp_path}/a.jsonl@0 and {tmp_path}/b.jsonl@0" in said


@pytest.mark.parametrize("shard_bytes", [150, 1 << 20])
@pytest.mark.parametrize("ids_per_task", [1 << 23, 3])
def test_a_rows_id_depends_on_no_file_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int, ids_per_task: int
) -> None:
    monkeypatch.setattr(repeats, "_IDS_PER_TASK", ids_per_task)
    keyed = [{"id": n % 4, "text": MILL.format(n % 6)} for n in range(12)]
    unkeyed = [{"text": MILL.format(n % 3)} for n in range(9)]
    rows = [row for pair in zip(keyed, [*unkeyed, *unkeyed[:3]], strict=True) for row in pair]
    lines(tmp_path / "one" / "a.jsonl", rows)
    for part in range(3):
        lines(tmp_path / "many" / f"{part}.jsonl", rows[part * 8 : part * 8 + 8])
    found = {}
    for name in ("one", "many"):
        size = f"shard_bytes={shard_bytes}"
        options = ("--engine", "inline", "--quiet", "--set", size)
        assert run("extract", tmp_path / name, "--out", tmp_path / f"out-{name}", *options) == 0
        found[name] = sorted(documents(tmp_path / f"out-{name}", "id", "text"))
        names = [
            entry.kind for step in finished_steps(tmp_path / f"out-{name}").values() for entry in step.files
        ]
        assert not {"unkeyed", "repeats"} & set(names)
    assert found["one"] == found["many"]
    # Twelve pairs of id and text, each once; twelve rows without an id, all of them.
    assert len(found["one"]) == len({id_ for id_, _ in found["one"]}) == 12 + 12


def test_rows_without_ids_are_left_to_dedup(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"text": MILL.format(n % 1000)} for n in range(2000)])
    out = tmp_path / "out"
    recipe = {"name": "r", "sources": {"a": {"inputs": str(path)}}, "dedup": {"exact": {}}}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert run("run", tmp_path / "r.yaml", "--out", out, "--engine", "inline", "--quiet") == 0
    assert len(documents(out)) == len({row["id"] for row in documents(out)}) == 2000
    removed = sum(step.books.items_out["removed"] for step in finished_steps(out).values() if step.books)
    assert removed == 1000


def test_why_finds_a_document_by_the_id_its_source_gave_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": f"doc:{n}", "text": MILL.format(n)} for n in range(4)]
    lines(tmp_path / "a.jsonl", [*rows, {"id": "doc:2", "text": ""}, {"id": "7", "text": None}])
    lines(tmp_path / "b.jsonl", rows[:2])
    out = tmp_path / "out"
    size = "shard_bytes=100"
    run("extract", tmp_path / "?.jsonl", "--out", out, "--engine", "inline", "-q", "--set", size)
    capsys.readouterr()
    wanted = {"doc:3": ("kept", 0), "doc:0": ("kept", 1), "doc:2": ("kept", 1), "7": ("failed", 0)}
    for own_id, (outcome, others) in wanted.items():
        assert run("why", out, own_id, "--json") == 0
        life = json.loads(capsys.readouterr().out)
        assert (life["events"][0]["outcome"], len(life["others"])) == (outcome, others), own_id
    assert run("why", out, "doc:99") == 1


def test_exports_carry_the_sources_own_ids(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"id": f"d{n}", "text": MILL.format(n)} for n in range(3)])
    out = tmp_path / "out"
    keep = "sources.input.passthrough=[id]"
    assert run("extract", path, "--out", out, "--engine", "inline", "-q", "--set", keep) == 0
    assert run("export", out, "--id", "input.id", "--to", tmp_path / "e.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["d0", "d1", "d2"]
    assert all(len(row["gristmill_id"]) == 32 for row in rows)
    given = ("--format", "parquet", "--to", tmp_path / "e.parquet")
    assert run("export", out, "--id", "input.id", *given) == 0
    assert pq.read_table(tmp_path / "e.parquet")["id"].to_pylist() == ["d0", "d1", "d2"]
    assert run("export", out, "--id", "nope", "--to", tmp_path / "f.jsonl") == 2


def test_a_published_corpus_is_filtered_by_the_name_of_its_layout(tmp_path: Path) -> None:
    row = {"id": "d1", "text": MILL, "created": "2020-05-06", "metadata": {"url": "http://a.example/"}}
    (tmp_path / "dolma").mkdir()
    (tmp_path / "dolma" / "cc-0000.json.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    files, out = tmp_path / "dolma" / "*.json.gz", tmp_path / "out"
    given = ("--columns", "dolma", "--language", "en", "--out", out, "--engine", "inline", "-q")
    assert run("filter", files, *given) == 0
    assert documents(out, "url") == [("http://a.example/",)]


@pytest.mark.parametrize("ending", ["txt", "gz"])
def test_inputs_are_named_by_a_list_with_a_prefix(tmp_path: Path, ending: str) -> None:
    for n in range(3):
        lines(tmp_path / "data" / "crawl" / f"{n}.jsonl", [{"text": MILL.format(n)}])
    listed = b"# of the crawl\ncrawl/0.jsonl\n\ncrawl/2.jsonl\r\n"
    path = tmp_path / f"warc.paths.{ending}"
    path.write_bytes(gzip.compress(listed) if ending == "gz" else listed)
    prefix = f"{tmp_path}/data/"
    given = ("--prefix", prefix, "--out", tmp_path / "out", "--engine", "inline", "-q")
    assert run("extract", "--inputs-from", path, *given) == 0
    wanted = [MILL.format(0), MILL.format(2)]
    assert [text for (text,) in documents(tmp_path / "out", "text")] == wanted
    recipe = {"name": "r", "sources": {"a": {"inputs": f"@warc.paths.{ending}", "prefix": prefix}}}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert run("run", tmp_path / "r.yaml", "--out", tmp_path / "out2", "--engine", "inline", "-q") == 0
    assert [text for (text,) in documents(tmp_path / "out2", "text")] == wanted


def test_a_list_without_a_prefix_is_relative_to_itself(tmp_path: Path) -> None:
    lines(tmp_path / "crawl" / "a.jsonl", [{"text": MILL}])
    (tmp_path / "crawl" / "paths.txt").write_text("a.jsonl\n")
    given = ("--out", tmp_path / "out", "--engine", "inline", "-q")
    assert run("extract", "--inputs-from", tmp_path / "crawl" / "paths.txt", *given) == 0
    assert len(documents(tmp_path / "out")) == 1


@pytest.mark.parametrize(("data", "message"), [(b"", "names none"), (b"\x1f\x8b\x08junk", "cannot be read")])
def test_a_list_that_names_nothing_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str
) -> None:
    (tmp_path / "paths").write_bytes(data)
    assert run("extract", "--inputs-from", tmp_path / "paths", "--out", tmp_path / "out") > 0
    assert message in capsys.readouterr().err


def test_relative_inputs_are_relative_to_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(tmp_path / "project" / "data" / "a.jsonl", [{"text": MILL}])
    recipe = "name: r\nsources:\n  web:\n    inputs:\n      - data/*.jsonl\n      - INPUT\n"
    (tmp_path / "project" / "r.yaml").write_text(recipe.replace("      - INPUT\n", ""))
    monkeypatch.chdir(tmp_path)
    assert run("run", "project/r.yaml", "--out", "out", "--engine", "inline", "-q") == 0
    assert documents(Path("out"))[0]["origin"]["file"] == "project/data/a.jsonl"
    # On the command line a path is relative to where one stands.
    given = ("--set", "sources.web.inputs=project/data/a.jsonl")
    assert run("plan", "project/r.yaml", "--out", "out", *given) == 0
    (tmp_path / "project" / "r.yaml").write_text(recipe.replace("INPUT", "more/*.jsonl"))
    capsys.readouterr()
    assert run("plan", "project/r.yaml", "--out", "out") == 2
    said = capsys.readouterr().err
    assert "`sources.web.inputs`: no file matches an input: `project/more/*.jsonl`" in said
    assert "project/r.yaml:6" in said or "project/r.yaml:4" in said


def test_options_of_plain_files_are_refused_beside_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text("name: r\nsources: {a: {inputs: a.jsonl}}\n")
    assert run("extract", tmp_path / "r.yaml", "--columns", "dolma") == 2
    assert "`--columns` is for plain files" in capsys.readouterr().err
    assert run("extract", tmp_path / "r.yaml", "--inputs-from", "x") == 2
    assert "`--inputs-from` is for plain files" in capsys.readouterr().err


def test_the_id_of_a_row_is_that_of_its_id_and_text(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"id": "d1", "text": MILL}])
    assert run("extract", path, "--out", tmp_path / "out", "--engine", "inline", "-q") == 0
    key = digest16("row", "d1", MILL).hex()
    assert documents(tmp_path / "out", "id") == [(digest16("input", key),)]


def test_what_was_read_otherwise_than_it_says_is_on_the_terminal_and_the_page_by_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Młyn nad rzeką mełł żyto, źródła i śnieg; głęboka woda. " * 9
    page = f"<html><body><p>{text}</p></body></html>"
    damaged = http(gzip.compress(page.encode())[:-2], extra="Content-Encoding: gzip\r\n")
    archive = record(1, damaged) + record(2, http(page.encode("cp1250"), content_type="text/html"))
    (tmp_path / "crawl.warc").write_bytes(archive)
    rows = [{"id": n, "text": MILL.format(f"{name}{n}")} for name in "ab" for n in range(3)]
    lines(tmp_path / "notes.jsonl", rows)
    files = {"crawl": "crawl.warc", "notes": "notes.jsonl"}
    recipe = {
        "name": "read",
        "sources": {name: {"inputs": str(tmp_path / file)} for name, file in files.items()},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert run("run", tmp_path / "r.yaml", "--out", tmp_path / "out", "--engine", "inline") == 0
    said = capsys.readouterr().out
    facts = [
        "`crawl`: 1 pages in a charset that neither header nor page names: it was detected",
        "`crawl`: 1 pages whose content coding was damaged: all before the damage was kept",
        "`notes`: 3 ids are shared by 6 different texts, all kept",
    ]
    assert run("report", tmp_path / "out") == 0
    shown = (tmp_path / "out/report.html").read_text()
    assert "What was read" in shown and "windows-1250 1" in shown
    for fact in facts:
        assert f"note: {fact}" in said
        assert fact in shown
