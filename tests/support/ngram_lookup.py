"""Looking n-grams up in a model's table, key by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import types

from gristmill.classifiers.ngram.table_lines import FOUND, find, open_lines
from gristmill.text.kernel import BYTES, kernel
from gristmill.text.lanes import address_of

_KEYS = types.Array(types.uint64, 1, "C", readonly=True)


@kernel(types.void(_KEYS, BYTES, types.uint64, types.int64, types.Array(types.uint32, 1, "C")))
def _find_all(keys, lines, num_lines, num_codes, out):  # type: ignore[no-untyped-def]
    for n in range(len(keys)):
        out[n] = find(address_of(lines), num_lines, keys[n], num_codes)


def look_up(path: Path, num_lines: int, keys: np.ndarray, num_codes: int) -> np.ndarray:
    out = np.empty(len(keys), np.uint32)
    _find_all(np.ascontiguousarray(keys), open_lines(path, num_lines, num_codes), num_lines, num_codes, out)
    return out


def as_found(codes: np.ndarray) -> np.ndarray:
    shifts = np.arange(codes.shape[1], dtype=np.uint32) * np.uint32(8)
    return FOUND | (codes.astype(np.uint32) << shifts).sum(1, dtype=np.uint32)
