"""JSON lines, plain or compressed: one record a line, one failed row a bad line."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from gristmill.pipeline.sources.archive import unreadable
from gristmill.pipeline.sources.elements import Elements
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.members import Damaged, Members, codec_by_name, sniff_codec
from gristmill.pipeline.sources.pieces import inflated_pieces
from gristmill.pipeline.sources.record import NOTHING_STARTS, Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows import RowReader
from gristmill.pipeline.sources.values import exact_integer, exact_number, holds_float
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_PIECE_BYTES = 1 << 20
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


def read_jsonl(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
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
            # What is pending was cut; whole lines before it are already out.
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


def _read_array(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
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


def _read_plain(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
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
    """Cut bytes into lines and lines into records; `offset` is where the pending line starts."""

    def __init__(self, settings: SourceSettings, path: str, offset: int) -> None:
        self._settings, self._path, self._offset = settings, path, offset
        self._exact = exact_columns(settings)
        self._reader = RowReader(settings)
        self._pieces: list[bytes] = []
        self.pending = 0
        self._skipping = False

    @property
    def at_line_start(self) -> bool:
        return self.pending == 0

    def feed(self, data: bytes) -> Iterator[Item]:
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            line = b"".join([*self._pieces, data[at:end]]) if self._pieces else data[at:end]
            length = self.pending + end + 1 - at
            yield from self._line(line, length)
            self._offset += length
            self._pieces, self.pending, self._skipping = [], 0, False
            at = end + 1
        if at < len(data):
            self.pending += len(data) - at
            if self.pending > self._settings.max_record_bytes:
                self._pieces, self._skipping = [], True
            else:
                self._pieces.append(data[at:])

    def finish(self) -> Iterator[Item]:
        """A last line without a line end counts."""
        if self.pending:
            yield from self._line(b"".join(self._pieces), self.pending)
            self._offset += self.pending
        self.drop()

    def drop(self) -> None:
        """Forget the pending line."""
        self._offset += self.pending
        self._pieces, self.pending, self._skipping = [], 0, False

    def element(self, offset: int, element: bytes | None) -> Iterator[Item]:
        """Make a record of an element of an array; None stands for one beyond the bound."""
        self._offset, self._skipping = offset, element is None
        yield from self._line(element or b"", len(element or b""))

    def _line(self, line: bytes, length: int) -> Iterator[Item]:
        origin = Origin(self._path, self._offset, length)
        if self._skipping:
            yield Failure(
                "too_large",
                f"a line of {length} bytes, more than {self._settings.max_record_bytes}",
                origin,
                length,
            )
            return
        if not line.strip():
            return
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
