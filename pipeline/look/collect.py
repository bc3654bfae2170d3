"""Remove what no manifest names: scratch of killed attempts, unfinished uploads, files of quarantined work,
old steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gristmill.entries import FOLDER
from gristmill.files.lock import hold_lock
from gristmill.files.s3_uploads import Leftover
from gristmill.files.stores import store_of
from gristmill.manifest import AHEAD, MANIFEST, RECORDS, read_manifest, read_record
from gristmill.pipeline.run.folder import read_run


def collect(out: Path, *, dry_run: bool = False) -> list[Leftover]:
    """Find what can go and remove it, unless `dry_run`; raises LockedError while a run is at work there."""
    read_run(out)
    with hold_lock(out):
        store = store_of(out)
        garbage = [Leftover(str(path), _size(path), partial(store.remove, path)) for path in _unnamed(out)]
        garbage += store.unfinished(out)
        if not dry_run:
            for item in garbage:
                item.remove()
    return garbage


def _unnamed(out: Path) -> Iterator[Path]:
    run = read_run(out)
    live = {entry["folder"] for entry in [*run["steps"], *run.get("previous", [])]}
    yield from sorted(out.glob(".estimate-*"))  # samples of estimates that were killed
    for folder in sorted((out / "steps").glob("*")):
        relative = folder.relative_to(out).as_posix()
        # A folder without a manifest belongs to a run that was stopped: its finished shards are what resuming
        # saves.
        if relative not in live and ((folder / MANIFEST).exists() or run["complete"]):
            yield folder
            continue
        yield from _unnamed_in_step(folder)


def _unnamed_in_step(folder: Path) -> Iterator[Path]:
    scratch = folder / ".scratch"
    if scratch.exists() and any(scratch.iterdir()):  # an empty one is where attempts of this step worked
        yield scratch
    if (folder / MANIFEST).exists():
        if (folder / AHEAD).exists():  # of a run that was killed as the step was finished
            yield folder / AHEAD
        manifest = read_manifest(folder)
        lost = {f"{fact['phase']}-{fact['task']}" for fact in manifest.lost}
        yield from (path for path in sorted(folder.glob("quarantine/*.txt")) if path.stem not in lost)
        named = {entry.path for entry in manifest.files} | manifest.beside()
    else:
        named = {
            entry.path
            for below in (RECORDS, AHEAD)
            for path in sorted((folder / below).glob("*/*.json"))
            for entry in read_record(path).files
        }
    patterns = ("data/*", "passing/*", f"{FOLDER}/*", "summary-*.json")
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        if path.relative_to(folder).as_posix() not in named:
            yield path


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.suffix != ".aside")
