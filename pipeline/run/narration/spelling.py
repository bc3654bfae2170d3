"""How durations are spelled for people."""

from __future__ import annotations


def spell_seconds(seconds: float) -> str:
    """Spell a duration: `40 ms`, `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 0.095:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
