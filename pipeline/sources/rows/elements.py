"""The elements of a JSON array, cut out of a stream of bytes.

Only quotes, brackets and commas are looked at, each byte once; what lies between is for a JSON parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARK = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')


class Elements:
    """Cut top-level arrays into their elements: `feed` yields (offset, bytes) of each that is complete.

    An element longer than `max_bytes` is given out as (offset, None). Several arrays may follow one another;
    `stray` is where something else lies between or behind them, and nothing is read from there on.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._depth = 0
        self._in_string = False
        self._skip = 0  # of the next bytes, those that a backslash has taken
        self._pieces: list[bytes] = []
        self._at = 0
        self.start = 0  # of the element that is pending
        self.num_pending = 0
        self.stray: int | None = None

    @property
    def is_open(self) -> bool:
        return self._depth > 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        at, begin, self._skip = self._skip, 0, 0
        while self.stray is None and (found := self._pattern().search(data, at)):
            at, mark = found.end(), found.group()
            if mark == b"\\":
                at += 1  # whatever it escapes
                continue
            if self._depth == 0:
                begin = self._open(data, begin, found.start())
                continue
            if mark == b'"':
                self._in_string = not self._in_string
            elif mark in b"[{":
                self._depth += 1
            elif mark in b"]}":
                self._depth -= 1
            if self._depth == 0 or (mark == b"," and self._depth == 1):
                yield self._take(data[begin : at - 1])
                begin, self.start = at, self._at + at
        self._skip = max(at - len(data), 0)
        self._end_of_piece(data, begin)

    def _pattern(self) -> re.Pattern[bytes]:
        return _IN_STRING if self._in_string else _MARK

    def _open(self, data: bytes, begin: int, mark: int) -> int:
        """Go into an array; anything but blanks before it, or another mark, is astray."""
        if data[begin:mark].strip(b" \t\r\n\xef\xbb\xbf") or data[mark : mark + 1] != b"[":
            self.stray = self._at + begin
            return begin
        self._depth, self.start = 1, self._at + mark + 1
        return mark + 1

    def _end_of_piece(self, data: bytes, begin: int) -> None:
        if self._depth:
            self._keep(data[begin:])
        elif self.stray is None and data[begin:].strip(b" \t\r\n\xef\xbb\xbf"):
            self.stray = self._at + begin
        self._at += len(data)

    def _keep(self, data: bytes) -> None:
        self.num_pending += len(data)
        if self.num_pending > self._max:
            self._pieces.clear()
        else:
            self._pieces.append(data)

    def _take(self, last: bytes) -> tuple[int, bytes | None]:
        self._keep(last)
        whole = b"".join(self._pieces) if self.num_pending <= self._max else None
        self._pieces.clear()
        self.num_pending = 0
        return self.start, whole
