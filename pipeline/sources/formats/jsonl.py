"""JSON lines, plain or compressed: one record a line, one failed row a bad line."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from gristmill.pipeline.sources.archives.archive import unreadable
from gristmill.pipeline.sources.archives.members import Damaged, Members, codec_by_name, sniff_codec
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.pieces import inflated_pieces
from gristmill.pipeline.sources.record import NOTHING_STARTS, Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows.elements import Elements
from gristmill.pipeline.sources.rows.row import RowReader
from gristmill.pipeline.sources.rows.text_rows import TextRows, interleaved
from gristmill.pipeline.sources.rows.values import exact_integer, exact_number, holds_float
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.rows.json_columns import JsonColumns
    from gristmill.pipeline.sources.settings import SourceSettings

_PIECE_BYTES = 1 << 20
_BLOCK_BYTES = 4 << 20
_START = re.compile(rb"\s*[{\[]")
_HEAD_BYTES = 1 << 12
# An array of objects, or an object whose first key begins on a line of its own.
_START_OF_ROWS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(\[)\s*+[{\]]|(?:\xef\xbb\xbf)?\s*+(\{)[ \t]*+\r?\n\s*+\""
)
_PRETTY = (
    "a pretty-printed JSON object, over several lines; rows are one object a line, or an array of objects"
    " (`jq -c . FILE` writes lines)"
)


def read_jsonl(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item | TextRows]:
    """Yield the rows that start in a range, then its `RangeEnd`; a compressed file is one range."""
    if window.size == 0:
        yield Failure("empty_file", "the file has no bytes", Origin(source.shown, 0, 0), 0)
    try:
        codec = sniff_codec(window)
    except Damaged as damage:
        yield from unreadable(damage, source, window)
        return
    if codec is None and window.size and not _START.match(window.head(256)):
        codec = codec_by_name(source.path, window)
    head = _START_OF_ROWS.match(_first_bytes(window, source.path))
    if head and head.group(1) == b"[":
        yield from _read_array(window, source, settings)
        return
    if head:
        yield from unreadable(Damaged("pretty_printed", _PRETTY), source, window)
        return
    if codec is None:
        yield from _read_plain(window, source, settings)
        return
    lines = _Lines(settings, source.shown, 0)
    members = Members(window, codec, _START, is_padded=True)
    while True:
        try:
            if not members.open():
                break
            while piece := members.read():
                yield from lines.feed(piece)
        except Damaged as damage:
            # What is pending was cut; whole lines before it are given out first.
            yield from lines.take_whole()
            lost_from = members.offset
            end = members.resync(members.behind_damage(lost_from, window.size))
            lines.drop()
            yield Failure(damage.error, damage.message, Origin(source.shown, lost_from, end - lost_from), 0)
    yield from lines.finish()
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


def _first_bytes(window: ByteWindow, path: str) -> bytes:
    try:
        return next(inflated_pieces(window, path), b"")[:_HEAD_BYTES]
    except Damaged:
        return b""  # for the readers below to say


def _read_array(
    window: ByteWindow, source: InputRange, settings: SourceSettings
) -> Iterator[Item | TextRows]:
    """The elements of one array are rows; they belong to the range in which the file begins."""
    if source.start == 0:
        lines, elements = _Lines(settings, source.shown, 0), Elements(settings.max_record_bytes)
        damage: Damaged | None = None
        try:
            for piece in inflated_pieces(window, source.path):
                for offset, element in elements.feed(piece):
                    yield from lines.element(offset, element)
        except Damaged as found:
            damage = found
        if elements.stray is not None:
            origin = Origin(source.shown, elements.stray, 0)
            yield Failure("junk", "something else follows an array of rows", origin, 0)
        elif damage or elements.is_open:
            damage = damage or Damaged("truncated", "the array does not end")
            origin = Origin(source.shown, elements.start, elements.num_pending)
            yield Failure(damage.error, damage.message, origin, 0)
    whole = NOTHING_STARTS if source.start else 0
    yield RangeEnd(source.shown, source.start, source.end, whole, whole if source.start else window.size)


def _read_plain(
    window: ByteWindow, source: InputRange, settings: SourceSettings
) -> Iterator[Item | TextRows]:
    """A range owns the lines that start in it: a line across its end is its own, one across its start is
    not."""
    first = source.start
    if first:
        line_end = window.find(b"\n", first - 1, source.end - 1)
        if line_end < 0:
            yield RangeEnd(source.shown, source.start, source.end, NOTHING_STARTS, NOTHING_STARTS)
            return
        first = line_end + 1
    lines, at = _Lines(settings, source.shown, first), first
    while at < source.end and (piece := window.read(at, min(_PIECE_BYTES, source.end - at))):
        yield from lines.feed(piece)
        at += len(piece)
    while (
        lines.pending and not lines.at_line_start and (piece := window.read(at, 1 << 14))
    ):  # the line across the end
        end = piece.find(b"\n") + 1
        yield from lines.feed(piece[:end] if end else piece)
        at += end or len(piece)
        if end:
            break
    yield from lines.finish()
    yield RangeEnd(source.shown, source.start, source.end, first, at)


class _Lines:
    """Cut bytes into lines and lines into records; `offset` is where what is pending starts.

    Pieces are gathered to blocks of some megabytes, whose whole lines are read by columns where the source's
    settings allow; a line that is odd is read by itself.
    """

    def __init__(self, settings: SourceSettings, path: str, offset: int) -> None:
        self._settings, self._path, self._offset = settings, path, offset
        self._exact = exact_columns(settings)
        self._reader = RowReader(settings)
        self._columns: JsonColumns | None = None
        self._pieces: list[bytes] = []
        self._num_whole = 0  # of the pending bytes, those up to the last line end
        self.pending = 0
        self._skipping = False
        self._read_any = False

    @property
    def at_line_start(self) -> bool:
        return self.pending == self._num_whole and not self._skipping

    def feed(self, data: bytes) -> Iterator[Item | TextRows]:
        """Take the next bytes; what they complete is given out a block at a time."""
        if not data:
            return
        if self._skipping:
            end = data.find(b"\n") + 1
            self.pending += end or len(data)
            if not end:
                return
            yield self._too_large(self._offset, self.pending)
            self._forget(self.pending)
            data = data[end:]
            if not data:
                return
        if (end := data.rfind(b"\n") + 1) > 0:
            self._num_whole = self.pending + end
        self._pieces.append(data)
        self.pending += len(data)
        if self._num_whole >= _BLOCK_BYTES:
            yield from self.take_whole()
        if self.pending - self._num_whole > self._settings.max_record_bytes:
            yield from self.take_whole()
            self._pieces, self._skipping = [], True

    def take_whole(self) -> Iterator[Item | TextRows]:
        """Give out the whole lines that are pending."""
        if not self._num_whole:
            return
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        block = data if self._num_whole == len(data) else data[: self._num_whole]
        yield from self._block(block)
        rest = data[len(block) :]
        self._forget(len(block))
        self._pieces, self.pending = [rest] if rest else [], len(rest)

    def finish(self) -> Iterator[Item | TextRows]:
        """A last line without a line end counts."""
        yield from self.take_whole()
        if self._skipping:
            yield self._too_large(self._offset, self.pending)
        elif self.pending:
            yield from self._line(b"".join(self._pieces), self._offset, self.pending)
        self._forget(self.pending)

    def drop(self) -> None:
        """Forget the pending line."""
        self._forget(self.pending)

    def element(self, offset: int, element: bytes | None) -> Iterator[Item]:
        """Make a record of an element of an array; None stands for one beyond the bound."""
        if element is None:
            yield self._too_large(offset, 0)
        else:
            yield from self._line(element, offset, len(element))

    def _forget(self, num_bytes: int) -> None:
        self._offset += num_bytes
        self._pieces, self.pending, self._num_whole, self._skipping = [], 0, 0, False

    def _block(self, block: bytes) -> Iterator[Item | TextRows]:
        """Read whole lines that begin at `_offset`: by columns, the first line of all and odd ones by
        themselves."""
        if self._columns is None:
            from gristmill.pipeline.sources.rows.json_columns import JsonColumns  # compiled kernels

            self._columns = JsonColumns(self._settings)
        found = self._columns.read(block, self._path, self._offset)
        if found is None:
            at = 0
            while at < len(block):
                end = block.find(b"\n", at) + 1
                yield from self._line(block[at : end - 1], self._offset + at, end - at)
                at = end
            return
        rows, odd, starts, stops = found
        if not self._read_any and not odd.all():
            odd[odd.argmin()] = self._read_any = True  # it says which columns there are, where one is absent

        def one(number: int) -> Iterator[Item]:
            start, stop = int(starts[number]), int(stops[number])
            yield from self._line(block[start:stop], self._offset + start, stop + 1 - start)

        yield from interleaved(rows, odd, one)

    def _too_large(self, offset: int, length: int) -> Failure:
        message = f"a line of {length} bytes, more than {self._settings.max_record_bytes}"
        return Failure("too_large", message, Origin(self._path, offset, length), length)

    def _line(self, line: bytes, offset: int, length: int) -> Iterator[Item]:
        if not line.strip():
            return
        if length > self._settings.max_record_bytes:
            yield self._too_large(offset, length)
            return
        origin = Origin(self._path, offset, length)
        row = parse_row(line, self._exact)
        if isinstance(row, str):
            error, _, message = row.partition(": ")
            yield Failure(error, message, origin, length)
        else:
            yield self._reader.read(row, origin, length)


def exact_columns(settings: SourceSettings) -> tuple[str, ...]:
    """Return the columns whose numbers must keep their digits: all that are used, but as floats or texts."""
    columns = settings.columns
    passed = [name for name, kind in settings.passthrough.items() if kind not in ("float64", "bool")]
    named = [name for name in (columns.id, columns.url, columns.date, *passed) if name]
    return tuple(dict.fromkeys([*named, *(name.partition(".")[0] for name in named)]))


def parse_row(line: bytes, exact: Sequence[str] = ()) -> dict[str, Any] | str:
    """Parse one line into an object, or say `error: message`.

    orjson refuses lone surrogates, which broken writers escape, and invalid UTF-8: the slow way repairs the
    first and names the second. It reads integers of 2^64 and more as floats: where a column of `exact` holds
    one, the line is read again with all digits.
    """
    try:
        row = orjson.loads(line)
        if isinstance(row, dict) and any(holds_float(row[name]) for name in exact if name in row):
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line, parse_float=exact_number, parse_int=exact_integer)
    except orjson.JSONDecodeError as error:
        try:
            row = json.loads(line.decode("utf-8-sig"), parse_float=exact_number, parse_int=exact_integer)
        except UnicodeDecodeError as undecodable:
            return f"invalid_utf8: byte {undecodable.start} of the line: {undecodable.reason}"
        except (ValueError, RecursionError):
            return f"not_json: {error}"
    return row if isinstance(row, dict) else f"not_an_object: a line of JSON that is {type(row).__name__}"


FORMATS = (InputFormat("jsonl", (".jsonl", ".ndjson", ".json"), "plain", read_jsonl),)
