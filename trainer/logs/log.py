"""The log of a run: `log.jsonl`, one object per logged step and one per source of an evaluation, with fixed
keys."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from gristmill.files.stores import write_text
from gristmill.trainer.logs.sinks import Sink, scalars

STEP_KEYS = (
    "step", "steps", "tokens", "loss", "lr", "grad_norm", "tokens_per_s", "seconds_to_go", "mfu",
    "memory_bytes", "skipped", "epoch",
)  # fmt: skip
EVAL_KEYS = (
    "step", "source", "docs", "tokens", "bytes", "nats", "loss", "perplexity", "bits_per_byte", "entropy",
)  # fmt: skip

TASK_KEYS = (
    "step", "task", "kind", "rows", "accuracy", "accuracy_per_byte", "perplexity", "bits_per_byte",
    "log_likelihood", "likelihood", "normalised_likelihood",
)  # fmt: skip


class Log:
    """Append rows to a run's log and tell a person on stderr; only rank 0 writes."""

    def __init__(self, path: Path, active: bool, resumed_at: int | None) -> None:
        self.path, self.active = path, active
        self.sinks: list[Sink] = []
        if active:
            kept = []
            if (
                resumed_at is not None and path.is_file()
            ):  # what a killed run logged after its last checkpoint comes again
                for line in path.read_text("utf-8", "replace").splitlines():
                    if _step(line) <= resumed_at:
                        kept.append(line + "\n")
            write_text(path, "".join(kept))

    def step(self, **values: Any) -> None:
        self._write({"event": "step"} | {key: values[key] for key in STEP_KEYS})

    def evaluation(self, **values: Any) -> None:
        self._write({"event": "eval"} | {key: values[key] for key in EVAL_KEYS})

    def task(self, **values: Any) -> None:
        self._write({"event": "task"} | {key: values.get(key) for key in TASK_KEYS})

    def skipped(self, step: int, loss: float, grad_norm: float, documents: list[str]) -> None:
        """Keep what a step that was not taken had read: the ids of its documents."""
        self._write(
            {"event": "skip", "step": step, "loss": loss, "grad_norm": grad_norm, "documents": documents}
        )

    def resumed(self, step: int, changed: dict[str, Any]) -> None:
        """Keep which settings a later command changed, from which step on."""
        self._write({"event": "resume", "step": step, "changed": changed})

    def rows(self, event: str) -> list[dict[str, Any]]:
        """Return what was logged so far of one kind, by this process or by the ones it continues."""
        if not self.active:
            return []
        rows = map(json.loads, self.path.read_text("utf-8").splitlines())
        return [row for row in rows if row["event"] == event]

    def say(self, text: str, live: bool = False) -> None:
        """Write a line to stderr; a live one is overwritten by the next on a terminal."""
        if not self.active:
            return
        terminal = sys.stderr.isatty()
        sys.stderr.write(("\r\x1b[2K" if terminal else "") + text + ("" if live and terminal else "\n"))
        sys.stderr.flush()

    def _write(self, row: dict[str, Any]) -> None:
        if self.active:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({key: _finite(value) for key, value in row.items()}) + "\n")
            for write in self.sinks:
                write(row["step"], scalars(row))


def _step(line: str) -> float:
    """Return the step of a row, infinity of one that was cut while it was written."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
