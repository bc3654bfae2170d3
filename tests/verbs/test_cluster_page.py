"""The cluster page: its commands are ones the program takes, and its files are there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from gristmill.pipeline.demo.warm import kernel_modules
from tests.test_readme import fences, split_verb, verbs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every `gristmill ...` of the page, in blocks and in running text."""
    blocks = [line.split("  #")[0].strip() for block in fences("bash", PAGE) for line in block.splitlines()]
    said = re.findall(r"`(gristmill [^`\n]+)`", PAGE)
    return [line for line in (*blocks, *said) if line.startswith("gristmill ")]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_page_is_one_the_program_takes(line: str) -> None:
    verb, arguments = split_verb(shlex.join(shlex.split(line)))
    verbs()[verb].make_context(verb, arguments)


def test_files_that_the_page_names_are_there() -> None:
    for target in re.findall(r"\]\((\.\./[^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).resolve().exists(), target


def test_manifests_and_scripts_read() -> None:
    for name in ("cluster.yaml", "rayjob.yaml", "compose.yaml"):
        assert yaml.safe_load((ROOT / "docker" / name).read_text())
    subprocess.run(["bash", "-n", ROOT / "docker" / "slurm.sbatch"], check=True)


def test_warm_finds_every_module_that_compiles() -> None:
    found = kernel_modules()
    assert len(found) == len(set(found)) > 15
    assert {
        "gristmill.dedup.near.minhash",
        "gristmill.text.kernel",
        "gristmill.tokenize.mixing.ranges",
    } <= set(found)
