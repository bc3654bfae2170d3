"""How often Python looks for cycles among its objects, in processes that are ours."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Objects made, and not freed, from which on Python looks. A process makes half a million when it imports and
# loads kernels, all of which stay: 530 searches, at Python's own 700, take .15 s of its first 1.3; later
# there are 300 in seven seconds, of 24 ms together.
_SELDOM = 20_000
_ours = False  # whether this process is a program of ours


def collect_seldom() -> None:
    """Let Python look for cycles after twenty thousand new objects; for a program's start, not for a
    library's."""
    global _ours
    _ours = True
    youngest, *others = gc.get_threshold()
    if 0 < youngest < _SELDOM:
        gc.set_threshold(_SELDOM, *others)


@contextmanager
def importing() -> Iterator[None]:
    """Look for no cycles while modules are imported, nor later among what they made; in programs of ours.

    Modules stay, and what they make is half a million objects: looking at them takes .04 s of a start. Where
    none came all is looked at later: of what tasks leave behind, cycles are garbage.
    """
    if not _ours or not gc.isenabled():
        yield
        return
    gc.disable()
    known = len(sys.modules)
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
