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
_LINE_ENDS = re.compile(rb"[\r\n]*+")


class PlainFile:
    """An uncompressed archive behind the interface of `Members`: one member, from `position` to the end of
    the file."""

    def __init__(self, window: ByteWindow, find_restart: Callable[[bytes, int], int], position: int) -> None:
        self.window, self._find_restart = window, find_restart
        self.position = self.offset = position

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
        if self.at < len(self.buffer) and self.buffer[self.at] not in b"\r\n":
            return True
        while True:
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
                raise Damaged(
                    "too_large", f"more than {MAX_DISCARDED_BYTES} bytes inflated to step over one record"
                )
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), got

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
