"""Blocks of whole JSON lines as `TextRows`: places of values by a scan, texts by one copy for each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.sources.rows.json_scan import (
    ESCAPED,
    FALSE,
    FLOAT,
    INTEGER,
    MISSING,
    NULL,
    OBJECT,
    STRING,
    TRUE,
    scan_lines,
    scan_objects,
    unescape,
)
from gristmill.pipeline.sources.rows.text_rows import Cells, Int64s, Mask, TextRows, text_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gristmill.pipeline.sources.settings import SourceSettings

_EXACT_DIGITS = 15  # of a number with a point: read as a float it is the number that was written
_INT64_DIGITS = 18


@dataclass(frozen=True, slots=True)
class _Found:
    """One column's values in a block: their kinds, and where they lie."""

    kinds: npt.NDArray[np.int8]
    starts: Int64s
    stops: Int64s


class JsonColumns:
    """Reads blocks of lines by a source's settings; `None` where they ask for what only rows can say."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        named = settings.columns
        roles = {
            "text": named.text,
            "id": named.id,
            "url": named.url,
            "date": named.date,
            "language": named.language,
        }
        self._roles = {role: path for role, path in roles.items() if path}
        self._paths = list(dict.fromkeys([*self._roles.values(), *settings.passthrough]))
        heads = [head for path in self._paths for head in _heads(path)]
        self._names = list(dict.fromkeys([*self._paths, *heads]))
        self.is_possible = named.html is None and "json" not in settings.passthrough.values()

    def read(self, data: bytes, file: str, offset: int) -> tuple[TextRows, Mask, Int64s, Int64s] | None:
        """Return the rows of a block of whole lines that begins at `offset` of its file, those that are odd
        (blank lines, too), and where each line starts and stops in the block. None where the block is not
        UTF-8 throughout: its lines are looked at one by one."""
        if not self.is_possible or not _is_utf8(data):
            return None
        block = np.frombuffer(data, np.uint8)
        found = scan_lines(block, data.count(b"\n"), self._names)
        odd = found.odd.astype(bool)
        columns = {name: _Found(*found.of(number)) for number, name in enumerate(self._names)}
        of_paths = {path: _resolve(block, columns, path, odd) for path in self._paths}
        cells = {role: _as_texts(block, of_paths[path], role == "text") for role, path in self._roles.items()}
        kinds = self._settings.passthrough
        beside = {path: _AS[kind](block, of_paths[path]) for path, kind in kinds.items()}
        lengths = found.line_stops - found.line_starts + 1
        lengths_too_large = lengths > self._settings.max_record_bytes
        places = (found.line_starts + offset, lengths, lengths)
        rows, by_value = text_rows(cells, beside, self._settings, file, places)
        return rows, odd | by_value | lengths_too_large, found.line_starts, found.line_stops


def _is_utf8(data: bytes) -> bool:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _heads(path: str) -> list[str]:
    """The columns that a path may lead into: `a` and `a.b` of `a.b.c`."""
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _resolve(block: npt.NDArray[np.uint8], columns: Mapping[str, _Found], path: str, odd: Mask) -> _Found:
    """Return the values of a column, or where a row lacks it, of the path into another; what is no plain
    object on the way is marked in `odd`."""
    whole = columns[path]
    heads = [head for head in _heads(path) if (columns[head].kinds != MISSING).any()]
    if not heads:
        return whole
    open_ends = whole.kinds == MISSING
    if len(heads) > 1:  # which of them it is differs by row: rare enough to be read row by row
        odd |= open_ends & np.logical_or.reduce([columns[head].kinds != MISSING for head in heads])
        return whole
    head = columns[heads[0]]
    is_object = open_ends & (head.kinds == OBJECT)
    odd |= open_ends & ((head.kinds == STRING) | (head.kinds == ESCAPED))  # perhaps an object, as text
    starts, stops = (np.where(is_object, places, 0) for places in (head.starts, head.stops))
    rest = path[len(heads[0]) + 1 :]
    names = [rest, *_heads(rest)]
    inner = scan_objects(block, starts, stops, names)
    odd |= inner.odd.astype(bool)
    below = {name: _Found(*inner.of(number)) for number, name in enumerate(names)}
    found = _resolve(block, below, rest, odd)
    pairs = ((whole.kinds, found.kinds), (whole.starts, found.starts), (whole.stops, found.stops))
    return _Found(*(np.where(is_object, theirs, ours) for ours, theirs in pairs))


def _as_texts(block: npt.NDArray[np.uint8], found: _Found, strings_only: bool = False) -> Cells:
    """Strings and integers as large_string; whatever else is a value is odd."""
    kinds = found.kinds
    is_string = (kinds == STRING) | (kinds == ESCAPED)
    taken = is_string if strings_only else is_string | (kinds == INTEGER)
    odd = ~taken & (kinds != NULL) & (kinds != MISSING)
    if not strings_only:
        odd |= _long_or_signed_zero(block, found)
    return Cells(_spelled(block, found, taken), odd, bool((kinds == MISSING).all()))


def _long_or_signed_zero(block: npt.NDArray[np.uint8], found: _Found) -> Mask:
    """Integers that are not spelled as they are written: `-0`, and those that a parser may read as floats."""
    places = np.flatnonzero(found.kinds == INTEGER)
    sizes = found.stops[places] - found.starts[places]
    zero = (
        (sizes == 2)
        & (block[found.starts[places]] == ord("-"))
        & (block[found.stops[places] - 1] == ord("0"))
    )
    odd = np.zeros(len(found.kinds), bool)
    odd[places] = zero | (sizes > _INT64_DIGITS)
    return odd


def _spelled(block: npt.NDArray[np.uint8], found: _Found, taken: Mask) -> pa.Array:
    starts, stops = (np.where(taken, places, 0) for places in (found.starts, found.stops))
    ends, data = unescape(block, found.kinds, starts, stops)
    valid = None if taken.all() else pa.py_buffer(np.packbits(taken, bitorder="little"))
    buffers = [valid, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(taken), buffers)


def _as_integers(block: npt.NDArray[np.uint8], found: _Found) -> Cells:
    kinds = found.kinds
    odd = (kinds != INTEGER) & (kinds != NULL) & (kinds != MISSING)
    too_long = found.stops - found.starts > _INT64_DIGITS
    taken = (kinds == INTEGER) & ~too_long
    values = pc.cast(_spelled(block, found, taken), pa.int64())
    return Cells(values, odd | ((kinds == INTEGER) & too_long), bool((kinds == MISSING).all()))


def _as_floats(block: npt.NDArray[np.uint8], found: _Found) -> Cells:
    kinds = found.kinds
    is_number = (kinds == INTEGER) | (kinds == FLOAT)
    taken = is_number & (found.stops - found.starts <= _EXACT_DIGITS)
    odd = ~taken & (kinds != NULL) & (kinds != MISSING)
    values = pc.cast(_spelled(block, found, taken), pa.float64())
    return Cells(values, odd, bool((kinds == MISSING).all()))


def _as_booleans(block: npt.NDArray[np.uint8], found: _Found) -> Cells:
    kinds = found.kinds
    taken = (kinds == TRUE) | (kinds == FALSE)
    odd = ~taken & (kinds != NULL) & (kinds != MISSING)
    return Cells(pa.array(kinds == TRUE, mask=~taken), odd, bool((kinds == MISSING).all()))


_AS = {"string": _as_texts, "int64": _as_integers, "float64": _as_floats, "bool": _as_booleans}
