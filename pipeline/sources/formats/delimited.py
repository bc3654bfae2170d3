"""CSV and TSV with a header line: one record a row, one failed row a bad one."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from gristmill.pipeline.sources.archives.archive import unreadable
from gristmill.pipeline.sources.archives.members import Damaged
from gristmill.pipeline.sources.format import COMPRESSIONS, InputFormat, plain_name
from gristmill.pipeline.sources.pieces import inflated_pieces
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows.arrow_rows import wanted_paths
from gristmill.pipeline.sources.rows.row import RowReader, Unreadable
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_MOST_COLUMNS = 1 << 17  # of a record: each takes some sixty bytes, and its mark in the file is one


def read_csv(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    """Yield the rows of a file, then the `RangeEnd`; quoted fields may hold line ends (RFC 4180).

    The origin of a row is its place and length in the inflated file; in one in UTF-16, which its byte order
    mark tells, those of the same text in UTF-8.
    """
    if window.size == 0:
        yield Failure("empty_file", "the file has no bytes", Origin(source.shown, 0, 0), 0)
        yield RangeEnd(source.shown, 0, 0, 0, 0)
        return
    lines = _Lines(window, source.path, settings.max_record_bytes)
    try:
        yield from _rows(lines, source.shown, settings)
    except Damaged as damage:
        if not lines.offset:
            yield from unreadable(damage, source, window)
            return
        yield Failure(damage.error, damage.message, Origin(source.shown, lines.offset, 0), 0)
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


class _Lines:
    """Lines as `csv` wants them, bytes that are no UTF-8 as lone surrogates; counts where it is."""

    def __init__(self, window: ByteWindow, path: str, max_bytes: int) -> None:
        self._pieces = _in_utf8(inflated_pieces(window, path))
        self._max = max_bytes
        self.offset = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        pending: list[bytes] = []
        num_pending, end = 0, b""
        for piece in self._pieces:
            end = end or (b"\r" if b"\r" in piece and b"\n" not in piece else b"\n")  # CR alone: old Macs
            *whole, rest = piece.split(end)
            for line in whole:
                pending.append(line + b"\n")
                yield self._line(b"".join(pending))
                pending, num_pending = [], 0
            pending.append(rest)
            num_pending += len(rest)
            if num_pending > self._max:
                raise Damaged("too_large", f"a line of more than {self._max} bytes")
        if num_pending:
            yield self._line(b"".join(pending))
        self.ended = True

    def _line(self, line: bytes) -> str:
        if not self.offset:
            line = line.removeprefix(b"\xef\xbb\xbf")
        self.offset += len(line)
        return line.decode("utf-8", "surrogateescape")


def _in_utf8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pass bytes on; those of a file in UTF-16, as spreadsheets write it, in UTF-8."""
    first = next(pieces, b"")
    if first[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield first
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    for piece in chain([first], pieces):
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


class _Records:
    """Lines as `csv.reader` takes them, which has no bound but that of a field: raises `csv.Error` for a
    record of more bytes or columns than one may have."""

    def __init__(self, lines: Iterator[str], delimiter: str, max_bytes: int) -> None:
        self._lines, self._delimiter, self._max_bytes = lines, delimiter, max_bytes
        self.begin()

    def begin(self) -> None:
        """Begin a record with the next line."""
        self._quoted = False
        self._num_bytes = self._num_marks = self._num_columns = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, was_quoted = next(self._lines), self._quoted
        self._quoted ^= bool(line.count('"') & 1)
        self._num_bytes += len(line)
        if self._num_bytes > self._max_bytes:
            raise csv.Error(f"a record larger than {self._max_bytes:,} bytes")
        self._num_marks += line.count(self._delimiter)
        if self._num_marks > _MOST_COLUMNS:  # nearly never; they may be the commas of a long text
            self._num_columns += _num_outside(line, self._delimiter, quoted=was_quoted)
            if self._num_columns > _MOST_COLUMNS:
                raise csv.Error(f"a record larger than {_MOST_COLUMNS:,} columns")
        return line

    def skip(self) -> None:
        """Go on to the end of a quoted field that is open: what is left of it is no record."""
        while self._quoted and (line := next(self._lines, "")):
            self._quoted ^= bool(line.count('"') & 1)


def _num_outside(line: str, mark: str, *, quoted: bool) -> int:
    """How often a mark stands outside of quotes in a line that begins inside of them, or not."""
    data = np.frombuffer(line.encode("utf-8", "surrogateescape"), np.uint8)
    inside = np.logical_xor.accumulate(data == ord('"')) ^ quoted
    return int(np.count_nonzero((data == ord(mark)) & ~inside))


def _rows(lines: _Lines, path: str, settings: SourceSettings) -> Iterator[Item]:
    name = plain_name(path)
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    csv.field_size_limit(settings.max_record_bytes)
    given = iter(lines)
    first = next(given, "")
    delimiter = "\t" if name.endswith(".tsv") else _delimiter(first, settings)
    records = _Records(chain([first], given), delimiter, settings.max_record_bytes)
    rows = csv.reader(records, delimiter=delimiter)
    reader = RowReader(settings)
    header: list[str] | None = None
    while True:
        start = lines.offset if header else 0
        records.begin()
        try:
            fields = next(rows, None)
        except csv.Error as error:
            is_large = "larger than" in str(error)
            if is_large:
                records.skip()
            kind = "too_large" if is_large else "not_csv"
            if header is None:  # the next row is none
                raise Damaged(kind, f"its header: {error}") from error
            yield Failure(kind, str(error), Origin(path, start, lines.offset - start), 0)
            continue
        if fields is None:
            return
        origin = Origin(path, start, lines.offset - start)
        if lines.ended:  # more lines were asked for: a quote is open
            yield Failure("truncated", "a quoted field does not end", origin, origin.length)
        elif header is None:
            header = [
                column.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for column in fields
            ]
            twice = [column for column, num in Counter(header).items() if num > 1]
            if asked := [column for column in twice if column in wanted_paths(settings)]:
                raise Damaged("repeated_column", f"the header names the column `{asked[0]}` twice")
        elif fields:
            yield _record(header, fields, reader, origin)


def _delimiter(line: str, settings: SourceSettings) -> str:
    """Return what separates the columns of a header: of comma, semicolon, tab and bar the first under which
    it names the column of texts."""
    wanted = settings.columns.html or settings.columns.text
    for mark in ",;\t|":
        with suppress(csv.Error):  # of too many columns under this mark
            if wanted in next(csv.reader(_Records(iter([line]), mark, len(line)), delimiter=mark), []):
                return mark
    return ","


def _record(header: list[str], fields: list[str], reader: RowReader, origin: Origin) -> Item:
    if len(fields) != len(header):
        message = f"{len(fields)} fields, the header names {len(header)} columns"
        return Failure("not_csv", message, origin, origin.length)
    row = {column: _cell(field) for column, field in zip(header, fields, strict=True)}
    return reader.read(row, origin, origin.length)


def _cell(field: str) -> str | Unreadable:
    try:
        field.encode()
    except UnicodeEncodeError as error:
        return Unreadable("invalid_utf8", f"character {error.start} is no UTF-8")
    return field


FORMATS = (InputFormat("csv", (".csv", ".tsv"), "never", read_csv),)
