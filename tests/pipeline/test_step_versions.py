"""A step's version is raised when its bytes change: each stage's digest on a fixed small input is kept beside
its version.

After a change that is meant to change bytes: raise the stage's version in `pipeline/stages/` (where those
of all stages change, `FILE_FORMAT` in `gristmill/storage.py`), then

    python -m pytest tests/pipeline/test_step_versions.py --force-golden
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gristmill.hashing import sha256_json
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.libraries import version_of
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import kinds
from gristmill.storage import FILE_FORMAT
from tests.support.small_recipe import fixed_inputs, recipe

GOLDEN = Path(__file__).with_name("step_versions.json")
# Of libraries that shape bytes; with others installed the digests say nothing.
LIBRARIES = sorted({name for kind in kinds().values() for name in kind.libraries if name != "torch"})


def test_no_stage_writes_other_bytes_under_the_same_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed_inputs(tmp_path)
    cells = {
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
    plan = build_plan(make_recipe(recipe(name="golden", **cells)))
    result = run_plan(plan, tmp_path / "out", EngineSettings(kind="inline"), Progress(quiet=True))
    found = {
        step.name: {
            "version": step.kind.version,
            "files": FILE_FORMAT,
            "digest": sha256_json([entry.sha256 for entry in result.manifests[step.name].files]),
        }
        for step in plan.steps
    }
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
