"""A small real run of every stage: its page while it lives and in the browser, and its numbers counted again
from its data."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.follow import followed
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.chromium import Tab
from tests.support.printed_page import Printed, integers
from tests.support.report_walk import FULL, walk
from tests.support.small_recipe import recipe, write_inputs

MODEL = {
    "preset": "llama-15m",
    "num_layers": 1,
    "width": 32,
    "num_heads": 2,
    "num_kv_heads": 2,
    "ffn": 64,
    "context": 32,
}
ENTRIES, WEB = (
    ("extract/web", "extract/prose"),
    ("filter/web", "classify-score/web", "ngram-score/web", "coverage/web"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """The output folder, and the pages somebody read of it while it was made."""
    folder = tmp_path_factory.mktemp("real")
    write_inputs(folder)
    last = folder / "web-2.warc.gz"
    last.write_bytes(last.read_bytes()[:-40])  # a crawler was stopped in mid record
    sources = {
        "web": {"inputs": [str(folder / "web-*.warc.gz")]},
        "prose": {"inputs": [str(folder / "prose.jsonl")], "filter": False},
    }
    said = recipe(sources=sources, train={"model": MODEL, "batch": 4, "eval_tokens": 2000, "steps": 12})
    plan = build_plan(make_recipe(said))
    out, pages, over = folder / "out", [], threading.Event()

    def read() -> None:
        while not over.wait(0.05):
            if (out / "report.html").exists():
                page = (out / "report.html").read_text()
                if not pages or page != pages[-1]:
                    pages.append(page)

    reader = threading.Thread(target=read)
    reader.start()
    with followed(out, print, every_seconds=0.3):
        run_plan(plan, out, EngineSettings(kind="inline"), Progress(quiet=True))
    over.set()
    reader.join()
    yield out, pages
    shutil.rmtree(folder)


def test_whoever_reads_the_page_while_it_is_rewritten_reads_a_whole_one(run: tuple[Path, list[str]]) -> None:
    out, pages = run
    assert len(pages) > 2
    assert all(page.startswith("<!doctype html>") and page.endswith("</html>\n") for page in pages)
    living = [page for page in pages if 'class="chip running">running at ' in page]
    assert living
    counts = [len(Printed(page).text) for page in pages]
    assert counts == sorted(counts)  # sections come as steps are done
    assert 'class="chip complete"' in (out / "report.html").read_text()


def test_every_section_of_a_real_run_shows_its_data_in_the_browser(
    tab: Tab, run: tuple[Path, list[str]]
) -> None:
    walk(tab, write_report(run[0]), without=["correlations"])  # of too few documents


def rows_of(out: Path, step: str, kind: str) -> pa.Table:
    """Rows of one kind in one step, by the manifest's list of files; found without the code that reports read
    with."""
    entry = next(
        entry for entry in json.loads((out / "run.json").read_text())["steps"] if entry["name"] == step
    )
    manifest = json.loads((out / entry["folder"] / "manifest.json").read_text())["body"]
    paths = [out / entry["folder"] / file["path"] for file in manifest["files"] if file["kind"] == kind]
    tables = [pq.read_table(path) for path in paths]
    return (
        pa.concat_tables(tables, promote_options="permissive")
        if tables
        else pa.table({"id": [], "rule": [], "error": []})
    )


def test_the_funnel_is_the_rows_of_the_data_counted_again(run: tuple[Path, list[str]]) -> None:
    out = run[0]
    page = Printed(write_report(out).read_text())
    left = {"extracted": sum(rows_of(out, step, "documents").num_rows for step in ENTRIES)}
    prose = rows_of(out, "extract/prose", "documents").num_rows
    left["filtered"] = rows_of(out, "filter/web", "documents").num_rows + prose
    for level, step in (("exact dedup", "dedup-exact"), ("near dedup", "dedup-fuzzy")):
        left[level] = rows_of(out, step, "documents").num_rows
    deduplicated = Counter(rows_of(out, "dedup-fuzzy", "documents")["source"].to_pylist())
    for level, step in (("quality", WEB[1]), ("perplexity", WEB[2]), ("coverage", WEB[3])):
        left[level] = rows_of(out, step, "documents").num_rows + deduplicated["prose"]
    shown = integers(page.column("funnel", "after", "documents"))
    assert {level: shown[level] for level in left} == left
    removed = integers(page.column("funnel", "after", "removed"))
    assert removed["filtered"] == rows_of(out, "filter/web", "removed").num_rows
    assert removed["near dedup"] == rows_of(out, "dedup-fuzzy", "removed").num_rows
    failed = integers(page.column("funnel", "after", "failed"))
    assert failed["extracted"] == rows_of(out, "extract/web", "failed").num_rows == 1

    (mix,) = (out / "steps").glob("mix-*")
    size = sum(path.stat().st_size for path in (mix / "shards/train").glob("*.bin"))
    assert int(page.column("funnel", "after", "tokens")["mixed"].replace(",", "")) == size // 2


def test_rules_are_the_columns_of_removed_documents_counted_again(run: tuple[Path, list[str]]) -> None:
    out = run[0]
    page = Printed(write_report(out).read_text())
    first, any_ = Counter[str](), Counter[str]()
    for step in (*ENTRIES, *WEB, "dedup-exact", "dedup-fuzzy"):
        for row in rows_of(out, step, "removed").to_pylist():
            first[row["rule"]] += 1
            any_.update(row.get("rules") or [row["rule"]])
    shown = integers(page.column("rules", "rule", "removed first"))
    assert "mix.budget" not in shown  # it removes no rows: documents stay encoded
    assert "documents are in no shard, by mix.budget" in write_report(out).read_text()
    assert {rule: number for rule, number in shown.items() if number} == dict(first)
    fail = integers(page.column("rules", "rule", "fail at all"))
    assert {rule: number for rule, number in fail.items() if rule in any_} == dict(any_)


def test_what_is_kept_is_described_as_it_is(run: tuple[Path, list[str]]) -> None:
    out = run[0]
    page = Printed(write_report(out).read_text())
    web = rows_of(out, "coverage/web", "documents").to_pylist()
    prose = [row for row in rows_of(out, "dedup-fuzzy", "documents").to_pylist() if row["source"] == "prose"]
    languages = Counter(row["language"] or "unknown" for row in [*web, *prose])
    assert integers(page.column("corpus", "language", "documents")) == dict(languages)
    assert integers(page.column("corpus", "domain", "documents", 1)) == {"docs.example": len(web)}
    lengths = np.array([len(row["text"].encode()) for row in [*web, *prose]])
    assert page.column("funnel", "after", "text")["coverage"] == f"{lengths.sum() / 1000:.3g} kB"


def test_failures_name_the_place_in_the_file(run: tuple[Path, list[str]]) -> None:
    out = run[0]
    page = Printed(write_report(out).read_text())
    (row,) = rows_of(out, "extract/web", "failed").to_pylist()
    _, shown = page.tables["failures"][1]
    assert shown == [
        row["error"],
        row["url"],
        f"{row['origin']['file']} @ {row['origin']['offset']:,}",
        row["message"],
    ]


def test_mixture_and_training_say_what_the_shards_and_the_log_hold(run: tuple[Path, list[str]]) -> None:
    out = run[0]
    page = Printed(write_report(out).read_text())
    (mix,), (train,) = (out / "steps").glob("mix-*"), (out / "steps").glob("train-*")
    shards = json.loads((mix / "shards/train/manifest.json").read_text())
    sources = [source["name"] for source in shards["sources"]]
    written: Counter[str] = Counter()
    for shard in shards["shards"]:
        stem = mix / "shards/train" / shard["name"]
        ends = np.fromfile(stem.with_suffix(".bin.index"), "<u8").astype(int)
        for source, tokens in zip(
            np.fromfile(stem.with_suffix(".source"), "<u2"), np.diff(ends, prepend=0), strict=True
        ):
            written[sources[source]] += int(tokens)
    assert integers(page.column("mixture", "source", "tokens")) == dict(written)
    balance = integers(page.column("balance", "source", "in shards"))
    assert balance == {**written, "all": sum(written.values())}
    trained = integers(page.column("balance", "in training", "tokens", 1))
    places = trained["places in steps"]
    assert trained["tokens in shards"] == sum(written.values())
    assert places == trained["targets, repetitions counted"] + trained["padded: no token, loss masked"] > 0
    log = [json.loads(line) for line in (train / "train/run/log.jsonl").read_text().splitlines()]
    last = {row["source"]: f"{row['bits_per_byte']:.3f}" for row in log if row["event"] == "eval"}
    assert page.column("training", "held-out source", "bits per byte") == last
    (whole,) = [row["bits_per_byte"] for row in log if row["event"] == "eval" and row["source"] == "all"][-1:]
    assert f"{whole:.2f} bits for a byte" in page.text["hero"]


def test_the_page_names_a_command_for_the_next_question(run: tuple[Path, list[str]]) -> None:
    page = Printed(write_report(run[0]).read_text())
    asked = page.column("ask", "question", "command")
    assert asked["Where did this token come from?"] == f"gristmill trace {run[0]} 00000:1234"
    assert look_up(run[0], asked["Why was this page dropped?"].split()[-1]).verdict.startswith("removed at ")
    assert any(command.startswith("gristmill compare") for command in asked.values())


@pytest.mark.slow
def test_every_section_of_the_quickstart_shows_its_data_in_the_browser(tab: Tab, tmp_path: Path) -> None:
    from gristmill.pipeline.demo.quickstart import run_demo
    from gristmill.pipeline.verbs.invoke import Options

    assert run_demo(tmp_path / "demo", [], Options(None, "inline", None, None, True, False)) == 0
    walk(tab, tmp_path / "demo/run/report.html")
    assert set(Printed((tmp_path / "demo/run/report.html").read_text()).tables) >= set(FULL) - {
        "failures",
        "samples",
        "signals",
    }
