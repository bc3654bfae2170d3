"""How far a run has come: shards done, running and failed, rates, time to go, stragglers, memory; from
manifests and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from gristmill.errors import GristmillError
from gristmill.files.disk import read_file
from gristmill.files.lock import read_holder
from gristmill.files.stores import store_of
from gristmill.manifest import Manifest, read_manifest
from gristmill.pipeline.run.folder import PROGRESS, read_run, unfinished_folder
from gristmill.pipeline.run.job import records_at_work
from gristmill.pipeline.run.losses import spell_lost
from gristmill.pipeline.run.narration.stragglers import straggles, usual_seconds
from gristmill.trainer.logs.told import last_step


def read_status(out: Path) -> dict[str, Any]:
    """Tell the state of every step of a run's plan; raises UsageError when `out` is none."""
    run, holder = read_run(out), read_holder(out)
    folders = {entry["name"]: out / entry["folder"] for entry in run["steps"]}

    def read(name: str) -> dict[str, Any]:
        return _step(out, name, folders.get(name), holder is not None)

    steps = store_of(out).side_by_side(read, list(run.get("plan", folders)))
    return {"complete": bool(run["complete"]), "holder": holder, "steps": list(steps)}


def _step(out: Path, name: str, folder: Path | None, running: bool) -> dict[str, Any]:
    if folder is not None:
        try:
            manifest = read_manifest(folder)
            return {**step_row(name, manifest), "state": "incomplete" if manifest.lost else "done"}
        except GristmillError as error:
            return {"step": name, "state": "damaged", "problem": error.message}
    folder = unfinished_folder(out, name)
    if folder is None:
        return {"step": name, "state": "waiting"}
    failed = sorted(path.stem for path in (folder / "quarantine").glob("*.txt"))
    state = "running" if running else "failed" if failed else "stopped"
    row = {"step": name, "state": state, "failed_shards": failed, **_phase_at_work(folder, running=running)}
    training = last_step(folder / "train" / "run" / "log.jsonl")
    if training is not None:
        row |= {"training": training, "eta_seconds": training.get("seconds_to_go")}
    return row


def step_row(name: str, manifest: Manifest) -> dict[str, Any]:
    """A finished step in plain numbers; `lost` names the tasks that it was published without."""
    row: dict[str, Any] = {
        "step": name,
        "shards": len(manifest.records),
        "seconds": manifest.timing.get("seconds"),
    }
    if manifest.lost:
        row |= {"lost": [dict(fact) for fact in manifest.lost], "problem": spell_lost(manifest)}
    if manifest.books:
        books = manifest.books
        row |= {
            "in": books.items_in,
            **{outlet: books.items_out[outlet] for outlet in ("kept", "removed", "failed")},
        }
        row |= {"by_rule": dict(books.by_rule_first), "by_error": dict(books.by_error)}
    return row


def _phase_at_work(folder: Path, *, running: bool) -> dict[str, Any]:
    """What the driver last wrote of the phase at work; what its records say, where it wrote no sums."""
    try:
        told: Mapping[str, Any] = orjson.loads(read_file(folder / PROGRESS))
    except (OSError, orjson.JSONDecodeError):
        told = {}
    if "shards" not in told:
        return _records(folder, told.get("phase"), told.get("total"))
    facts = ("phase", "total", "shards", "work_seconds", "median_seconds", "stragglers", "peak_bytes", "in")
    row: dict[str, Any] = {name: told.get(name) for name in (*facts, "kept")}
    row["records_at_work"] = records_at_work(folder, told["phase"])
    if running:
        row |= {name: told.get(name) for name in ("num_at_work", "at_work", "waits_for")}
    times = [told.get("first_ended"), told.get("last_ended")]
    ahead = sum(
        min(1.0, task["seconds"] / told["median_seconds"])
        for task in row.get("at_work") or ()
        if told["median_seconds"]
    )
    return row | _rate(told["shards"], times, told.get("total"), ahead)


def _records(folder: Path, phase: str | None, total: int | None) -> dict[str, Any]:
    records = [
        orjson.loads(read_file(path)) for path in sorted(folder.glob(f"records/{phase or '*'}/*.json"))
    ]
    seconds = sorted(record["timing"].get("seconds", 0.0) for record in records)
    usual = usual_seconds(seconds)
    slow = [
        record["body"]["task"]
        for record in records
        if straggles(record["timing"].get("seconds", 0.0), usual, len(records))
    ]
    books = [record["body"]["books"] for record in records if record["body"]["books"]]
    row: dict[str, Any] = {
        "phase": phase,
        "shards": len(records),
        "records_at_work": records_at_work(folder, phase) if phase else 0,
        "total": total,
        "work_seconds": round(sum(seconds), 1),
        "median_seconds": usual,
        "stragglers": slow,
        "peak_bytes": max((record["timing"].get("peak_bytes", 0) for record in records), default=0),
        "in": sum(book["items_in"] for book in books),
        "kept": sum(book["items_out"].get("kept", 0) for book in books),
    }
    ended = [at for record in records if (at := record["timing"].get("ended")) is not None]
    return row | _rate(len(ended), [min(ended, default=None), max(ended, default=None)], total)


def _rate(
    num_ended: int, times: Sequence[float | None], total: int | None, ahead: float = 0.0
) -> dict[str, Any]:
    """Shards a minute since the first ended, and the seconds the others will take at that rate; `ahead` is
    how far those at work are, in shards."""
    first, last = times
    if num_ended < 2 or first is None or last is None or last <= first:
        return {"shards_per_minute": None, "eta_seconds": None}
    rate = (num_ended - 1) / (last - first)
    remaining = None if total is None else max(0.0, total - num_ended - ahead)
    return {
        "shards_per_minute": round(60 * rate, 2),
        "eta_seconds": None if remaining is None else round(remaining / rate, 1),
    }
