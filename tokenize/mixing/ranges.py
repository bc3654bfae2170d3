"""Move token ranges: the one kernel of mixing."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import njit

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made


@njit(cache=True, nogil=True)
def copy_ranges(
    source: npt.NDArray[Any],
    starts: npt.NDArray[Any],
    target: npt.NDArray[Any],
    places: npt.NDArray[Any],
    lengths: npt.NDArray[Any],
) -> None:
    """Copy `source[starts[i] : starts[i] + lengths[i]]` to `target[places[i] :]` for every i."""
    for i in range(len(starts)):
        start, place = starts[i], places[i]
        for j in range(lengths[i]):
            target[place + j] = source[start + j]
