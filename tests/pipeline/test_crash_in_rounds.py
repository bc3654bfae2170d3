"""Kill a run inside a round of stars, or between two, and resume it: the same documents stay."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.pipeline.test_crash import command, environment, finish, kill_tree
from tests.support.made_texts import mutated, page

KILLS = 8


def write_chains(folder: Path) -> None:
    """Write 6,000 pages, each a little other than the one before it: long components, so several rounds."""
    draw = random.Random(1)
    with (folder / "pages.jsonl").open("w") as file:
        for chain in range(60):
            words = page(chain, 60)
            for number in range(100):
                words = mutated(words, [draw.randrange(60)])
                file.write(json.dumps({"id": f"{chain}-{number}", "text": " ".join(words)}) + "\n")
    fuzzy = {"memory_bytes": 1 << 20, "threshold": 0.7, "allow_wipe_out": True}
    recipe = {"name": "chains", "sources": {"web": {"inputs": "pages.jsonl"}}, "dedup": {"fuzzy": fuzzy}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def rounds(out: Path) -> set[str]:
    """The phases of rounds that have begun to leave records."""
    return {path.name for path in out.glob("steps/*/records/*-star-*")}


@pytest.mark.crash
def test_a_run_killed_inside_a_round_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    write_chains(tmp_path)
    expected = finish(tmp_path, "undisturbed")
    draw, killed_in = random.Random(2), set()
    for number in range(KILLS):
        out = f"killed-{number}"
        process = subprocess.Popen(
            command(tmp_path, out, "inline"), cwd=tmp_path, env=environment(), start_new_session=True
        )
        wanted, deadline = draw.randrange(1, 6), time.monotonic() + 300
        while len(rounds(tmp_path / out)) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.05)
        if process.poll() is None:
            kill_tree(process)
            assert process.returncode == -signal.SIGKILL
            killed_in |= rounds(tmp_path / out)
        assert finish(tmp_path, out) == expected
    assert killed_in, "no kill came inside a round"
