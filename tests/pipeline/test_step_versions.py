"""A step's version is raised when its bytes change: each stage's digest on a fixed small input is kept beside
its version.

After a change that is meant to change bytes: raise the stage's version in `pipeline/stages/` (where those
of all stages change, `FILE_FORMAT` in `gristmill/files/storage.py`), then

    python -m pytest tests/pipeline/test_step_versions.py --force-golden
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.files.storage import FILE_FORMAT
from gristmill.hashing import sha256_json
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.libraries import version_of
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import kinds
from tests.support.model_server import model_server
from tests.support.small_recipe import fixed_inputs, recipe, write_warc

GOLDEN = Path(__file__).with_name("step_versions.json")
# Of libraries that shape bytes; with others installed the digests say nothing.
LIBRARIES = sorted({name for kind in kinds().values() for name in kind.libraries if name != "torch"})


# Of the second recipe, whose other steps the first has with other columns.
BESIDES = ("site-rules", "rights/pages", "generate/books")


def digests_of(told: dict[str, Any], out: Path, names: Sequence[str] = ()) -> dict[str, Any]:
    plan = build_plan(make_recipe(told))
    result = run_plan(plan, out, EngineSettings(kind="inline"), Progress(quiet=True))
    return {
        step.name: {
            "version": step.kind.version,
            "files": FILE_FORMAT,
            "digest": sha256_json([entry.sha256 for entry in result.manifests[step.name].files]),
        }
        for step in plan.steps
        if not names or step.name in names
    }


def written_and_honoured(folder: Path, url: str) -> dict[str, Any]:
    """A recipe whose pages have opt-outs and licences, and whose source `books` a model writes."""
    marks = (
        '<meta name="robots" content="noai">',
        '<link rel="license" href="https://creativecommons.org/licenses/by-nc/4.0/">',
        '<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">',
        "",
    )
    text = "<article>" + "<p>The mill by the river ground wheat and rye for the whole valley.</p>" * 6
    pages = [
        (
            number,
            f"{'closed' if number % 5 == 0 else 'open'}/{number}",
            f"{marks[number % 4]}{text}{number}",
            200,
        )
        for number in range(20)
    ]
    write_warc(folder / "pages.warc.gz", pages)
    write_warc(folder / "sites.warc.gz", [(99, "robots.txt", "user-agent: *\ndisallow: /closed/\n", 200)])
    return {
        "name": "golden",
        "seed": 7,
        "sources": {"pages": {"inputs": "pages.warc.gz"}},
        "extract": {"extractor": "resiliparse"},
        "rights": {"archives": {"inputs": "sites.warc.gz"}, "licences": {"remove": ["cc-*nc*"]}},
        "generate": {
            "books": {
                "server": {"model": "made-up", "url": url},
                "templates": {"cosmopedia": 2, "wrap-qa": 1},
                "checks": {"min_words": 41},
            }
        },
    }


def test_no_stage_writes_other_bytes_under_the_same_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed_inputs(tmp_path)
    cells: dict[str, Any] = {
        "importance": {"train_on": ["prose"]},
        "topics": {
            "number": 2,
            "dimensions": 8,
            "max_fraction": 1.0,
            "window_chars": 500,
            "learn_from": ["web", "prose"],
            "apply_to": ["web"],
        },
        "quality": {
            "columns": {"quality_score": "higher"},
            "buckets": 4,
            "within": "topic",
            "apply_to": ["web"],
        },
    }
    found = digests_of(recipe(name="golden", **cells), tmp_path / "out")
    with model_server(tmp_path) as server:
        found |= digests_of(written_and_honoured(tmp_path, server.url), tmp_path / "more", BESIDES)
    versions: dict[str, object] = {name: version_of(name) for name in LIBRARIES}
    # Calibration fits by BLAS, whose last digits follow the processor.
    versions["simd"] = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    if request.config.getoption("--force-golden"):
        GOLDEN.write_text(json.dumps({"libraries": versions, "steps": found}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    if golden["libraries"] != versions:
        pytest.skip("other versions of the libraries that shape bytes are installed")
    changed = [name for name, facts in found.items() if golden["steps"].get(name) != facts]
    assert not changed, (
        f"{changed} write other bytes than before: raise the versions of these stages in"
        " pipeline/stages/, see above"
    )
