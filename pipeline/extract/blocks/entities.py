"""Character references of HTML as tables for the text kernel."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

from html.entities import html5

import numpy as np

from gristmill.pipeline.extract.blocks.compiled import njit_borrowing, wrapping_product
from gristmill.pipeline.extract.blocks.tags import FNV_PRIME, FNV_START, name_hash

_SLOTS = 8192
_SEMICOLON = 59
_MAX_NAME = 32


def _tables() -> tuple[np.ndarray, np.ndarray]:
    keys, values = np.zeros(_SLOTS, dtype=np.int64), np.zeros((_SLOTS, 2), dtype=np.int64)
    for name, characters in html5.items():
        slot = name_hash(name) & (_SLOTS - 1)
        while values[slot, 0]:
            slot = (slot + 1) & (_SLOTS - 1)
        keys[slot] = name_hash(name)
        values[slot, : len(characters)] = [ord(character) for character in characters]
    return keys, values


_KEYS, _VALUES = _tables()
# Numeric references to the C1 controls mean windows-1252 (the standard's table).
_C1 = np.array([ord(bytes([byte]).decode("cp1252", "replace")) for byte in range(128, 160)], dtype=np.int64)


@njit_borrowing
def _find(key):
    slot = key & (_SLOTS - 1)
    while _VALUES[slot, 0] != 0:
        if _KEYS[slot] == key:
            return slot
        slot = (slot + 1) & (_SLOTS - 1)
    return -1


@njit_borrowing
def _numeric(data, i, n):
    """Read a numeric reference whose '#' is at i; returns (position after it, code point), code point -1 when
    it is none."""
    i += 1
    hexadecimal = i < n and (data[i] | 32) == 120
    if hexadecimal:
        i += 1
    first, value = i, 0
    while i < n:
        c = np.int64(data[i])
        if 48 <= c <= 57:
            digit = c - 48
        elif hexadecimal and 97 <= (c | 32) <= 102:
            digit = (c | 32) - 87
        else:
            break
        if value <= 0x10FFFF:
            value = value * (16 if hexadecimal else 10) + digit
        i += 1
    if i == first:
        return first, -1
    if i < n and data[i] == _SEMICOLON:
        i += 1
    if value == 0 or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        value = 0xFFFD
    elif 128 <= value < 160:
        value = _C1[value - 128]
    return i, value


@njit_borrowing
def character_reference(data, i, n):
    """Read the reference whose '&' is at i; returns (position after it, code point, second code point or 0).

    The first code point is -1 when the '&' stands for itself. Without a semicolon the longest of the
    standard's legacy names counts.
    """
    if i + 1 < n and data[i + 1] == 35:
        end, value = _numeric(data, i + 1, n)
        if value < 0:
            return i + 1, -1, 0
        return end, value, 0
    key, j, best, best_end = FNV_START, i + 1, -1, i + 1
    while j < n and j - i <= _MAX_NAME:
        c = np.int64(data[j])
        if not (48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122):
            break
        key = wrapping_product(key ^ c, FNV_PRIME)
        j += 1
        slot = _find(key)
        if slot >= 0:
            best, best_end = slot, j
    if j < n and data[j] == _SEMICOLON:
        slot = _find(wrapping_product(key ^ _SEMICOLON, FNV_PRIME))
        if slot >= 0:
            best, best_end = slot, j + 1
    if best < 0:
        return i + 1, -1, 0
    return best_end, _VALUES[best, 0], _VALUES[best, 1]
