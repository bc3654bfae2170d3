"""Plain text: one file, one document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gristmill.document import text_key
from gristmill.pipeline.sources.archives.members import Damaged
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.pieces import inflated_pieces
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd, Record
from gristmill.pipeline.sources.wellformed import clean_text
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings


def read_text(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    """Yield the one document of a text file, then the `RangeEnd`. Text that is no UTF-8 is a failure: a guess
    would be silent."""
    origin = Origin(source.shown, 0, window.size)
    yield _document(window, source.path, settings, origin)
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


def _document(window: ByteWindow, path: str, settings: SourceSettings, origin: Origin) -> Record | Failure:
    if window.size == 0:
        return Failure("empty_file", "the file has no bytes", origin, 0)
    try:
        data = _content(window, path, settings.max_record_bytes)
        text = data.decode("utf-8-sig")
    except Damaged as damage:
        return Failure(damage.error, damage.message, origin, 0)
    except UnicodeDecodeError as error:
        return Failure("invalid_utf8", f"byte {error.start}: {error.reason}", origin, len(data))
    text = clean_text(text)
    columns = dict.fromkeys(settings.passthrough)
    return Record(
        text_key(None, text),
        None,
        None,
        origin,
        len(data),
        text=text,
        content_type="text/plain",
        columns=columns,
        absent=tuple(columns),
        has_own_key=False,
    )


def _content(window: ByteWindow, path: str, max_bytes: int) -> bytes:
    pieces, got = [], 0
    for piece in inflated_pieces(window, path):
        pieces.append(piece)
        got += len(piece)
        if got > max_bytes:
            raise Damaged("too_large", f"more than the {max_bytes} bytes allowed")
    return b"".join(pieces)


FORMATS = (InputFormat("text", (".txt", ".text", ".md", ".rst", ".py"), "never", read_text),)
