"""Whatever call to the kernel fails in a small run, its end is the same bytes, or a failure that says of
what, or an incomplete step that says so; and the next run mends it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import yaml

from gristmill.manifest import MANIFEST, read_manifest
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import finished_steps
from tests.support.failing_calls import CommandsThatFail, Ending, Fault, is_possible
from tests.support.small_recipe import pages, write_warc

pytestmark = pytest.mark.skipif(not is_possible(), reason="this kernel hands no calls to another process")

SHORT = {
    "name": "small",
    "sources": {"a": {"inputs": "in/*.jsonl"}},
    "filter": {"presets": ["gopher"]},
    "dedup": {"exact": {}},
    "engine": {"kind": "inline", "retries": 0},
}
LONG = {
    **SHORT,
    "shard_bytes": 12_000,
    "sources": {"a": {"inputs": "in/*.jsonl"}, "w": {"inputs": "in/*.warc.gz"}},
    "extract": {"extractor": "resiliparse"},
    "tokenizer": {"vocab_size": 320},
    "mix": {"proportions": {"a": 0.6, "w": 0.4}, "tokens": 600},
}
RUN = ("run", "recipe.yaml", "--out", "out")


class Here:
    """A folder with a recipe, what a run of it leaves undisturbed, and commands that meet faults in it."""

    def __init__(self, folder: Path, server: CommandsThatFail) -> None:
        self.folder, self.out, self.server = folder, folder / "out", server
        self.watched = (str(folder / "in"), str(self.out), str(folder / "recipe.yaml"))
        assert server.first.code == 0, server.first.err
        self.expected = made(folder / "first")
        self.count = self.under(self.fault(), *RUN).count

    def under(self, fault: Fault, *arguments: str) -> Ending:
        ending = self.server.run(arguments, fault)
        assert ending.code is not None, f"hangs after {ending.met}"
        assert "Traceback" not in ending.err, f"{ending.met}\n{ending.err}"
        return ending

    def fault(self, nth: int = 0, **more: Any) -> Fault:
        return Fault(self.watched, nth, **more)


def made(out: Path) -> dict[str, str]:
    return {
        f"{name}:{entry.path}": entry.sha256
        for name, manifest in finished_steps(out).items()
        for entry in manifest.files
    }


def prepared(folder: Path, recipe: dict[str, Any]) -> Iterator[Here]:
    (folder / "in").mkdir()
    texts = [(name, text) for name, text in sorted(topics.items()) if 1500 < len(text) < 4000][:10]
    for part in range(2):
        rows = [json.dumps({"id": name, "text": text}) for name, text in texts[part:6:2]]
        (folder / f"in/{part}.jsonl").write_text("".join(f"{row}\n" for row in rows))
    write_warc(folder / "in/w.warc.gz", pages(texts[6:])[:5])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with CommandsThatFail(folder, ["run", "recipe.yaml", "--out", "first"]) as server:
        yield Here(folder, server)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    yield from prepared(tmp_path_factory.mktemp("calls"), SHORT)


@pytest.fixture(scope="module")
def further(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    yield from prepared(tmp_path_factory.mktemp("calls"), LONG)


def holds(here: Here, fault: Fault, *said: str) -> Ending:
    """Run under a fault, then without, and check what both leave."""
    shutil.rmtree(here.out, ignore_errors=True)
    ending = here.under(fault, *RUN, *said)
    if ending.code == 0 and "incomplete" not in ending.err:
        assert made(here.out) == here.expected, f"other bytes after {ending.met}"
    elif ending.code != 0:
        assert ending.code == 1 and "error: " in ending.err, f"{ending.met}\n{ending.code} {ending.err}"
        told = is_told_full(ending) if fault.full else names(ending)
        assert told, f"{ending.met}\n{ending.err}"
    for path in here.out.glob(f"steps/*/{MANIFEST}"):
        manifest = read_manifest(path.parent)
        assert all((path.parent / entry.path).stat().st_size == entry.bytes for entry in manifest.files)
    again = here.under(here.fault(), *RUN)
    assert again.code == 0, f"{ending.met}\n{ending.err}\nthen {again.err}"
    assert made(here.out) == here.expected, f"other bytes when resumed after {ending.met}"
    assert list(verify(here.out)) == [], ending.met
    return ending


def is_told_full(ending: Ending) -> bool:
    """Whether a message says that there is no room, at which path, and what to do. The first call that found
    none may have been that of the log, without which a run goes on to where it cannot."""
    no_space = "no space left" in ending.err.lower() and "hint: free some space" in ending.err
    return no_space and re.search(r"(?:--> |`)[^`\n]*\bout\b", ending.err) is not None


def names(ending: Ending) -> bool:
    """Whether a message names what the call was about: the file, or the step and shard that it was in."""
    assert ending.met
    path = Path(ending.met[2])
    if path.suffix == ".aside":
        path = path.with_name(path.name.lstrip(".").rsplit(".", 2)[0])
    steps = [path.parts[at + 1] for at, part in enumerate(path.parts[:-1]) if part == "steps"]
    return path.name in ending.err or any(f"steps/{step}" in ending.err for step in steps)


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_a_failing_call_leaves_the_same_bytes_or_a_failure(here: Here, share: float) -> None:
    assert holds(here, here.fault(1 + int(share * here.count))).met


def test_a_disk_that_fills_up_ends_in_the_hint_to_free_some_space(here: Here) -> None:
    ending = holds(here, here.fault(here.count // 2, full=True))
    assert ending.code == 1
    assert "No space left on device" in ending.err or "no space left" in ending.err
    assert "hint: free some space" in ending.err


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_failing_call_leaves_the_same_bytes_or_a_failure(here: Here, part: int) -> None:
    for nth in range(1 + part, here.count + 1, 8):
        assert holds(here, here.fault(nth, turn=nth // 8)).met


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_disk_that_fills_up_at_any_call_leaves_a_run_that_resumes(here: Here, part: int) -> None:
    for nth in range(1 + part, here.count + 1, 4):
        holds(here, here.fault(nth, full=True))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_where_losses_are_allowed_a_failing_call_is_said_to_leave_a_step_incomplete(
    here: Here, part: int
) -> None:
    for nth in range(1 + part, here.count + 1, 4):
        holds(here, here.fault(nth), "--set", "limits.quarantined_shards=9")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_a_failing_call_in_a_later_stage_leaves_the_same_bytes_or_a_failure(further: Here, part: int) -> None:
    for nth in range(1 + part, further.count + 1, 23):
        assert holds(further, further.fault(nth, turn=nth // 23)).met


READERS = {
    "verify": ("verify", "out"),
    "export": ("export", "out"),
    "status": ("status", "out"),
    "plan": ("plan", "recipe.yaml", "--out", "out"),
    "report": ("report", "out"),
    "inspect": ("inspect", "out", "--removed"),
    "gc": ("gc", "out", "--dry-run"),
}


@pytest.mark.parametrize("verb", ["verify", "export"])
def test_a_reader_whose_call_fails_says_so_or_says_the_same(here: Here, verb: str) -> None:
    shutil.rmtree(here.out, ignore_errors=True)
    shutil.copytree(here.folder / "first", here.out)
    plain = here.under(here.fault(), *READERS[verb])
    assert plain.code == 0, plain.err
    _reads(here, verb, plain, plain.count // 2)


@pytest.mark.slow
@pytest.mark.parametrize("verb", READERS)
def test_a_reader_any_of_whose_calls_fails_says_so_or_says_the_same(here: Here, verb: str) -> None:
    shutil.rmtree(here.out, ignore_errors=True)
    shutil.copytree(here.folder / "first", here.out)
    plain = here.under(here.fault(), *READERS[verb])
    for nth in range(1, plain.count + 1):
        _reads(here, verb, plain, nth)


def _reads(here: Here, verb: str, plain: Ending, nth: int) -> None:
    ending = here.under(here.fault(nth), *READERS[verb])
    if ending.code == 0:
        assert ending.out == plain.out or verb == "status", f"{verb} says something else after {ending.met}"
    elif ending.out == "" or verb not in ("verify", "status"):
        assert "error: " in ending.err and names(ending), f"{ending.met}\n{ending.code} {ending.err}"
    else:
        said = Ending(ending.code, "", ending.out + ending.err, met=ending.met)
        assert names(said), f"{ending.met}\n{said.err}"
