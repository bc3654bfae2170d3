"""How often Python looks for cycles among its objects, in processes that are ours."""

from __future__ import annotations

import gc

# Objects made, and not freed, from which on Python looks. A process makes half a million when it imports and
# loads kernels, all of which stay: 530 searches, at Python's own 700, take .15 s of its first 1.3; later
# there are 300 in seven seconds, of 24 ms together.
_SELDOM = 20_000


def collect_seldom() -> None:
    """Let Python look for cycles after twenty thousand new objects; for a program's start, not for a
    library's."""
    youngest, *others = gc.get_threshold()
    if 0 < youngest < _SELDOM:
        gc.set_threshold(_SELDOM, *others)
