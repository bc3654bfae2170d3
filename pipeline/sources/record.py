"""What reading a source yields: records, things that are no documents, losses, and where each range ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gristmill.redact import public_url

NOTHING_STARTS = -1
# Servers take 8,000 (RFC 9110 section 4.1) and browsers' address bars less; what parses URLs normalises their
# hosts, and that is quadratic in a row of combining marks.
MAX_URL_CHARACTERS = 1 << 14


@dataclass(frozen=True, slots=True)
class InputRange:
    """Bytes [start, end) of one input: a task owns what *starts* in them (a gzip member, a line, a row
    group)."""

    is_read_in_place: ClassVar[bool] = True  # with its source's access, and not as files of an output

    path: str
    size: int
    # etag, or mtime in nanoseconds: with path and size, the identity of an input that nobody has read
    version: str
    start: int
    end: int

    @property
    def shown(self) -> str:
        """The path as it is written down: without the signature of a presigned URL."""
        return public_url(self.path) if "://" in self.path else self.path


@dataclass(frozen=True, slots=True)
class InputShard:
    """The work of one task: ranges of one format, in order."""

    format: str
    ranges: tuple[InputRange, ...]
    limit: int | None = None  # records to read at most; a shard with a limit is the only one of its source

    @property
    def num_bytes(self) -> int:
        return sum(range_.end - range_.start for range_ in self.ranges)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record lies: byte offset and length as stored, in a compressed JSONL file as inflated."""

    file: str
    offset: int
    length: int


@dataclass(slots=True)
class Record:
    """One record that can become a document: a page to extract (`payload`) or a text as it is (`text`)."""

    key: str
    url: str | None
    date: str | None  # as written in the source; parsed when tables are built
    origin: Origin
    payload_bytes: int
    payload: bytes | None = None
    text: str | None = None
    status: int | None = None  # None where there was no HTTP
    content_type: str | None = None  # media type in lower case, without parameters
    charset: str | None = None  # as the header claims
    content_encoding: str = (
        ""  # as the header claims: gzip, br, ...; many archives claim it of decoded bodies
    )
    warc_headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    http_headers: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)  # a user's pass-through columns
    language: str | None = None  # as the source writes it, where its settings name a column
    own_id: str | None = None  # what the source calls the row, as written
    # whether `key` is the record's own: equal keys mean one record seen again, not two rows with equal texts
    has_own_key: bool = True
    notes: tuple[str, ...] = ()  # what was left out of the record, by name
    absent: tuple[str, ...] = ()  # columns that the source's settings name and the record lacks
    there: tuple[str, ...] = ()  # where some are absent: the columns that there are


# Of the notes those that say why a document is not all that was sent: `page.damage` says them as well.
_DAMAGE = {
    "chunks_break_off": "chunks: truncated",
    "chunks_damaged": "chunks: damaged",
    "shorter_than_promised": "body: shorter than its Content-Length",
    "more_than_promised": "record: longer than its Content-Length",
    "cut_by_crawler": "record: WARC-Truncated",
    "first_segment_only": "record: first segment only",
}


def damage_of(notes: tuple[str, ...], of_coding: str | None) -> str | None:
    """Say in one text what was wrong with a record and with its body's coding; None for nothing."""
    found = [_DAMAGE[note] for note in notes if note in _DAMAGE]
    return "; ".join([*found, of_coding] if of_coding else found) or None


@dataclass(frozen=True, slots=True)
class NotDocument:
    """A record that is not a document by its kind: warcinfo, request, metadata, revisit, ..."""

    kind: str
    origin: Origin
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A loss: one record, or a stretch of bytes in which none could be read."""

    error: str  # truncated, damaged_member, junk, wrong_length, too_large, not_json, ...
    message: str
    origin: Origin
    payload_bytes: int
    key: str | None = None
    url: str | None = None
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class RangeEnd:
    """What a range really covered: from the first record that starts in it to the first that does not.

    Both are `NOTHING_STARTS` where none does, as in the middle of a member of gigabytes.
    """

    path: str
    start: int
    end: int
    first: int
    next: int


Item = Record | NotDocument | Failure | RangeEnd  # beside `text_rows.TextRows`, from formats with columns
