"""The bytes of a file that is one stream, inflated where it is compressed, a piece at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gristmill.pipeline.sources.archives.members import Damaged, Members, codec_by_name, sniff_codec
from gristmill.pipeline.sources.window import ByteWindow

_PIECE_BYTES = 1 << 20
_ANYTHING = re.compile(b"")


def inflated_pieces(window: ByteWindow, path: str) -> Iterator[bytes]:
    """Yield a file's content; raises Damaged where it ends or is broken before its end."""
    codec = sniff_codec(window)
    if codec is None and (promised := codec_by_name(path, window)):
        raise Damaged("junk", f"the file's name promises {promised.name}, its content is something else")
    if codec is None:
        at = 0
        while piece := window.read(at, _PIECE_BYTES):
            yield piece
            at += len(piece)
        return
    members = Members(window, codec, _ANYTHING, is_padded=True)
    while members.open():
        while piece := members.read():
            yield piece
