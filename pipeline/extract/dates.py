"""Dates as sources write them, in milliseconds since 1970: one by one, and whole columns of plain ones.

milliseconds("2024-01-31T12:30:00Z")
milliseconds_of(column)                # of large_string: plain ones by a kernel, others one by one
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.words import text_spans

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C")
_ODD = types.Array(types.uint8, 1, "C")
_DAY_MS = 86_400_000


def milliseconds(date: str | None) -> int | None:
    """Parse a date as sources write them, into milliseconds since 1970; None where it is not one.

    ISO 8601, `20240131123000`, seconds or milliseconds since 1970. What names no time zone is UTC.
    """
    if not date:
        return None
    try:
        if date.isdecimal() and len(date) in (10, 13):
            return int(date) * (1000 if len(date) == 10 else 1)
        compact = date.isdecimal() and len(date) == 14
        parsed = datetime.strptime(date, "%Y%m%d%H%M%S") if compact else datetime.fromisoformat(date.strip())
        elapsed = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return (elapsed.days * 86_400 + elapsed.seconds) * 1000 + elapsed.microseconds // 1000


def milliseconds_of(dates: pa.LargeStringArray) -> pa.Array:
    """Return `milliseconds` of each date of a column, as timestamps."""
    if not len(dates) or dates.null_count == len(dates):
        return pa.nulls(len(dates), pa.timestamp("ms", tz="UTC"))
    starts, stops, data = text_spans(dates)
    numbers, odd = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.uint8)
    _dates(data, np.ascontiguousarray(starts), np.ascontiguousarray(stops), numbers, odd)
    missing = np.asarray(dates.is_null())
    places = np.flatnonzero((odd == 1) & ~missing)
    for place, date in zip(places.tolist(), dates.take(pa.array(places)).to_pylist(), strict=True):
        number = milliseconds(date)
        missing[place], numbers[place] = number is None, number or 0
    return pa.array(numbers, pa.int64(), mask=missing).cast(pa.timestamp("ms", tz="UTC"))


@part
def _two(data, at):  # type: ignore[no-untyped-def]
    """Two digits as a number, -1 where they are none."""
    if 48 <= data[at] <= 57 and 48 <= data[at + 1] <= 57:
        return (data[at] - 48) * 10 + data[at + 1] - 48
    return -1


@part
def _days(year, month, day):  # type: ignore[no-untyped-def]
    """Days from 1970-01-01 in the Gregorian calendar (Hinnant, chrono-compatible low-level date
    algorithms)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@part
def _last_day(year, month):  # type: ignore[no-untyped-def]
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@part
def _plain(data, at, stop):  # type: ignore[no-untyped-def]
    """Milliseconds of `YYYY-MM-DD`, with a time behind `T` or a blank, a fraction and a zone: (whether it is
    that, the number)."""
    if stop - at < 10 or data[at + 4] != 45 or data[at + 7] != 45:
        return False, np.int64(0)
    century, years, month, day = _two(data, at), _two(data, at + 2), _two(data, at + 5), _two(data, at + 8)
    year = century * 100 + years
    if century < 0 or years < 0 or year < 1 or not 1 <= month <= 12 or not 1 <= day <= _last_day(year, month):
        return False, np.int64(0)
    found = np.int64(_days(np.int64(year), np.int64(month), np.int64(day))) * _DAY_MS
    at += 10
    if at == stop:
        return True, found
    if stop - at < 9 or (data[at] != 84 and data[at] != 32) or data[at + 3] != 58 or data[at + 6] != 58:
        return False, np.int64(0)
    hour, minute, second = _two(data, at + 1), _two(data, at + 4), _two(data, at + 7)
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return False, np.int64(0)
    found += ((np.int64(hour) * 60 + minute) * 60 + second) * 1000
    at += 9
    if at < stop and data[at] == 46:
        at += 1
        first, scale = at, 100
        while at < stop and 48 <= data[at] <= 57:
            found += np.int64(data[at] - 48) * scale
            scale //= 10
            at += 1
        if not 1 <= at - first <= 6:
            return False, np.int64(0)
    if at == stop or (at + 1 == stop and data[at] == 90):
        return True, found
    if stop - at != 6 or (data[at] != 43 and data[at] != 45) or data[at + 3] != 58:
        return False, np.int64(0)
    hour, minute = _two(data, at + 1), _two(data, at + 4)
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        return False, np.int64(0)
    ahead = (np.int64(hour) * 60 + minute) * 60_000
    return True, found - ahead if data[at] == 43 else found + ahead


@kernel(types.void(BYTES, _PLACES, _PLACES, _NUMBERS, _ODD))
def _dates(data, starts, stops, numbers, odd):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        if starts[row] < stops[row]:
            plain, numbers[row] = _plain(data, starts[row], stops[row])
            odd[row] = 0 if plain else 1
        else:
            odd[row] = 1
