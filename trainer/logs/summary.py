"""What a run came to: `summary.json`, from its log."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from gristmill.files.stores import write_text
from gristmill.trainer.logs.log import Log

FILE = "summary.json"


def by_step(log: Log, event: str) -> dict[int, list[dict[str, Any]]]:
    """Return the rows of one kind so far, also those before an interruption, by step."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in log.rows(event):
        found[row["step"]].append({key: value for key, value in row.items() if key not in ("event", "step")})
    return found


def of_log(log: Log, step: int) -> dict[str, Any]:
    """Return the last loss, the evaluations before and after, and what tasks came to at the end."""
    steps, evaluations, tasks = log.rows("step"), by_step(log, "eval"), by_step(log, "task")
    found = {
        "loss": steps[-1]["loss"] if steps else None,
        "evaluations": {
            when: evaluations[at] for when, at in (("before", 0), ("after", step)) if at in evaluations
        },
    }
    return found | ({"tasks": tasks[step]} if step in tasks else {})


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    write_text(folder / FILE, json.dumps(summary, indent=1))


def ended_run(folder: Path, steps: int, evaluated: bool) -> dict[str, Any] | None:
    """Return the summary of a run that came to these steps and, where it is `evaluated`, was."""
    path = folder / FILE
    if not path.is_file():
        return None
    summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
    complete = summary["steps"] == steps and (not evaluated or "after" in summary["evaluations"])
    return summary if complete else None
