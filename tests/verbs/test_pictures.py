"""The README's chart is drawn from the results as they are."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.benches import load_bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_bench("pictures", monkeypatch)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_is_not_older_than_the_results(pictures: ModuleType, theme: str) -> None:
    there = (ROOT / "docs" / "pictures" / f"speeds-{theme}.svg").read_text()
    assert there == pictures.chart(theme), "run `python benchmarks/pictures.py` and commit docs/pictures"
    f1 = json.loads((ROOT / "benchmarks" / "results" / "extract.json").read_text())["quality"]["full"]
    assert f">{f1['blocks']['f1']:.3g}<" in there and f">{f1['trafilatura']['f1']:.3g}<" in there


def test_every_picture_of_the_readme_is_there_in_light_and_dark() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("speeds-{}.svg", "report-{}.png", "duplicates-{}.png"):
        for theme in ("light", "dark"):
            path = f"docs/pictures/{name.format(theme)}"
            assert path in readme and (ROOT / path).stat().st_size > 1000
