"""The newest step of a run that is training, from its log, for those who watch it; torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gristmill.files.inside import parsed

_TAIL_BYTES = 1 << 16


def last_step(log: Path) -> dict[str, Any] | None:
    """Return the newest `event: step` row of a log, if there is one near its end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            row = parsed(line)
        except ValueError:  # still being written, or cut by the tail
            continue
        if isinstance(row, dict) and row.get("event") == "step":
            return row
    return None


def spell_step(row: Mapping[str, Any]) -> str:
    """Spell a row: step, loss, speed, share of the card's peak, and time to go."""
    steps = f"/{row['steps']:,}" if row.get("steps") else ""
    loss = "no number" if row["loss"] is None else f"{row['loss']:.4f}"
    parts = [f"step {row['step']:,}{steps}", f"loss {loss}", f"{row['tokens_per_s']:,.0f} tokens/s"]
    if row["mfu"] is not None:
        parts.append(f"mfu {row['mfu']:.1%}")
    if row.get("seconds_to_go") is not None:
        parts.append(f"{spell_seconds(row['seconds_to_go'])} to go")
    return ", ".join(parts)


def spell_seconds(seconds: float) -> str:
    """Spell a duration roughly: `40 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
