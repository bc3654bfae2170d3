"""The reader's place in the inflated bytes of an archive, and uncompressed archives seen as one member."""

from __future__ import annotations

import re
from collections.abc import Callable

from gristmill.pipeline.sources.archives.members import Damaged, Members
from gristmill.pipeline.sources.window import ByteWindow

MAX_DISCARDED_BYTES = (
    1 << 30
)  # inflated to step over one oversized record; beyond it the rest of the member is given up
_PLAIN_PIECE_BYTES = 1 << 16
SEAM_BYTES = 1 << 13  # a record's first line may lie across two pieces, or the promised end of the one before
_LINE_ENDS = re.compile(rb"[\r\n]*+")


def _too_far() -> Damaged:
    return Damaged("too_large", f"more than {MAX_DISCARDED_BYTES} bytes inflated to step over one record")


class PlainFile:
    """An uncompressed archive behind the interface of `Members`: one member, from `position` to the end of
    the file."""

    def __init__(self, window: ByteWindow, find_restart: Callable[[bytes, int], int], position: int) -> None:
        self.window, self._find_restart = window, find_restart
        self.position = self.offset = position

    @property
    def inflated(self) -> int:
        return self.position - self.offset

    def at_record(self) -> bool:
        return self.position >= self.window.size

    def open(self) -> bool:
        self.offset = self.position
        return self.position < self.window.size

    def read(self) -> bytes:
        piece = self.window.read(self.position, _PLAIN_PIECE_BYTES)
        self.position += len(piece)
        return piece

    def behind_damage(self, start: int, end: int) -> int:
        return start + 1

    def resync(self, since: int, before: int | None = None) -> int:
        """Move `position` to the first record in [since, before), else to the file's end; return it."""
        start = self.first_record(since, before)
        self.position = self.offset = start if start >= 0 else self.window.size
        return self.position

    def first_record(self, since: int, before: int | None = None) -> int:
        """Return where the first record in [since, before) starts, or -1."""
        at, overlap = max(since - 4, 0), 1 << 14  # a record's first line may lie across two pieces
        while piece := self.window.read_exactly(at, 1 << 20):
            start = self._find_restart(piece, max(since - at, 0))
            if start >= 0 and (before is None or at + start < before):
                return at + start
            if start >= 0 or len(piece) <= overlap or (before is not None and at >= before):
                break
            at += len(piece) - overlap
        return -1


class Cursor:
    """Where the reader is in the inflated bytes of the current member."""

    def __init__(self, members: Members | PlainFile) -> None:
        self.members = members
        self.plain = isinstance(members, PlainFile)
        self.buffer, self.at, self.ended = b"", 0, True
        self._damage: Damaged | None = None

    def open(self) -> bool:
        """Start the next member; False at the end of the file."""
        self.buffer, self.at, self.ended, self._damage = b"", 0, False, None
        return self.members.open()

    def extend(self) -> bool:
        """Go on into the next member with what is left of this one; False if a record starts there, or
        nothing."""
        if self.plain or self.members.at_record():
            return False
        rest = self.buffer[self.at :]
        self.open()
        self.buffer = rest
        return True

    def resync(self, since: int) -> int:
        """Drop what is read and go where the next record can start, at `since` or later."""
        self.buffer, self.at, self.ended, self._damage = b"", 0, True, None
        return self.members.resync(since)

    def more(self) -> bool:
        """Read on; False at the end of the member."""
        if self._damage:
            raise self._damage
        piece = b"" if self.ended else self.members.read()
        if not piece:
            self.ended = True
            return False
        self.buffer = self.buffer[self.at :] + piece if self.at < len(self.buffer) else piece
        self.at = 0
        return True

    def offset(self) -> int:
        """Where in the file this byte lies: its own place if plain, else its member's."""
        return self.members.position - len(self.buffer) + self.at if self.plain else self.members.offset

    def skip_blank(self) -> bool:
        """Step over line ends; False at the end of the member."""
        while True:
            if self.at < len(self.buffer):
                if self.buffer[self.at] not in b"\r\n":
                    return True
                self.at = _LINE_ENDS.match(self.buffer, self.at).end()  # type: ignore[union-attr]
                if self.at < len(self.buffer):
                    return True
            if not self.more():
                return False

    def peek(self, num_bytes: int) -> bytes:
        while len(self.buffer) - self.at < num_bytes and self.more():
            pass
        return self.buffer[self.at : self.at + num_bytes]

    def take(self, num_bytes: int, keep: bool) -> tuple[bytes, int]:
        """Read up to `num_bytes` of the member, joined if `keep`; also return how many there were."""
        pieces, got = [], 0
        while got < num_bytes:
            if self.at >= len(self.buffer) and not self.more():
                break
            piece = (
                self.buffer[self.at : self.at + num_bytes - got]
                if self.at or len(self.buffer) > num_bytes - got
                else self.buffer
            )
            self.at += len(piece)
            got += len(piece)
            if keep:
                pieces.append(piece)
            elif got > MAX_DISCARDED_BYTES:
                raise _too_far()
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), got

    @property
    def place(self) -> int:
        """How many inflated bytes of the current member lie before this one; less than none in what is left
        over from the member before."""
        return self.members.inflated - len(self.buffer) + self.at

    def pass_over(
        self, num_bytes: int, find_restart: Callable[[bytes, int], int], stops: bool
    ) -> tuple[int, int, Damaged | None]:
        """Read over up to `num_bytes` of the member. Return how many there were, where among them the first
        record starts, -1 if none does, and why it goes no further; stop at that record if `stops`."""
        got, found, tail = 0, -1, b""
        while got < num_bytes:
            try:
                if self.at >= len(self.buffer) and not self.more():
                    break
            except Damaged as damage:
                return got, found, damage
            piece = self.buffer[self.at : self.at + num_bytes - got]
            self.at += len(piece)
            got += len(piece)
            if found < 0:
                seen = tail + piece
                if (at := find_restart(seen, 0)) >= 0:
                    found = got - len(seen) + at
                    if stops:
                        self.push_back(seen[at:])
                        break
                tail = seen[-SEAM_BYTES:]
            if got > MAX_DISCARDED_BYTES:
                return got, found, _too_far()
        return got, found, None

    def go_back(self, offset: int, place: int) -> None:
        """Go to a byte of the member at `offset` once more: what lies before it is inflated again."""
        self.members.position = offset
        self.open()
        while place > 0 and self.more():
            self.at = min(place, len(self.buffer))
            place -= self.at

    def fill(self, num_bytes: int) -> int:
        """Have the next bytes of the member in the buffer and return how many of them there are.

        Where more is read it is twice what is asked, so that asking for a little more each time costs no
        more.
        """
        if len(self.buffer) - self.at < num_bytes and not self.ended:
            pieces = [self.buffer[self.at :]]
            got = len(pieces[0])
            try:
                while got < 2 * num_bytes and (piece := self.members.read()):
                    pieces.append(piece)
                    got += len(piece)
                self.ended = got < 2 * num_bytes
            except Damaged as damage:
                self._damage = damage  # for whoever gets there
            self.buffer, self.at = b"".join(pieces), 0
        if len(self.buffer) - self.at < num_bytes and self._damage:
            raise self._damage
        return min(num_bytes, len(self.buffer) - self.at)

    def push_back(self, data: bytes) -> None:
        """Give bytes back, to be read again."""
        self.buffer, self.at = data + self.buffer[self.at :], 0
