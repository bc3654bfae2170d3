"""The loop that reads web archives, WARC and ARC alike: whole records come out, damage is stepped over and
counted.

    with open_window(source, settings) as window:
        for item in read_archive(window, source, WARC, max_record_bytes):
            ...                       # Record | NotDocument | Failure, and one RangeEnd, last

A range owns the records that start in it. Its last record may reach beyond its end, and the range says where:
`RangeEnd.next` of one must be `RangeEnd.first` of the following.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from gristmill.pipeline.sources.archives.cursor import MAX_DISCARDED_BYTES, Cursor, PlainFile
from gristmill.pipeline.sources.archives.lengths import (
    START_BYTES,
    is_end,
    leads_nowhere,
    passes_over,
    steps_over,
    wrong_length,
)
from gristmill.pipeline.sources.archives.members import (
    Damaged,
    Members,
    appended_codecs,
    codec_by_name,
    sniff_codec,
)
from gristmill.pipeline.sources.record import (
    NOTHING_STARTS,
    Failure,
    InputRange,
    Item,
    NotDocument,
    Origin,
    RangeEnd,
    Record,
)
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.format import Reader
    from gristmill.pipeline.sources.settings import SourceSettings

_MAX_HEAD_BYTES = 1 << 18


@dataclass(slots=True)
class Head:
    """A record's own header, whatever the archive's form."""

    kind: str
    length: int
    url: str | None = None
    date: str | None = None
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Grammar(Protocol):
    """How one archive form writes records."""

    name: str
    start: re.Pattern[bytes]  # matches at the first byte of a record

    # where in misread bytes, at `at` or later and before `end`, the next record starts, or -1
    def find_restart(self, data: bytes, at: int, end: int | None = None) -> int: ...
    # length of the record header at `at`, -1 if it is not complete
    def head_end(self, data: bytes, at: int = 0) -> int: ...
    def parse_head(self, head: bytes) -> Head: ...  # raises ValueError
    def make(self, head: Head, block: bytes, origin: Origin) -> Record | NotDocument: ...


def archive_reader(grammar: Grammar) -> Reader:
    """Return the reader of an input format whose files are archives of this form."""

    def read(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
        return read_archive(window, source, grammar, settings.max_record_bytes)

    return read


def read_archive(
    window: ByteWindow, source: InputRange, grammar: Grammar, max_record_bytes: int
) -> Iterator[Item]:
    """Yield what starts in a range of an archive, then its `RangeEnd`."""
    if window.size == 0:
        yield Failure("empty_file", "the file has no bytes", Origin(source.shown, 0, 0), 0)
        yield RangeEnd(source.shown, 0, 0, 0, 0)
        return
    try:
        codec = sniff_codec(window)
    except Damaged as damage:
        yield from unreadable(damage, source, window)
        return
    if codec is None and not grammar.start.match(window.head(256).lstrip(b"\r\n")):
        codec = codec_by_name(source.path, window)
    members = (
        Members(window, codec, grammar.start, source.start)
        if codec
        else PlainFile(window, grammar.find_restart, source.start)
    )
    reader = _Reader(Cursor(members), source, grammar, max_record_bytes)
    first = members.resync(source.start, source.end) if source.start else 0
    if first >= source.end:
        yield RangeEnd(source.shown, source.start, source.end, NOTHING_STARTS, NOTHING_STARTS)
        return
    yield from reader.items()
    yield RangeEnd(source.shown, source.start, source.end, first, reader.next_offset)


def unreadable(damage: Damaged, source: InputRange, window: ByteWindow) -> Iterator[Item]:
    """A file of which nothing can be read is one failure, of its first range."""
    if source.start == 0:
        yield Failure(damage.error, damage.message, Origin(source.shown, 0, window.size), 0)
    yield RangeEnd(source.shown, source.start, source.end, source.start, source.end)


class _Reader:
    def __init__(self, cursor: Cursor, source: InputRange, grammar: Grammar, max_record_bytes: int) -> None:
        self._cursor, self._source, self._grammar, self._max = cursor, source, grammar, max_record_bytes
        self.next_offset = source.start
        self._has_lied = False  # a header, about its block's length
        self._has_lied_far = False  # the same beyond what is kept

    def items(self) -> Iterator[Item]:
        cursor = self._cursor
        while True:
            self.next_offset = cursor.members.position
            try:
                if not self._at_record():
                    return
            except Damaged as damage:
                yield self._lost(damage, cursor.members.offset, None)
                continue
            yield from self._record()

    def _at_record(self) -> bool:
        """Go to the next non-blank byte, over member ends; False when the range or the file is done."""
        cursor = self._cursor
        while not cursor.skip_blank():
            if cursor.members.position >= self._source.end and cursor.members.at_record():
                self.next_offset = cursor.members.position
                return False
            if not cursor.open():
                self.next_offset = cursor.members.position
                return False
        if cursor.plain and cursor.offset() >= self._source.end and self._at_start():
            self.next_offset = cursor.offset()
            return False
        return True

    def _enters_members(self) -> bool:
        """Go on with compressed members where they follow plain records; to the file's end, since no other
        range looks for them."""
        cursor = self._cursor
        if not isinstance(cursor.members, PlainFile):
            return False
        window, offset = cursor.members.window, cursor.offset()
        for codec in appended_codecs(window, offset):
            members = Members(window, codec, self._grammar.start, offset)
            if members.at_record():
                self._cursor = Cursor(members)
                self._source = replace(self._source, end=window.size)
                return True
        return False

    def _at_start(self) -> bool:
        cursor = self._cursor
        if self._grammar.start.match(cursor.buffer, cursor.at):
            return True
        while len(data := cursor.peek(START_BYTES)) < START_BYTES and cursor.extend():
            pass
        return bool(self._grammar.start.match(data))

    def _record(self) -> Iterator[Item]:
        cursor, head = self._cursor, None
        start = cursor.offset()
        try:
            if not self._at_start() and self._enters_members():
                return
            if not self._at_start():
                yield from self._junk(start, "junk", f"no {self._grammar.name} record starts here")
                return
            raw = self._read_head()
            if raw is None:
                cursor.at += 1  # what looked like a record is none: look behind its first byte
                yield from self._junk(start, "bad_header", "the record's header does not end")
                return
            try:
                head = self._grammar.parse_head(raw)
            except ValueError as error:
                yield from self._junk(start, "bad_header", str(error))
                return
            yield from self._block(head, start, len(raw))
        except Damaged as damage:
            yield self._lost(damage, start, head)

    def _read_head(self) -> bytes | None:
        cursor = self._cursor
        while (end := self._grammar.head_end(cursor.buffer, cursor.at)) < 0:
            if len(cursor.buffer) - cursor.at > _MAX_HEAD_BYTES or not (cursor.more() or cursor.extend()):
                return None
        head = cursor.buffer[cursor.at : cursor.at + end]
        cursor.at += end
        return head

    def _block(self, head: Head, start: int, head_bytes: int) -> Iterator[Item]:
        cursor, grammar = self._cursor, self._grammar
        if head.length > self._max:
            yield self._oversized(head, start, head_bytes)
            return
        if self._has_lied and (problem := steps_over(cursor, grammar, head.length)):
            yield self._failure(head, start, self._wrong_or_cut(), problem)
            return
        block, got = cursor.take(head.length, True)
        while got < head.length and not cursor.members.at_record():
            if not cursor.open():  # a record may go on in the next member
                break
            rest, more = cursor.take(head.length - got, True)
            block, got = block + rest, got + more
        behind = cursor.peek(START_BYTES)
        ends = got == head.length and is_end(grammar, block[-1:], behind)
        if not ends and (problem := wrong_length(cursor, grammar, head.length, block)):
            self._has_lied = True
            yield self._failure(head, start, self._wrong_or_cut(), problem)
            return
        if got < head.length:
            yield self._cut(head, start, got)
            return
        is_longer = bool(not ends and head.length and behind[:1].strip() and not grammar.start.match(behind))
        end = cursor.offset() if cursor.plain else self._member_end()
        item = grammar.make(head, block, Origin(self._source.shown, start, end - start))
        if is_longer and isinstance(item, Record):
            item.notes = (*item.notes, "more_than_promised")
        yield item

    def _oversized(self, head: Head, start: int, head_bytes: int) -> Failure:
        """Step over a record that is larger than what is kept, or says so."""
        cursor, grammar = self._cursor, self._grammar
        if problem := leads_nowhere(cursor, grammar, head.length):
            raise Damaged("wrong_length", problem)
        if cursor.plain:
            got = cursor.take(head.length, False)[1]
        else:
            got, problem = passes_over(cursor, grammar, head.length, head_bytes, self._has_lied_far)
        if problem:
            self._has_lied_far = True
            return self._failure(head, start, self._wrong_or_cut(), problem)
        if got < head.length:
            return self._cut(head, start, got)
        message = f"{head.length} bytes, more than the {self._max} allowed"
        return self._failure(head, start, "too_large", message, head.length)

    def _cut(self, head: Head, start: int, got: int) -> Failure:
        return self._failure(
            head, start, "truncated", f"the header promises {head.length} bytes, {got} are there"
        )

    def _member_end(self) -> int:
        """Return where the current member ends, if that is known once its trailing blank lines are read."""
        cursor = self._cursor
        cursor.skip_blank()
        return (
            cursor.members.position if cursor.ended else max(cursor.members.position, cursor.members.offset)
        )

    def _wrong_or_cut(self) -> str:
        """Name what a header is that promises too much: of a file that was read to its end, what is missing
        may have been there."""
        is_end = self._cursor.members.position >= self._source.size
        return "truncated" if is_end else "wrong_length"

    def _junk(self, start: int, error: str, message: str) -> Iterator[Item]:
        """Step over inflated bytes that are no record, to the next one in this member or to the member's
        end."""
        cursor, skipped = self._cursor, 0
        while (restart := self._grammar.find_restart(cursor.buffer, cursor.at)) < 0:
            keep = min(
                len(cursor.buffer) - cursor.at, 1 << 12
            )  # a record's first line may lie across two pieces
            skipped += len(cursor.buffer) - cursor.at - keep
            cursor.at = len(cursor.buffer) - keep
            if skipped > MAX_DISCARDED_BYTES:
                raise Damaged(error, message)
            if not cursor.more():
                skipped += len(cursor.buffer) - cursor.at
                cursor.at = len(cursor.buffer)
                break
        else:
            skipped += restart - cursor.at
            cursor.at = restart
        end = cursor.offset() if cursor.plain else cursor.members.position
        yield Failure(
            error,
            f"{message}; {skipped} bytes skipped",
            Origin(self._source.shown, start, max(end - start, 0)),
            0,
        )

    def _failure(self, head: Head, start: int, error: str, message: str, payload_bytes: int = 0) -> Failure:
        cursor = self._cursor
        end = cursor.offset() if cursor.plain else cursor.members.position
        return Failure(
            error,
            message,
            Origin(self._source.shown, start, max(end - start, 0)),
            payload_bytes,
            head.key,
            head.url,
        )

    def _lost(self, damage: Damaged, start: int, head: Head | None) -> Failure:
        """Go to the next place where a record can start, and say what lies between."""
        members = self._cursor.members
        end = self._cursor.resync(members.behind_damage(max(start, members.offset), self._source.end))
        origin = Origin(self._source.shown, start, end - start)
        return Failure(
            damage.error, damage.message, origin, 0, head.key if head else None, head.url if head else None
        )
