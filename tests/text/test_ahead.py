"""Asking for memory ahead changes nothing and reads nothing, whatever the address."""

from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.text.ahead import fetch_ahead
from gristmill.text.lanes import address_of


@njit
def sums(values: np.ndarray, ahead: int) -> int:
    total = 0
    for at in range(len(values)):
        fetch_ahead(address_of(values) + np.uint64(8 * (at + ahead)))
        total += values[at]
    return total


@njit
def fetches(address: int) -> bool:
    return fetch_ahead(np.uint64(address)) is None


def test_a_sum_is_the_same_and_no_address_is_refused() -> None:
    values = np.arange(1000)
    assert sums(values, 16) == sums(values, 1 << 40) == values.sum()
    assert fetches(0) and fetches(-1)


def test_the_processor_is_told() -> None:
    sums(np.arange(4), 1)
    code = next(iter(sums.inspect_asm().values()))
    assert "prefetch" in code or "prfm" in code
