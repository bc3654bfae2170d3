"""Two runs side by side: what moved between them, and because of which rule."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.files.storage import FileEntry
from gristmill.index import write_index
from gristmill.pipeline.look import comparison
from gristmill.pipeline.look.printing.terminal import Paper
from gristmill.pipeline.report.comparison_page import render
from tests.support.chromium import Tab
from tests.support.run_folders import books, record, write_run_file, write_step


def write_sides(out: Path, kept: list[int], removed: dict[int, str]) -> Path:
    """A run of one filter step over numbered documents, with their index sidecars."""
    one = record("filter", 0, books(len(kept), len(removed), 0), "web")
    assert one.books
    one.books.by_rule_first.clear()
    one.books.by_rule_first.update(removed.values())
    folder = out / "steps" / f"filter-web-{'ab' * 6}"
    (folder / "data").mkdir(parents=True)
    one.files = []
    for kind, numbers in (("documents", kept), ("removed", list(removed))):
        ids = pa.array([hashlib.md5(str(number).encode()).digest() for number in numbers], pa.binary(16))
        columns = {"id": ids, "url": [f"http://x.example/{number}" for number in numbers]}
        if kind == "removed":
            columns["rule"] = list(removed.values())
        pq.write_table(pa.table(columns), folder / f"data/{kind}.parquet")
        write_index(folder / f"data/{kind}.idx", ids)
        for name, suffix in ((kind, "parquet"), (f"{kind}-index", "idx")):
            one.files.append(FileEntry(name, f"data/{kind}.{suffix}", "0" * 64, 1, len(numbers), "web"))
    path = write_step(out, "filter/web", "filter", [one])
    write_run_file(out, {"filter/web": path}, ["filter/web"])
    return out


def test_documents_that_changed_sides_name_the_rule(tmp_path: Path) -> None:
    one = write_sides(tmp_path / "a", [1, 2, 3, 4, 9], {5: "gopher.words"})
    other = write_sides(tmp_path / "b", [1, 4, 5], {2: "gopher.words", 3: "c4-code.sentences"})
    found = comparison.compare(one, other)
    only_a, only_b = found.moved
    assert only_a.count == 3
    assert only_a.because == {"gopher.words": 1, "c4-code.sentences": 1, "not in the input": 1}
    assert {example["url"] for example in only_a.examples} == {"http://x.example/2", "http://x.example/3"}
    assert only_b.count == 1 and only_b.because == {"gopher.words": 1}
    assert json.loads(json.dumps(comparison.as_json(found)))["only_a_keeps"]["because"] == dict(
        only_a.because
    )
    lines = list(comparison.tell(found, Paper(colour=False)))
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80, (
        "a path is shown whole, so that it can be copied"
    )
    assert "3 documents only A keeps; in B they are" in lines


def test_a_run_compared_with_itself_has_no_differences(tmp_path: Path) -> None:
    one = write_sides(tmp_path / "a", [1, 2], {3: "gopher.words"})
    found = comparison.compare(one, one)
    assert [moved.count for moved in found.moved] == [0, 0]
    assert all(row["a"] == row["b"] for row in comparison.as_json(found)["rules"])


def test_the_comparison_is_a_page_that_asks_for_nothing(tab: Tab, tmp_path: Path) -> None:
    one = write_sides(tmp_path / "a", [1, 2, 3], {5: "gopher.words"})
    other = write_sides(tmp_path / "b", [1], {2: "gopher.words", 3: "gopher.words"})
    path = tmp_path / "both.html"
    path.write_text(render(comparison.compare(one, other)))
    tab.open(path.as_uri())
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith(("file://", "data:"))] == []
    assert "2 documents only A keeps" in tab.run("document.body.innerText")
