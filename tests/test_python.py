"""The door: `import gristmill` is light, its names are documented, and docs/python.md runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gristmill
from gristmill.errors import GristmillError, RecipeError, UsageError

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_importing_gristmill_imports_nothing_heavy() -> None:
    code = (
        "import sys, gristmill;"
        "heavy = {'ray', 'torch', 'pyarrow', 'numpy', 'numba', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy; assert 'run' in dir(gristmill)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_public_name_is_there_with_a_docstring() -> None:
    for name in gristmill.__all__:
        value = getattr(gristmill, name)
        assert isinstance(value, str) or value.__doc__, name
    with pytest.raises(AttributeError, match="has no attribute `runs`"):
        gristmill.runs  # noqa: B018


def test_the_page_on_python_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    here: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/python.md", "exec"), here)
    said = capsys.readouterr().out
    assert "Mills | " in said and "1 unique" not in said and "2 unique" in said
    assert "(2, 64)" in said
    following = next(iter(here["again"]))
    iterator = iter(here["dataset"].stream(seed=1))
    expected = [next(iterator) for _ in range(4)][3]
    assert following["input_ids"].tolist() == expected["input_ids"].tolist()
    assert here["done"].steps[0]["state"] == "done" and "OpenRun" in repr(here["done"])


def test_tables_of_any_kind_go_in_and_come_out(tmp_path: Path) -> None:
    table = pa.table({"text": ["a b c", "a b c", None], "stars": [1, 2, 3]})
    found = gristmill.deduplicate(table, exact={})
    rows = found.kept.to_arrow()
    assert rows["stars"].to_pylist() == [1, 3] and found.removed.to_arrow()["rule"].to_pylist() == [
        "dedup.exact"
    ]
    assert set(found.clusters.to_arrow()["step"].to_pylist()) == {"dedup-exact"}
    assert pa.table(found.kept).equals(rows)  # by the Arrow stream interface
    assert len(gristmill.deduplicate(found.kept).kept) == 2
    assert len(gristmill.filter_documents([], presets=["gopher"]).kept) == 0
    with pytest.raises(UsageError, match="documents need a column `text`, these have words"):
        gristmill.deduplicate(pa.table({"words": ["a"]}))
    with pytest.raises(UsageError, match="documents are texts, rows or a table, not int"):
        gristmill.filter_documents(3)


def test_mistakes_are_errors_of_the_tree_and_nothing_exits(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no preset is called `gophr`"):
        gristmill.filter_documents(["a"], presets=["gophr"])
    with pytest.raises(GristmillError, match="unknown key `mixx`"):
        gristmill.run({"name": "x", "sources": {"a": {"inputs": ["a"]}}}, tmp_path / "o", mixx={})
    with pytest.raises(UsageError, match=r"`--engine`: .*got 'fast'"):
        gristmill.run({"name": "x", "sources": {"a": {"inputs": ["a"]}}}, tmp_path / "o", engine="fast")
    with pytest.raises(UsageError, match=r"holds no run\.json"):
        gristmill.open_run(tmp_path)
    with pytest.raises(UsageError, match="holds no shards of split train"):
        gristmill.TokenDataset(tmp_path)


def test_in_a_notebook_one_line_is_redrawn(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from gristmill.pipeline.door.notebook import NotebookProgress, in_notebook

    shown: list[str] = []
    handle = types.SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))
    fake = types.ModuleType("IPython")
    fake.get_ipython = lambda: types.SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    fake.display = types.ModuleType("IPython.display")  # type: ignore[attr-defined]
    fake.display.display = lambda *args, **kwargs: handle  # type: ignore[attr-defined]
    assert not in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake.display)
    assert in_notebook()
    progress = NotebookProgress()
    progress.phase("extract/web", done=0, total=2)
    progress.spoke = 0
    progress.advance()
    progress.note("done")
    assert any("extract/web: 1/2" in line for line in shown) and shown[-1] == ""
    assert capsys.readouterr().out == "done\n"


def test_columns_with_names_of_documents_own_are_kept_beside_them() -> None:
    """None is lost for the column that takes its name, however often documents go through."""
    names = ("id", "source", "origin", "rule", "cluster_id", "cluster_size")
    given = [{"text": text, **{name: f"{name} {n}" for name in names}} for n, text in enumerate("aba")]
    found = gristmill.deduplicate(given, exact={})
    for rows, numbers in ((found.kept, (1, 2)), (found.removed, (0,))):
        assert sorted(row["input.id"] for row in rows) == [f"id {number}" for number in numbers]
        for row in rows:
            number = row["input.id"].removeprefix("id ")
            assert [row[f"input.{name}"] for name in names] == [f"{name} {number}" for name in names]
    again = gristmill.filter_documents(found.kept, presets=["length"]).kept
    assert [row["input.id"] for row in again] == ["id 1", "id 2"]
    assert {row["source"] for row in again} == {"given"} and "input.input.id" not in again.schema.names


@pytest.mark.parametrize("row", [{"text": "\ud800"}, {"text": 5}, {"text": "a", "date": "yesterday"}])
def test_what_cannot_be_read_as_documents_is_told_with_its_value(row: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="cannot be read as documents") as refused:
        gristmill.filter_documents([{"text": "a", "date": None}, row])
    assert refused.value.hint
