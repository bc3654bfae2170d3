"""Lines of JSON as places of values: one pass over a buffer, nothing copied, no object made.

A line is *plain* where it is an object of this grammar (RFC 8259) whose wanted keys come once and unescaped;
any other is `odd`, whatever is wrong or only rare about it, and is for the careful reader: lone surrogates,
U+0000, nesting beyond `_MAX_DEPTH`, a key said twice. What is called plain here is therefore an object for
every parser, with the same values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.lanes import LANES, address_of, between, copy_bytes, lowest, window

MISSING, NULL, STRING, ESCAPED, INTEGER, FLOAT, EXPONENT, TRUE, FALSE, OBJECT, ARRAY = range(11)
_ODD = -1
_MAX_DEPTH = 60  # of values that are stepped over: a bit for each in one word

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C")
_KINDS = types.Array(types.int8, 1, "C")
_OUT = types.Array(types.uint8, 1, "C")
_ROOM = types.Array(types.uint64, 1, "C")
_TABLE = np.zeros(256, np.uint8)  # 1: ends or interrupts the plain part of a string
_TABLE[:32] = 1
_TABLE[[34, 92]] = 1


class Scanned:
    """For each line and each wanted name: the kind of its value, and where that lies (of a string: between
    its quotes)."""

    def __init__(self, num_lines: int, num_names: int) -> None:
        self.num_names = num_names
        self.line_starts, self.line_stops = np.empty(num_lines, np.int64), np.empty(num_lines, np.int64)
        self.kinds = np.zeros(num_lines * num_names, np.int8)
        self.starts, self.stops = np.zeros(len(self.kinds), np.int64), np.zeros(len(self.kinds), np.int64)
        self.odd = np.zeros(num_lines, np.int8)

    def of(self, number: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Kinds, starts and stops of one name's values."""
        every = slice(number, None, self.num_names)
        return tuple(np.ascontiguousarray(of[every]) for of in (self.kinds, self.starts, self.stops))  # type: ignore[return-value]


def scan_lines(data: npt.NDArray[np.uint8], num_lines: int, names: Sequence[str]) -> Scanned:
    """Scan a buffer of whole lines, each with its line end; blank lines are odd."""
    found = Scanned(num_lines, len(names))
    spelled, ends = _spell(names)
    _scan_lines(
        data, spelled, ends, found.line_starts, found.line_stops, found.kinds, found.starts, found.stops,
        found.odd,
    )  # fmt: skip
    return found


def scan_objects(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    names: Sequence[str],
) -> Scanned:
    """Scan objects that lie between these places; where a start is not before its stop nothing is found."""
    found = Scanned(len(starts), len(names))
    found.line_starts[:], found.line_stops[:] = starts, stops
    spelled, ends = _spell(names)
    _scan_objects(data, spelled, ends, starts, stops, found.kinds, found.starts, found.stops, found.odd)
    return found


def unescape(
    data: npt.NDArray[np.uint8],
    kinds: npt.NDArray[np.int8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Copy values out, strings without their escapes: offsets of n + 1, and bytes of UTF-8."""
    ends = np.empty(len(starts) + 1, np.int64)
    out = np.empty(int((stops - starts).sum()), np.uint8)
    _unescape(data, kinds, starts, stops, np.empty(LANES // 8, np.uint64), ends, out)
    return ends, out[: ends[-1]]


def _spell(names: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    spelled = [name.encode("utf-8", "surrogatepass") for name in names]
    ends = np.cumsum([0, *map(len, spelled)]).astype(np.int64)
    return np.frombuffer(b"".join(spelled), np.uint8), ends


@part
def _blank(data, at, stop):  # type: ignore[no-untyped-def]
    while at < stop and (data[at] == 32 or data[at] == 9 or data[at] == 13 or data[at] == 10):
        at += 1
    return at


@part
def _hex(data, at):  # type: ignore[no-untyped-def]
    """Four hexadecimal digits as a number, -1 where they are none."""
    value = 0
    for i in range(at, at + 4):
        code = data[i]
        if 48 <= code <= 57:
            digit = code - 48
        elif 97 <= (code | 32) <= 102:
            digit = (code | 32) - 87
        else:
            return -1
        value = value * 16 + digit
    return value


@part
def _string(data, at, stop):  # type: ignore[no-untyped-def]
    """From behind a quote to the closing one: (its place or -1, whether there are escapes)."""
    escaped = False
    while True:
        while at < stop and _TABLE[data[at]] == 0:
            at += 1
        if at >= stop:
            return _ODD, escaped
        code = data[at]
        if code == 34:
            return at, escaped
        if code != 92 or at + 1 >= stop:
            return _ODD, escaped
        escaped = True
        code = data[at + 1]
        if code == 117:
            if at + 6 > stop:
                return _ODD, escaped
            unit = _hex(data, at + 2)
            if unit <= 0 or 0xDC00 <= unit <= 0xDFFF:
                return _ODD, escaped
            at += 6
            if 0xD800 <= unit <= 0xDBFF:
                if at + 6 > stop or data[at] != 92 or data[at + 1] != 117:
                    return _ODD, escaped
                low = _hex(data, at + 2)
                if not 0xDC00 <= low <= 0xDFFF:
                    return _ODD, escaped
                at += 6
        elif (
            code == 34 or code == 92 or code == 47 or code == 98 or code == 102 or code == 110
            or code == 114 or code == 116
        ):  # fmt: skip
            at += 2
        else:
            return _ODD, escaped


@part
def _digits(data, at, stop):  # type: ignore[no-untyped-def]
    while at < stop and 48 <= data[at] <= 57:
        at += 1
    return at


@part
def _number(data, at, stop):  # type: ignore[no-untyped-def]
    """A number: (where it ends or -1, its kind)."""
    kind = INTEGER
    if data[at] == 45:
        at += 1
    first = at
    at = _digits(data, at, stop)
    if at == first or (data[first] == 48 and at > first + 1):
        return _ODD, kind
    if at < stop and data[at] == 46:
        kind = FLOAT
        first = at + 1
        at = _digits(data, first, stop)
        if at == first:
            return _ODD, kind
    if at < stop and (data[at] | 32) == 101:
        kind = EXPONENT
        at += 1
        if at < stop and (data[at] == 43 or data[at] == 45):
            at += 1
        first = at
        at = _digits(data, first, stop)
        if at == first:
            return _ODD, kind
    return at, kind


@part
def _word(data, at, stop):  # type: ignore[no-untyped-def]
    """`true`, `false` or `null`: (where it ends or -1, its kind)."""
    if at + 4 <= stop:
        if data[at] == 116 and data[at + 1] == 114 and data[at + 2] == 117 and data[at + 3] == 101:
            return at + 4, TRUE
        if data[at] == 110 and data[at + 1] == 117 and data[at + 2] == 108 and data[at + 3] == 108:
            return at + 4, NULL
        if (
            at + 5 <= stop and data[at] == 102 and data[at + 1] == 97 and data[at + 2] == 108
            and data[at + 3] == 115 and data[at + 4] == 101
        ):  # fmt: skip
            return at + 5, FALSE
    return _ODD, NULL


@part
def _nested(data, at, stop):  # type: ignore[no-untyped-def]
    """Step over an object or array that begins at `at`: where it ends, or -1."""
    depth = 0
    objects = np.uint64(0)  # a bit for each open bracket, the innermost lowest
    one = np.uint64(1)
    wants_value = True  # a value must follow; else a comma or the end of the innermost
    while True:
        at = _blank(data, at, stop)
        if at >= stop:
            return _ODD
        code = data[at]
        if wants_value:
            if code == 123 or code == 91:
                if depth == _MAX_DEPTH:
                    return _ODD
                depth += 1
                objects = (objects << one) | (one if code == 123 else np.uint64(0))
                at = _blank(data, at + 1, stop)
                if at >= stop:
                    return _ODD
                if data[at] == (125 if code == 123 else 93):
                    at += 1
                    depth -= 1
                    objects >>= one
                    wants_value = False
                elif code == 123:
                    at = _key(data, at, stop)
                    if at < 0:
                        return _ODD
            else:
                if code == 34:
                    at, _ = _string(data, at + 1, stop)
                    at = at + 1 if at >= 0 else at
                elif code == 45 or 48 <= code <= 57:
                    at, _ = _number(data, at, stop)
                else:
                    at, _ = _word(data, at, stop)
                if at < 0:
                    return _ODD
                wants_value = False
        elif code == 44:
            at = _blank(data, at + 1, stop)
            if objects & one:
                at = _key(data, at, stop)
                if at < 0:
                    return _ODD
            wants_value = True
        elif code == (125 if objects & one else 93):
            at += 1
            depth -= 1
            objects >>= one
        else:
            return _ODD
        if depth == 0:
            return at


@part
def _key(data, at, stop):  # type: ignore[no-untyped-def]
    """Step over a key and its colon: where its value may begin, or -1."""
    if at >= stop or data[at] != 34:
        return _ODD
    at, _ = _string(data, at + 1, stop)
    if at < 0:
        return _ODD
    at = _blank(data, at + 1, stop)
    if at >= stop or data[at] != 58:
        return _ODD
    return at + 1


@part
def _which(data, start, stop, names, ends):  # type: ignore[no-untyped-def]
    """The number of the wanted name that a key is, -1 for none."""
    for number in range(len(ends) - 1):
        first = ends[number]
        if ends[number + 1] - first == stop - start:
            same = True
            for i in range(stop - start):
                if names[first + i] != data[start + i]:
                    same = False
                    break
            if same:
                return number
    return -1


@part
def _object(data, at, stop, names, ends, row, kinds, starts, stops):  # type: ignore[no-untyped-def]
    """Read an object, noting the values of wanted keys: where it ends, or -1."""
    base = row * (len(ends) - 1)
    at = _blank(data, at, stop)
    if at >= stop or data[at] != 123:
        return _ODD
    at = _blank(data, at + 1, stop)
    if at < stop and data[at] == 125:
        return at + 1
    while True:
        if at >= stop or data[at] != 34:
            return _ODD
        first = at + 1
        last, escaped = _string(data, first, stop)
        if last < 0 or escaped:
            return _ODD
        wanted = _which(data, first, last, names, ends)
        at = _blank(data, last + 1, stop)
        if at >= stop or data[at] != 58:
            return _ODD
        at = _blank(data, at + 1, stop)
        if at >= stop:
            return _ODD
        code, first = data[at], at
        if code == 34:
            first += 1
            last, escaped = _string(data, first, stop)
            if last < 0:
                return _ODD
            at = last + 1
            kind = ESCAPED if escaped else STRING
        else:
            if code == 123 or code == 91:
                kind = OBJECT if code == 123 else ARRAY
                at = _nested(data, at, stop)
            elif code == 45 or 48 <= code <= 57:
                at, kind = _number(data, at, stop)
            else:
                at, kind = _word(data, at, stop)
            if at < 0:
                return _ODD
            last = at
        if wanted >= 0:
            if kinds[base + wanted] != MISSING:
                return _ODD
            kinds[base + wanted], starts[base + wanted], stops[base + wanted] = kind, first, last
        at = _blank(data, at, stop)
        if at >= stop:
            return _ODD
        if data[at] == 125:
            return at + 1
        if data[at] != 44:
            return _ODD
        at = _blank(data, at + 1, stop)


@part
def _one(data, at, stop, names, ends, row, kinds, starts, stops):  # type: ignore[no-untyped-def]
    """Whether exactly one plain object lies between two places; else no value is noted of it."""
    end = _object(data, at, stop, names, ends, row, kinds, starts, stops)
    if end >= 0 and _blank(data, end, stop) == stop:
        return True
    width = len(ends) - 1
    for i in range(row * width, (row + 1) * width):
        kinds[i], starts[i], stops[i] = MISSING, 0, 0
    return False


@kernel(types.void(BYTES, BYTES, _INTS, _INTS, _INTS, _KINDS, _INTS, _INTS, _KINDS))
def _scan_lines(data, names, ends, line_starts, line_stops, kinds, starts, stops, odd):  # type: ignore[no-untyped-def]
    at = 0
    for row in range(len(line_starts)):
        stop = at
        while data[stop] != 10:
            stop += 1
        line_starts[row], line_stops[row] = at, stop
        odd[row] = 0 if _one(data, at, stop, names, ends, row, kinds, starts, stops) else 1
        at = stop + 1


@kernel(types.void(BYTES, BYTES, _INTS, _PLACES, _PLACES, _KINDS, _INTS, _INTS, _KINDS))
def _scan_objects(data, names, ends, firsts, lasts, kinds, starts, stops, odd):  # type: ignore[no-untyped-def]
    for row in range(len(firsts)):
        if firsts[row] < lasts[row]:
            whole = _one(data, firsts[row], lasts[row], names, ends, row, kinds, starts, stops)
            odd[row] = 0 if whole else 1


@part
def _put(out, at, point):  # type: ignore[no-untyped-def]
    """Write a code point in UTF-8; return where it ends."""
    if point < 0x80:
        out[at] = point
        return at + 1
    if point < 0x800:
        out[at] = 0xC0 | (point >> 6)
        out[at + 1] = 0x80 | (point & 63)
        return at + 2
    if point < 0x10000:
        out[at] = 0xE0 | (point >> 12)
        out[at + 1] = 0x80 | ((point >> 6) & 63)
        out[at + 2] = 0x80 | (point & 63)
        return at + 3
    out[at] = 0xF0 | (point >> 18)
    out[at + 1] = 0x80 | ((point >> 12) & 63)
    out[at + 2] = 0x80 | ((point >> 6) & 63)
    out[at + 3] = 0x80 | (point & 63)
    return at + 4


@part
def _to_backslash(data, at, stop, room):  # type: ignore[no-untyped-def]
    """How many bytes from here on come before a backslash, of the next 64."""
    size = min(stop - at, LANES)
    return min(lowest(between(window(data, at, stop, room), 92, 92)), size)


@kernel(types.void(BYTES, _KINDS, _PLACES, _PLACES, _ROOM, _INTS, _OUT))
def _unescape(data, kinds, starts, stops, room, ends, out):  # type: ignore[no-untyped-def]
    source, target = address_of(data), address_of(out)
    to = 0
    ends[0] = 0
    for row in range(len(starts)):
        at, stop = starts[row], stops[row]
        if kinds[row] != ESCAPED:
            copy_bytes(source + np.uint64(at), target + np.uint64(to), stop - at)
            to += stop - at
        else:
            while at < stop:
                plain = _to_backslash(data, at, stop, room)
                if plain:
                    copy_bytes(source + np.uint64(at), target + np.uint64(to), plain)
                    at, to = at + plain, to + plain
                    continue
                code = data[at + 1]
                if code == 117:
                    point = _hex(data, at + 2)
                    at += 6
                    if 0xD800 <= point <= 0xDBFF:
                        point = 0x10000 + ((point - 0xD800) << 10) + (_hex(data, at + 2) - 0xDC00)
                        at += 6
                    to = _put(out, to, point)
                    continue
                if code == 110:
                    code = 10
                elif code == 116:
                    code = 9
                elif code == 114:
                    code = 13
                elif code == 98:
                    code = 8
                elif code == 102:
                    code = 12
                out[to] = code
                at, to = at + 2, to + 1
        ends[row + 1] = to
