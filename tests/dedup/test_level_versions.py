"""A step's version is raised when its bytes change, for the levels that the golden recipe has no step of.

After a change that is meant to change bytes: raise the version in `pipeline/stages/dedup.py`, then

    python -m pytest tests/dedup/test_level_versions.py --force-golden
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from gristmill.files.storage import FILE_FORMAT
from gristmill.hashing import sha256_json
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.libraries import COLUMNS, version_of
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.made_texts import page

GOLDEN = Path(__file__).with_name("level_versions.json")
LEVELS = {
    "lines": {},
    "paragraphs": {},
    "spans": {},
    "ngrams": {},
    "semantic": {"threshold": 0.6, "cluster_documents": 20},
    "substring": {"min_tokens": 40},
    "passages": {"min_bytes": 300},
}


def write_pages(path: Path) -> None:
    """Pages of paragraphs that occur on others, some with a word changed, each with a line of its own."""
    chance = random.Random(3)
    blocks = [page(number, 70) for number in range(40)]
    with path.open("w") as out:
        for number in range(120):
            chosen = chance.choices(blocks, k=2)
            changed = [[word if chance.random() < 0.97 else "other" for word in block] for block in chosen]
            own = f"Page {number} is here. It has a line. And it is its own."
            text = "\n".join([*(" ".join(block) for block in changed), own, "Every page has this."])
            out.write(json.dumps({"text": text, "url": f"http://a.org/{number}"}) + "\n")


def test_no_level_writes_other_bytes_under_the_same_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pages(Path("pages.jsonl"))
    found = {}
    for level, asked in LEVELS.items():
        sources = {"web": {"inputs": ["pages.jsonl"]}}
        plan = build_plan(make_recipe({"name": "golden", "sources": sources, "dedup": {level: asked}}))
        result = run_plan(plan, tmp_path / "out", EngineSettings(kind="inline"), Progress(quiet=True))
        manifest = result.manifests[f"dedup-{level}"]
        assert manifest.books is not None
        assert manifest.books.items_out["removed"] or manifest.books.bytes_out["deleted"], level
        found[level] = {
            "version": plan.steps[-1].kind.version,
            "files": FILE_FORMAT,
            "digest": sha256_json([entry.sha256 for entry in manifest.files]),
        }
    versions = {name: version_of(name) for name in (*COLUMNS, "scipy", "pycld2", "eldc")}
    if request.config.getoption("--force-golden"):
        GOLDEN.write_text(json.dumps({"libraries": versions, "levels": found}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    if golden["libraries"] != versions:
        pytest.skip("other versions of the libraries that shape bytes are installed")
    changed = [level for level, facts in found.items() if golden["levels"].get(level) != facts]
    assert not changed, f"{changed} write other bytes than before: raise their versions, see above"
