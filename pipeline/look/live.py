"""How far a run has come: shards done, running and failed, rates, time to go, stragglers, memory; from
manifests and records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from gristmill.errors import GristmillError
from gristmill.lock import read_holder
from gristmill.manifest import Manifest, read_manifest
from gristmill.pipeline.look.stragglers import straggles, usual_seconds
from gristmill.pipeline.run.folder import PROGRESS, read_run, unfinished_folder
from gristmill.pipeline.run.losses import spell_lost
from gristmill.trainer.told import last_step


def read_status(out: Path) -> dict[str, Any]:
    """Tell the state of every step of a run's plan; raises UsageError when `out` is none."""
    run, holder = read_run(out), read_holder(out)
    folders = {entry["name"]: out / entry["folder"] for entry in run["steps"]}
    steps = [_step(out, name, folders.get(name), holder is not None) for name in run.get("plan", folders)]
    return {"complete": bool(run["complete"]), "holder": holder, "steps": steps}


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
    row = {"step": name, "state": state, "failed_shards": failed, **_records(folder)}
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


def _records(folder: Path) -> dict[str, Any]:
    """What the records of the phase at work say."""
    try:
        at_work: Mapping[str, Any] = orjson.loads((folder / PROGRESS).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        at_work = {}
    phase = at_work.get("phase")
    records = [
        orjson.loads(path.read_bytes()) for path in sorted(folder.glob(f"records/{phase or '*'}/*.json"))
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
        "total": at_work.get("total"),
        "work_seconds": round(sum(seconds), 1),
        "median_seconds": usual,
        "stragglers": slow,
        "peak_bytes": max((record["timing"].get("peak_bytes", 0) for record in records), default=0),
        "in": sum(book["items_in"] for book in books),
        "kept": sum(book["items_out"].get("kept", 0) for book in books),
    }
    return row | _rate([record["timing"].get("ended") for record in records], at_work.get("total"))


def _rate(ended: list[float | None], total: int | None) -> dict[str, Any]:
    """Shards a minute since the first ended, and the seconds the others will take at that rate."""
    times = sorted(time for time in ended if time is not None)
    if len(times) < 2 or times[-1] <= times[0]:
        return {"shards_per_minute": None, "eta_seconds": None}
    rate = (len(times) - 1) / (times[-1] - times[0])
    remaining = None if total is None else max(0, total - len(times))
    return {
        "shards_per_minute": round(60 * rate, 2),
        "eta_seconds": None if remaining is None else round(remaining / rate, 1),
    }
