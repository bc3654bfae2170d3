"""Same recipe and input, same bytes: for any engine, number of workers, hash seed, and place of the
checkout."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.pipeline.recipe.file import read_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.pipeline.test_crash import ROOT, data_files, environment, finish
from tests.support.small_recipe import write_recipe


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The run of this process, whose hash seed is a random one."""
    folder = tmp_path_factory.mktemp("same")
    write_recipe(folder)
    with contextlib.chdir(folder):  # documents name the file they come from as the recipe does
        plan = build_plan(read_recipe(Path("recipe.yaml")))
        run_plan(plan, Path("inline"), EngineSettings(kind="inline"), Progress(quiet=True))
    return folder, data_files(folder / "inline")


def test_ray_and_inline_write_the_same_bytes(inline: tuple[Path, dict[str, str]]) -> None:
    folder, expected = inline
    assert finish(folder, "ray", "ray", 2, PYTHONHASHSEED="2") == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_does_not_show(inline: tuple[Path, dict[str, str]], workers: int) -> None:
    folder, expected = inline
    assert finish(folder, f"ray-{workers}", "ray", workers) == expected


@pytest.mark.slow
def test_a_checkout_elsewhere_writes_the_same_bytes(
    inline: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    _folder, expected = inline
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, names):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / "copy" / name, follow_symlinks=False)
    write_recipe(tmp_path / "inputs")
    run = [
        sys.executable,
        "-m",
        "gristmill.pipeline.cli",
        "run",
        "recipe.yaml",
        "--out",
        "out",
        "--engine",
        "inline",
        "--quiet",
    ]
    subprocess.run(
        run, cwd=tmp_path / "inputs", env=environment(PYTHONPATH=str(tmp_path / "copy")), check=True
    )
    assert data_files(tmp_path / "inputs" / "out") == expected
