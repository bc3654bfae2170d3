"""Figures of opt-outs, licences, text that a model wrote, topics and training are those that DuckDB counts in
the data files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipeline.look.printing.figures import count, share, short
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.runner import run_plan
from tests.report.test_figures_by_duckdb import ask, files_of, rows_in
from tests.report.test_real_run import MODEL
from tests.support.model_server import model_server
from tests.support.printed_page import Printed, integers
from tests.support.small_recipe import write_inputs, write_warc
from tests.support.toy_stage import INLINE, QUIET

pytest.importorskip("duckdb")

BY = '<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">'
NC = '<link rel="license" href="https://creativecommons.org/licenses/by-nc/4.0/">'
NOAI = '<meta name="robots" content="noai, noindex">'
TEXT = "<article>" + "<p>The mill by the river ground wheat and rye for the whole valley, day {}.</p>" * 4


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("newer")
    write_inputs(folder)
    marks = (BY, NC, NOAI, "", BY + NOAI)
    pages = [
        (n, f"{'closed' if n % 7 == 0 else 'open'}/{n}", marks[n % 5] + TEXT.replace("{}", str(n)), 200)
        for n in range(60)
    ]
    write_warc(folder / "pages.warc.gz", pages)
    write_warc(folder / "sites.warc.gz", [(99, "robots.txt", "user-agent: *\ndisallow: /closed/\n", 200)])
    with model_server(folder, fails=0.1, refuses="day 8.") as server:
        said = {
            "name": "newer",
            "seed": 7,
            "sources": {
                "pages": {"inputs": str(folder / "pages.warc.gz")},
                "prose": {"inputs": str(folder / "prose.jsonl")},
            },
            "extract": {"extractor": "resiliparse"},
            "rights": {
                "archives": {"inputs": str(folder / "sites.warc.gz")},
                "licences": {"remove": ["cc-*nc*"]},
                "apply_to": ["pages"],
            },
            "generate": {
                "books": {
                    "seeds": ["pages"],
                    "server": {"model": "made-up", "url": server.url},
                    "templates": {"cosmopedia": 2, "wrap-qa": 1},
                    "checks": {"min_words": 41},
                }
            },
            "topics": {
                "number": 2,
                "dimensions": 8,
                "max_fraction": 1.0,
                "learn_from": ["prose"],
                "apply_to": ["prose"],
            },
            "tokenizer": {"vocab_size": 400},
            "mix": {"proportions": {"prose": 0.9, "pages": 0.1}, "heldout_fraction": 0.2, "tokens": 20_000},
            "train": {"model": MODEL, "batch": 4, "eval_tokens": 2000, "steps": 4},
        }
        run_plan(build_plan(make_recipe(said)), folder / "out", INLINE, QUIET)
    yield folder / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> Printed:
    return Printed(write_report(out).read_text())


def test_opt_outs_and_licences_are_those_of_the_rows(out: Path, page: Printed) -> None:
    left = files_of(out, "rights/pages", "documents")
    gone = files_of(out, "rights/pages", "removed")
    rules = dict(ask("select rule, count(*) from read_parquet(?) group by all", gone))
    opted = sum(number for rule, number in rules.items() if rule.startswith("opt_out."))
    refused = sum(number for rule, number in rules.items() if rule.startswith("licence."))
    assert opted and refused
    head, row = page.tables["rights"][0]
    assert dict(zip(head[1:], row[1:], strict=True)) == {
        "documents": count(rows_in(left) + rows_in(gone)),
        "removed for an opt-out": count(opted),
        "refused by licence": count(refused),
        "left": count(rows_in(left)),
    }
    signals = ask(
        "select signal, count(*) from (select unnest(string_split(opt_out, ' ')) as signal from"
        " read_parquet(?, union_by_name = true) where opt_out is not null) group by all",
        [*left, *gone],
    )
    assert integers(page.column("rights", "signal", "documents", 1)) == dict(signals)
    assert {"noai", "noindex", "robots.txt:ccbot"} <= dict(signals).keys()
    licences = ask("select coalesce(licence, 'none'), count(*) from read_parquet(?) group by all", left)
    assert integers(page.column("rights", "licence", "documents", 2)) == dict(licences)


def test_what_a_model_wrote_is_counted_as_the_rows_and_the_answers_are(out: Path, page: Printed) -> None:
    kinds = {kind: files_of(out, "generate/books", kind) for kind in ("documents", "removed", "failed")}
    kept, removed = kinds["documents"], kinds["removed"]
    answers = [str(path) for path in (out / "answers" / "books").glob("*.jsonl")]
    (tokens,) = ask(
        "select sum(tokens_in), sum(tokens_out) from read_json(?, format = 'newline_delimited',"
        " union_by_name = true) where answer is not null",
        answers,
    )
    ((seeds,),) = ask(
        "select count(distinct seed) from read_parquet(?, union_by_name = true)", [*kept, *removed]
    )
    failed = rows_in(kinds["failed"])
    assert failed == 1
    head, row = page.tables["generated"][0]
    assert dict(zip(head[1:-1], row[1:-1], strict=True)) == {
        "seeds": count(seeds + failed),
        "prompts": count(rows_in(kept) + rows_in(removed) + failed),
        "kept": count(rows_in(kept)),
        "removed": count(rows_in(removed)),
        "failed": count(failed),
        "tokens in": count(int(tokens[0])),
        "tokens out": count(int(tokens[1])),
    }
    by_rule = ask("select rule, count(*) from read_parquet(?) group by all", removed) if removed else []
    by_template = ask("select template, count(*) from read_parquet(?) group by all", kept)
    found = [
        integers(page.column("generated", *table[0][1:], number))
        for number, table in enumerate(page.tables["generated"])
        if number
    ]
    assert found == [dict(rows) for rows in (by_rule, by_template) if rows]


def test_topics_are_those_of_the_rows(out: Path, page: Printed) -> None:
    counted = ask(
        "select topic, count(*), sum(octet_length(encode(text))) from read_parquet(?) group by all",
        files_of(out, "topics/prose", "documents"),
    )
    (table,) = [table for table in page.tables["topics"] if table[0][0] == "prose"]
    head, *rows, together = table
    unit = head[2]
    assert together[:2] == ["all", count(sum(number for _, number, _ in counted))]
    assert {row[0]: row[1] for row in rows} == {topic: count(number) for topic, number, _ in counted}
    if unit == "bytes":
        total = sum(size for _, _, size in counted)
        assert {row[0]: row[2:4] for row in rows} == {
            topic: [short(size), share(size, total)] for topic, _, size in counted
        }


def test_training_is_told_as_its_log_and_the_held_out_shards_have_it(out: Path, page: Printed) -> None:
    entries = json.loads((out / "run.json").read_text())["steps"]
    (entry,) = [entry for entry in entries if entry["name"] == "train"]
    logs = [str(path) for path in (out / entry["folder"]).rglob("log.jsonl")]
    read = "read_json(?, format = 'newline_delimited', union_by_name = true)"
    ((step, tokens, loss),) = ask(
        f"select step, tokens, loss from {read} where event = 'step' order by step desc limit 1", logs
    )
    assert f"{count(step)} steps, {short(tokens)} tokens, loss {loss:.3f}" in page.text["training"]
    rows: dict[str, Any] = {
        name: values
        for name, *values in ask(
            f"select source, bits_per_byte, docs, bytes from {read} where event = 'eval'"
            " qualify row_number() over (partition by source order by step desc) = 1",
            logs,
        )
    }
    (table,) = [table for table in page.tables["training"] if table[0][0] == "held-out source"]
    head, *shown = table
    assert {row[0] for row in shown} == set(rows)
    for row in shown:
        bits, docs, size = rows[row[0]]
        assert row[head.index("bits per byte")] == f"{bits:,.3f}"
        assert [row[head.index(name)] for name in ("documents", "bytes")] == [count(docs), count(size)]
