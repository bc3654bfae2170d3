"""The funnels of terminal and page and the books are one, whatever stages a recipe has and how it began."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gristmill.files.parquet import read_parquet
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.stage import is_entry, kinds

QUESTION = "which of these seven mills grinds the most corn in one windy week of autumn"
SHARED = "This notice stands on every page of the mill and says what may be done with its words. " * 3


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six texts: two hold a benchmark's question, three share a long notice, one is short."""
    monkeypatch.chdir(tmp_path)
    bodies = [
        f"{QUESTION}, asked the miller on the first day of the fair",
        f"On the second day somebody else asked {QUESTION}, and nobody knew",
        f"{SHARED}A story of the old wheel that turned no more after the river went another way.",
        f"{SHARED}Quite another tale, of bakers and their ovens, of flour sacks and of early mornings.",
        f"{SHARED}The third page has a list of prices that changed with every harvest of the valley.",
        "short",
    ]
    rows = [json.dumps({"id": f"r{number}", "text": body}) for number, body in enumerate(bodies)]
    Path("pages.jsonl").write_text("\n".join(rows))
    Path("bench.jsonl").write_text(json.dumps({"question": QUESTION}) + "\n")
    return tmp_path


def run(folder: str, *arguments: str, **recipe: Any) -> Path:
    base = {"name": folder, "sources": {"pages": {"inputs": ["pages.jsonl"]}}}
    Path(f"{folder}.json.yaml").write_text(json.dumps({**base, **recipe}))
    gristmill("run", f"{folder}.json.yaml", "--out", folder, "--engine", "inline", "--quiet", *arguments)
    return Path(folder)


def gristmill(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code in (0, 3)


def funnels_agree(out: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, int, int]]:
    """Hold the page's levels against the books and against the terminal's rows; return the levels."""
    funnel = build_funnel(read_view(out))
    manifests = finished_steps(out)
    texts = [m for m in manifests.values() if m.books and kinds()[m.ingredients["stage"]].books == "texts"]
    entered = [manifest for manifest in texts if is_entry(manifest.ingredients["stage"])]
    assert funnel.records == sum(manifest.books.items_in for manifest in entered)
    counted = [level for level in funnel.levels if level.num_tokens is None]
    for side in ("removed", "failed"):
        total = sum(manifest.books.items_out[side] for manifest in texts)
        assert sum(getattr(level, side) for level in counted) == total, side
    rules = sum((Counter(manifest.books.by_rule_first) for manifest in texts), Counter())
    assert sum((Counter(level.by_rule_first) for level in counted), Counter()) == rules
    capsys.readouterr()
    gristmill("status", str(out), "--json")
    rows = {row["step"]: row for row in json.loads(capsys.readouterr().out)["steps"]}
    for level in counted:
        assert sum(rows[step.name]["removed"] for step in level.steps) == level.removed
        assert sum(rows[step.name]["failed"] for step in level.steps) == level.failed
    last = {source: m for m in texts for source in m.sources("documents")}
    left = sum(
        entry.rows for source, m in last.items() for entry in m.named("documents") if entry.source == source
    )
    assert funnel.documents == left
    page = write_report(out, out / "page.html").read_text()
    assert all(f">{level.name}<" in page for level in counted)
    return [(level.name, level.documents, level.removed) for level in counted]


def test_decontamination_is_a_level_with_its_rule(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page said "6 of 6 records are left ... removed by rule 0"."""
    out = run("clean", dedup={"decontaminate": {"benchmarks": ["bench.jsonl"], "action": "remove"}})
    assert funnels_agree(out, capsys) == [("extracted", 6, 0), ("decontaminated", 4, 2)]
    page = (out / "page.html").read_text()
    assert "4 of 6" in page


def test_substrings_and_pieces_are_levels(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cuts = {"lines": {}, "paragraphs": {}, "substring": {"min_bytes": 100}, "passages": {"min_bytes": 100}}
    out = run("cut", dedup={"exact": {}, **cuts})
    names = [name for name, *_ in funnels_agree(out, capsys)]
    assert names == ["extracted", "exact dedup", "pieces cut", "substrings cut", "passages cut"]


def test_the_page_and_why_say_what_was_cut_and_who_holds_it(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("cut", dedup={"passages": {"min_bytes": 100}})
    page = write_report(out, out / "page.html").read_text()
    assert "2 ranges were cut out of 2 documents" in page
    (path,) = finished_steps(out)["dedup-passages"].paths("decisions")
    decisions = read_parquet(path).to_pylist()
    (holder,) = {row["kept_in"][0].hex() for row in decisions if row["edits"]}
    assert page.count(f"<code>{holder}</code>") == 2
    cut = next(row["id"] for row in decisions if row["edits"])
    life = look_up(out, cut.hex())
    assert life.events[-1].facts["kept_in"] == holder and len(life.events[-1].edits) == 1


def test_a_recut_begins_with_the_documents_it_decides_on(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page said "The inputs held no records"."""
    run("strict", filter={"presets": ["gopher"], "set": {"gopher.words.min": 13}})
    gristmill("recut", "strict", "--set", "gopher.words.min=1", "--out", "loose", "--quiet")
    ((name, kept, removed),) = funnels_agree(Path("loose"), capsys)
    assert kept + removed == 6 and name == "decided anew"
    assert "held no records" not in (Path("loose") / "page.html").read_text()


def test_an_adopted_output_is_where_documents_enter(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("first", dedup={"exact": {}})
    out = run("second", sources={"kept": {"inputs": ["first"]}}, dedup={"exact": {}})
    assert funnels_agree(out, capsys) == [("taken in", 6, 0), ("exact dedup", 6, 0)]


def test_why_finds_documents_of_a_recut_and_of_an_adopted_output_by_their_url(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "id": "x",
        "url": "https://example.org/a",
        "text": "words of a page that has an address of its own",
    }
    Path("pages.jsonl").write_text(json.dumps(row))
    sources = {"pages": {"inputs": ["pages.jsonl"], "columns": {"url": "url"}}}
    run("first", sources=sources, filter={"presets": ["gopher"]})
    gristmill("recut", "first", "--set", "gopher.words.min=1", "--out", "again", "--quiet")
    run("second", sources={"kept": {"inputs": ["again"]}})
    for out in ("again", "second"):
        capsys.readouterr()
        gristmill("why", out, "https://example.org/a")
        assert "not in the input" not in capsys.readouterr().out
