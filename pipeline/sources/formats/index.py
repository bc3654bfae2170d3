"""Index listings: rows that say where records lie, which are then fetched by range, one by one.

`cdx` reads CDX and CDXJ lines, `ccindex` Parquet files with the columns of Common Crawl's columnar index (or
plain `url`, `filename`, `offset`, `length`). What `select` leaves out is counted and never fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from gristmill.errors import InputError
from gristmill.files.disk import open_file
from gristmill.pipeline.sources.archives.archive import read_archive, unreadable
from gristmill.pipeline.sources.archives.members import Damaged
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.formats.parquet import open_parquet, row_group_batches
from gristmill.pipeline.sources.formats.warc import WARC
from gristmill.pipeline.sources.path_list import place_below, place_from
from gristmill.pipeline.sources.pieces import inflated_pieces
from gristmill.pipeline.sources.record import Failure, InputRange, Item, NotDocument, Origin, RangeEnd
from gristmill.pipeline.sources.rows.arrow_bounds import cut_by_size
from gristmill.pipeline.sources.rows.arrow_rows import one_line
from gristmill.pipeline.sources.window import ByteWindow
from gristmill.redact import public_url
from gristmill.text.languages import language_code
from gristmill.urls import host_of

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_BATCH_ROWS = 64
_INDEX_ROWS = 1024
_NUM_THREADS = 8
_MAX_LINE_BYTES = 1 << 20
_MAX_OFFSET = 1 << 62
# The letters of a CDX header (archive.org/web/researcher/cdx_legend.php) and the order of eleven fields.
_LETTERS = {"a": "url", "m": "mime", "s": "status", "S": "length", "V": "offset", "g": "filename"}
_ELEVEN = ["N", "b", "a", "m", "s", "k", "r", "M", "S", "V", "g"]
# Common Crawl's columns (commoncrawl.org/columnar-index), and names that say it plainly.
_COLUMNS = {
    "url": ("url",),
    "filename": ("warc_filename", "filename"),
    "offset": ("warc_record_offset", "offset"),
    "length": ("warc_record_length", "length"),
    "mime": ("content_mime_detected", "mime-detected", "mime"),
    "status": ("fetch_status", "status"),
    "languages": ("content_languages", "languages"),
}


@dataclass(frozen=True, slots=True)
class IndexRow:
    """Where a record lies, and what is known of it before it is fetched."""

    filename: str
    offset: int
    length: int
    url: str
    status: int | None = None
    mime: str | None = None
    languages: tuple[str, ...] = ()


def read_cdx(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    """Yield the records that the selected lines of a CDX or CDXJ file name, then the `RangeEnd`."""
    try:
        yield from _records(_cdx_rows(window, source), source, settings)
    except Damaged as damage:
        yield from unreadable(damage, source, window)
        return
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


def read_ccindex(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    """Yield the records that the selected rows of a Parquet index name, then the `RangeEnd`."""
    try:
        yield from _records(_parquet_rows(window, source), source, settings)
    except MemoryError:  # Arrow's is an ArrowException, too: the machine's state is no damage
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of a column's name
        yield from unreadable(Damaged("not_parquet", one_line(error)), source, window)
        return
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


def _records(
    rows: Iterable[IndexRow | Failure], source: InputRange, settings: SourceSettings
) -> Iterator[Item]:
    chosen = _selector(settings)
    pending = iter(rows)
    place_of = _placer(source, settings)
    fetch = _fetcher(place_of, settings)
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        while batch := list(islice(pending, _BATCH_ROWS)):
            wanted = [row for row in batch if isinstance(row, IndexRow) and chosen(row)]
            fetched = dict(zip(map(id, wanted), pool.map(fetch, wanted), strict=True))
            for row in batch:
                if isinstance(row, Failure):
                    yield row
                elif id(row) in fetched:
                    yield from _in_record(row, place_of, fetched[id(row)], settings)
                else:
                    yield NotDocument("not_selected", Origin(source.shown, 0, 0), 0)


def _in_record(
    row: IndexRow, place_of: Callable[[IndexRow], str], data: bytes | Failure, settings: SourceSettings
) -> Iterator[Item]:
    """Read the bytes that a row names as the archive they are; origins are those of the archive."""
    if isinstance(data, Failure):
        yield data
        return
    window = ByteWindow(row.filename, len(data), lambda start, end: data[start:end], max(len(data), 1))
    whole = InputRange(place_of(row), len(data), "", 0, len(data))
    for item in read_archive(window, whole, WARC, settings.max_record_bytes):
        if not isinstance(item, RangeEnd):
            origin = replace(item.origin, offset=row.offset + item.origin.offset)
            if isinstance(item, NotDocument | Failure):
                yield replace(item, origin=origin)
            else:
                item.origin = origin
                yield item


def _placer(source: InputRange, settings: SourceSettings) -> Callable[[IndexRow], str]:
    """Return what says where a row's archive lies; it raises ValueError for a row that leads out of the
    source's `prefix`, or without one from another machine to files of this one."""
    if settings.prefix:
        prefix = settings.prefix
        return lambda row: place_below(prefix, row.filename)
    return lambda row: place_from(source.path, "", row.filename)


def _fetcher(
    place_of: Callable[[IndexRow], str], settings: SourceSettings
) -> Callable[[IndexRow], bytes | Failure]:
    """Return what fetches the bytes of one row: a failed row for what is not there or is too large."""
    access = settings.access()

    def fetch(row: IndexRow) -> bytes | Failure:
        try:
            place = place_of(row)
        except ValueError as error:
            named = Origin(public_url(row.filename), row.offset, row.length)
            return Failure("outside", f"the index names {error}", named, 0, url=row.url)
        origin = Origin(public_url(place), row.offset, row.length)
        if not 0 < row.length <= settings.max_record_bytes:
            return Failure("too_large", f"{row.length} bytes in the index", origin, 0, url=row.url)
        try:
            if "://" in place:
                from gristmill.pipeline.sources.remote import read_part

                data = read_part(place, row.offset, row.offset + row.length, access)
            else:
                with os.fdopen(open_file(place), "rb") as file:
                    file.seek(row.offset)
                    data = file.read(row.length)
        except (InputError, OSError) as error:
            if isinstance(error, InputError) and not isinstance(error.__cause__, FileNotFoundError):
                raise
            return Failure("not_fetched", one_line(error), origin, 0, url=row.url)
        if len(data) < row.length:
            return Failure("truncated", f"{len(data)} bytes of {row.length}", origin, 0, url=row.url)
        return data

    return fetch


def _selector(settings: SourceSettings) -> Callable[[IndexRow], bool]:
    """Return whether a row is asked for: nothing has been read of its record."""
    select = settings.select
    hosts = tuple(f".{host.lower().strip('.')}" for host in select.hosts)
    languages = {language_code(name) for name in select.languages}

    def chosen(row: IndexRow) -> bool:
        if hosts and not f".{host_of(row.url)}".endswith(hosts):
            return False
        if languages and not languages & {language_code(name) for name in row.languages}:
            return False
        if select.statuses and row.status is not None and row.status not in select.statuses:
            return False
        return not (select.mimes and row.mime is not None and row.mime not in select.mimes)

    return chosen


def _cdx_rows(window: ByteWindow, source: InputRange) -> Iterator[IndexRow | Failure]:
    letters: Sequence[str] = _ELEVEN
    offset = 0
    for line in _lines(inflated_pieces(window, source.path)):
        start, offset = offset, offset + len(line) + 1
        text = line.decode("utf-8", "replace").strip("\r")
        if text.startswith(" CDX "):
            letters = text.split()[1:]
        elif text.strip():
            row = _cdx_row(text, letters)
            yield row or Failure("not_cdx", text[:200], Origin(source.shown, start, len(line)), 0)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > _MAX_LINE_BYTES:
            raise Damaged("too_large", f"a line of more than {_MAX_LINE_BYTES} bytes")
    if rest:
        yield rest


def _cdx_row(text: str, letters: Sequence[str]) -> IndexRow | None:
    at = text.find("{")
    if at >= 0 and text.rstrip().endswith("}"):
        try:
            said = orjson.loads(text[at:])
        except orjson.JSONDecodeError:
            return None
        return _row(said) if isinstance(said, dict) else None
    fields = text.split(" ")
    if len(fields) != len(letters):
        return None
    return _row(
        {_LETTERS[letter]: field for letter, field in zip(letters, fields, strict=True) if letter in _LETTERS}
    )


def _row(said: Mapping[str, Any]) -> IndexRow | None:
    found = {name: next((said[key] for key in keys if key in said), None) for name, keys in _COLUMNS.items()}
    try:
        offset, length = int(found["offset"]), int(found["length"])  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    if not 0 <= offset <= _MAX_OFFSET or not isinstance(found["filename"], str) or not found["filename"]:
        return None
    status = str(found["status"])
    languages = tuple(str(found["languages"] or "").split(","))
    mime = found["mime"] if found["mime"] not in ("-", None) else None
    return IndexRow(
        found["filename"],
        offset,
        length,
        str(found["url"] or ""),
        int(status) if status.isdecimal() else None,
        mime,
        tuple(name for name in languages if name),
    )


def _parquet_rows(window: ByteWindow, source: InputRange) -> Iterator[IndexRow | Failure]:
    file = open_parquet(window)
    known = {key for keys in _COLUMNS.values() for key in keys}
    names = [name for name in file.schema_arrow.names if name in known]
    number = 0
    for group in range(file.num_row_groups):
        for batch in row_group_batches(file, group, names, window, _INDEX_ROWS):
            for part in cut_by_size(batch):
                for said in [{}] if isinstance(part, int) else part.to_pylist():
                    origin = Origin(source.shown, number, 1)
                    yield _row(said) or Failure("not_cdx", "no file, offset and length", origin, 0)
                    number += 1


FORMATS = (
    InputFormat("cdx", (".cdx", ".cdxj"), "never", read_cdx),
    InputFormat("ccindex", (), "never", read_ccindex),
)
