"""Kill a run at random moments and resume it: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.small_recipe import write_recipe

ROOT = Path(__file__).resolve().parents[2]


def command(folder: Path, out: str, engine: str, workers: int = 2) -> list[str]:
    options = ["--out", out, "--engine", engine, "--workers", str(workers), "--quiet"]
    return [sys.executable, "-m", "gristmill.pipeline.cli", "run", "recipe.yaml", *options]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def finish(folder: Path, out: str, engine: str = "inline", workers: int = 2, **more: str) -> dict[str, str]:
    subprocess.run(
        command(folder, out, engine, workers), cwd=folder, env=environment(**more), check=True, timeout=300
    )
    verified = subprocess.run(
        [sys.executable, "-m", "gristmill.pipeline.cli", "verify", out],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert verified.returncode == 0, verified.stdout
    return data_files(folder / out)


def data_files(out: Path) -> dict[str, str]:
    """Every file that a manifest of the run names, with its digest, under the step that wrote it."""
    from gristmill.pipeline.run.folder import finished_steps

    return {
        f"{name}:{entry.path}": entry.sha256
        for name, manifest in finished_steps(out).items()
        for entry in manifest.files
    }


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def whole_run(folder: Path, **changes: object) -> tuple[Path, dict[str, str], float]:
    """A folder with a recipe, what a run of it writes that nobody disturbs, and the seconds it takes."""
    write_recipe(folder, **changes)
    began = time.monotonic()
    files = finish(folder, "undisturbed")
    return folder, files, time.monotonic() - began


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], float]:
    return whole_run(tmp_path_factory.mktemp("crash"))


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], float]:
    """The same where steps work in the tasks of the step before them."""
    return whole_run(tmp_path_factory.mktemp("chained"), keep="ends")


def kill_and_resume(run: tuple[Path, dict[str, str], float], engine: str, kills: int) -> None:
    folder, expected, seconds = run
    draw = random.Random(f"{engine}-{kills}")
    start = 6.0 if engine == "ray" else 0.3
    for number in range(kills):
        out = f"{engine}-{number}"
        process = subprocess.Popen(
            command(folder, out, engine), cwd=folder, env=environment(), start_new_session=True
        )
        time.sleep(start + draw.random() * seconds)
        kill_tree(process)
        assert finish(folder, out) == expected


@pytest.mark.crash
@pytest.mark.parametrize(("engine", "kills"), [("inline", 20), ("ray", 5)])
def test_a_killed_run_resumes_to_the_same_bytes(
    undisturbed: tuple[Path, dict[str, str], float], engine: str, kills: int
) -> None:
    kill_and_resume(undisturbed, engine, kills)


@pytest.mark.crash
@pytest.mark.parametrize(("engine", "kills"), [("inline", 12), ("ray", 3)])
def test_a_killed_run_of_chained_steps_resumes_to_the_same_bytes(
    chained: tuple[Path, dict[str, str], float], engine: str, kills: int
) -> None:
    kill_and_resume(chained, engine, kills)


@pytest.mark.crash
def test_a_killed_worker_costs_its_shard_and_nothing_else(
    undisturbed: tuple[Path, dict[str, str], float],
) -> None:
    import psutil

    folder, expected, _ = undisturbed
    process = subprocess.Popen(
        command(folder, "worker", "ray"), cwd=folder, env=environment(), start_new_session=True
    )
    killed, deadline = 0, time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.7)
        workers = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "ray::attempt" in "".join(_line(child))
        ]
        if workers and killed < 5:
            random.Random(killed).choice(workers).kill()
            killed += 1
    assert process.wait(60) == 0
    assert data_files(folder / "worker") == expected


def _line(process: object) -> list[str]:
    import psutil

    try:
        return process.cmdline()  # type: ignore[attr-defined,no-any-return]
    except psutil.Error:
        return []


@pytest.mark.crash
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("engine", ["inline", "ray"])
def test_a_signal_stops_a_run_within_ten_seconds_and_says_how_to_resume(
    undisturbed: tuple[Path, dict[str, str], float], engine: str, number: int, code: int
) -> None:
    folder, expected, _ = undisturbed
    out = f"signal-{engine}-{code}"
    process = subprocess.Popen(
        command(folder, out, engine),
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not list(
        (folder / out).glob("steps/*/records/*/*.json")
    ):  # it has begun to finish shards, and is far from its end
        assert process.poll() is None
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == code
    assert b"resume with: " in said
    assert finish(folder, out) == expected
