"""Compressed files as what they are: members (gzip), frames (zstd, lz4), each inflated, checked and bounded
by itself.

Every reader of the field that streams through such a file loses what lies behind the first damaged byte, and
takes a truncated end for a complete one. Here each member ends well (its checksum holds) or raises `Damaged`,
and `resync` finds the next place where a record can start.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from gristmill.pipeline.sources.window import ByteWindow

try:
    from isal import isal_zlib
except ImportError:  # no wheel for this platform
    isal_zlib = None  # type: ignore[assignment]
_decompressobj: Callable[..., Any] = (
    isal_zlib or zlib
).decompressobj  # igzip: the same interface and bytes at more than twice the speed

_PIECE_BYTES = 1 << 15
_MAX_INFLATED_BYTES = 1 << 20  # of one step
_PEEK_BYTES = 64
# What broken members may inflate to before what they were read from is passed over: members that share a tail
# would inflate it again from each of their starts.
_MAX_WASTED_BYTES = 256 << 20
_MAX_WASTED_RATIO = 64
_ZSTD_PIECE_BYTES = (
    1 << 10
)  # a zstd block of 4 bytes can inflate to 128 KiB and its decoder has no output bound: small steps have
_ZSTD_DICTIONARY_MAGIC = b"\x5d\x2a\x4d\x18"
_ZSTD_MAX_WINDOW_BYTES = 1 << 27
_ZSTD_MAX_DICTIONARY_BYTES = 16 << 20  # crawlers train dictionaries of about a megabyte


class Damaged(Exception):
    """The current member cannot be read to its end."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error, self.message = error, message


class Decompressor(Protocol):
    """What zlib, zstandard and lz4 share."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...


class Codec:
    """One compression format: its magic number, a fresh decompressor, and how much input to hand it at
    once."""

    name: str
    magic: bytes
    piece_bytes = _PIECE_BYTES
    tells_first = False
    peek_bytes = 1 << 12  # stored bytes after which a true member has given out its first ones

    def decompressor(self) -> Any:
        raise NotImplementedError

    def first_bytes(self, stored: bytes) -> bytes:
        """Return the first bytes of a member, where `tells_first`: its first stored ones alone tell them."""
        raise NotImplementedError


class Gzip(Codec):
    name, magic = "gzip", b"\x1f\x8b\x08"

    def decompressor(self) -> Any:
        return _BoundedZlib()


class _BoundedZlib:
    """zlib for one gzip member, giving out at most a megabyte at a time."""

    def __init__(self) -> None:
        self._inner: zlib._Decompress = _decompressobj(wbits=31)

    def decompress(self, data: bytes) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, _MAX_INFLATED_BYTES)

    @property
    def pending(self) -> bool:
        return bool(self._inner.unconsumed_tail)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


class Zstd(Codec):
    """Frames of zstd, with the dictionary that the WARC-zstd form puts into a skippable frame at the
    start."""

    name, magic, piece_bytes = "zstd", b"\x28\xb5\x2f\xfd", _ZSTD_PIECE_BYTES
    peek_bytes = (128 << 10) + 64  # a block is inflated whole

    def __init__(self, window: ByteWindow) -> None:
        import zstandard

        dictionary = None
        head = window.head(8)
        if head[:4] == _ZSTD_DICTIONARY_MAGIC:
            dictionary = zstandard.ZstdCompressionDict(_zstd_dictionary(window, head))
        self._factory = zstandard.ZstdDecompressor(
            dict_data=dictionary, max_window_size=_ZSTD_MAX_WINDOW_BYTES
        )

    def decompressor(self) -> Any:
        return self._factory.decompressobj()


def _zstd_dictionary(window: ByteWindow, head: bytes) -> bytes:
    """Return the dictionary in a file's first frame, inflated if it is compressed, within its bound."""
    import zstandard

    size = int.from_bytes(head[4:8], "little")
    stored = window.read_exactly(8, min(size, _ZSTD_MAX_DICTIONARY_BYTES + 1))
    try:
        if stored[:4] == Zstd.magic:
            inner, pieces, got, at = zstandard.ZstdDecompressor().decompressobj(), [], 0, 0
            while not inner.eof and at < len(stored) and got <= _ZSTD_MAX_DICTIONARY_BYTES:
                pieces.append(inner.decompress(stored[at : at + _ZSTD_PIECE_BYTES]))
                got, at = got + len(pieces[-1]), at + _ZSTD_PIECE_BYTES
            if not inner.eof and got <= _ZSTD_MAX_DICTIONARY_BYTES:
                raise zstandard.ZstdError("it breaks off")
            stored = b"".join(pieces)
    except zstandard.ZstdError as error:
        raise Damaged("damaged_member", f"the file's zstd dictionary cannot be inflated: {error}") from error
    if len(stored) > _ZSTD_MAX_DICTIONARY_BYTES:
        raise Damaged(
            "too_large", f"the file's zstd dictionary has more than {_ZSTD_MAX_DICTIONARY_BYTES} bytes"
        )
    return stored


class Lz4(Codec):
    name, magic, tells_first = "lz4", b"\x04\x22\x4d\x18", True

    def decompressor(self) -> Any:
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor()

    def first_bytes(self, stored: bytes) -> bytes:
        """The literals that the first block begins with: a decompressor would wait for all of its 4 MiB.

        Frame and block format of LZ4 1.6.2; nothing can be copied before a first literal.
        """
        import lz4.frame

        try:
            lz4.frame.get_frame_info(stored)
        except (RuntimeError, ValueError):
            return b""
        head = (
            7 + 8 * (stored[4] >> 3 & 1) + 4 * (stored[4] & 1)
        )  # the size of the content, a dictionary's id
        size = int.from_bytes(stored[head : head + 4], "little")
        block = stored[head + 4 :]
        if size >> 31:
            return block[: size & 0x7FFFFFFF]
        length, at = block[0] >> 4 if block else 0, 1
        while length >= 15 and at < len(block) and (at == 1 or block[at - 1] == 255):
            length, at = length + block[at], at + 1
        return block[at : at + min(length, size)]


def sniff_codec(window: ByteWindow) -> Codec | None:
    """Return the codec of a file by its first bytes, not by its name; None for one that is not compressed."""
    head = window.head(4)
    if head[:3] == Gzip.magic:
        return Gzip()
    if head == Lz4.magic:
        return Lz4()
    return Zstd(window) if head == Zstd.magic or _is_skippable(head) else None


def appended_codecs(window: ByteWindow, offset: int) -> list[Codec]:
    """Return the codecs whose members may start at `offset`, behind bytes that are not compressed."""
    head = window.read_exactly(offset, 4)
    found: list[Codec] = [codec for codec in (Gzip(), Lz4()) if head.startswith(codec.magic)]
    return [*found, Zstd(window)] if head == Zstd.magic else found


def codec_by_name(path: str, window: ByteWindow) -> Codec | None:
    """Return the codec that a file's name promises: the one to look for when its first bytes are broken."""
    if path.endswith(".gz"):
        return Gzip()
    if path.endswith(".zst"):
        return Zstd(window)
    return Lz4() if path.endswith(".lz4") else None


def _is_skippable(head: bytes) -> bool:
    return len(head) == 4 and 0x184D2A50 <= int.from_bytes(head, "little") <= 0x184D2A5F


class Members:
    """Inflate a file member by member, from `position` on.

    `open()` starts the member at `position`; `read()` returns its next bytes and b"" at its end, when
    `position` is behind it. `offset` is where the current member starts.
    """

    def __init__(
        self,
        window: ByteWindow,
        codec: Codec,
        record_start: re.Pattern[bytes],
        position: int = 0,
        *,
        is_padded: bool = False,
    ) -> None:
        self._is_padded = is_padded  # zeros may follow the last member
        self._window, self._codec, self._record_start = window, codec, record_start
        self.position = self.offset = position
        self._decompressor: Any = None
        self._plain_end = -1  # of records that lie uncompressed where a member could start
        self._fed = self._first = position
        self._inflated = self._wasted = self._passed = 0
        self._skip_frames()

    def open(self) -> bool:
        """Start the next member; False at the end of the file."""
        if self.position >= self._window.size:
            self.offset = self.position
            return False
        self.offset = self._fed = self.position
        self._plain_end, self._inflated = -1, 0
        self._decompressor = self._codec.decompressor()
        if not self._is_member(self.offset):
            if self._is_plain_record(self.position):
                self._plain_end = self._end_of_plain(self.position)
                return True
            if self._is_padded and self._is_padding():
                self.position = self.offset = self._window.size
                return False
            raise Damaged("junk", f"no {self._codec.name} member starts here")
        return True

    def read(self) -> bytes:
        """Return the next inflated bytes, b"" where the member has ended as it should."""
        if self._plain_end >= 0:
            piece = self._window.read(self.position, min(_PIECE_BYTES, self._plain_end - self.position))
            self.position += len(piece)
            return piece
        while not self._decompressor.eof:
            if getattr(self._decompressor, "pending", False):
                piece = b""
            else:
                piece = self._window.read(self._fed, self._codec.piece_bytes)
                if not piece:
                    raise Damaged("truncated", f"the file ends inside a {self._codec.name} member")
                self._fed += len(piece)
            inflated = self._inflate(piece)
            if self._decompressor.eof:
                self.position = self._fed - len(self._decompressor.unused_data or b"")
                self._skip_frames()
            if inflated:
                self._inflated += len(inflated)
                return inflated
        return b""

    @property
    def inflated(self) -> int:
        """How many bytes of the current member have been read."""
        return self._inflated if self._plain_end < 0 else self.position - self.offset

    def behind_damage(self, start: int, end: int) -> int:
        """Return where to look for the next member, the current one, from `start`, being broken: right behind
        its first byte, since whole members may lie in what it seemed to reach over; behind all that was read,
        `end` at most, once broken members have inflated to too much."""
        self._wasted += self._inflated
        self._inflated = 0
        if self._wasted <= _MAX_WASTED_BYTES + _MAX_WASTED_RATIO * (self._fed - self._first):
            return start + 1
        # It broke somewhere in the last piece, in which the next member may lie: that is looked at once.
        last = self._fed - self._codec.piece_bytes
        behind, self._passed = self._fed if last <= self._passed else last, self._fed
        return max(start + 1, min(behind, end))

    def resync(self, since: int, before: int | None = None) -> int:
        """Move `position` to the first member in [since, before) in which a record starts, else to the file's
        end; return it."""
        at = since
        while (at := self._window.find(self._codec.magic, at, before)) >= 0 and not self._record_start.match(
            self._peek(at).lstrip(b"\r\n")
        ):
            at += 1
        self.position = self.offset = at if at >= 0 else self._window.size
        return self.position

    def at_record(self) -> bool:
        """Say whether the member at `position` begins with a record; the file's end counts as one."""
        if self.position >= self._window.size:
            return True
        if self._is_member(self.position):
            return self._starts_record(self.position)
        return self._is_plain_record(self.position)

    def _is_member(self, offset: int) -> bool:
        magic = self._codec.magic
        head = self._window.read(offset, len(magic))
        if len(head) < len(magic):  # it lies across two blocks
            head = self._window.read_exactly(offset, len(magic))
        return head == magic

    def _is_padding(self) -> bool:
        """Say whether nothing but zeros follows, as behind files written in blocks: gzip(1) and Python's gzip
        pass over them."""
        at = self.position
        while piece := self._window.read(at, 1 << 16):
            if piece.count(0) < len(piece):
                return False
            at += len(piece)
        return True

    def _is_plain_record(self, offset: int) -> bool:
        """Say whether a record lies here as it is: some writers append without compressing."""
        if not self._record_start.pattern:
            return False
        return (
            self._record_start.match(self._window.read_exactly(offset, _PEEK_BYTES).lstrip(b"\r\n"))
            is not None
        )

    def _end_of_plain(self, offset: int) -> int:
        """Return where records that are not compressed end: at a member in which a record starts, behind the
        end of a line."""
        at = offset
        while (at := self._window.find(self._codec.magic, at + 1)) >= 0:
            if self._window.read_exactly(at - 1, 1) == b"\n" and self._starts_record(at):
                return at
        return self._window.size

    def _starts_record(self, offset: int) -> bool:
        return bool(self._record_start.match(self._peek(offset).lstrip(b"\r\n")))

    def _inflate(self, piece: bytes) -> bytes:
        try:
            return bytes(self._decompressor.decompress(piece))
        except MemoryError:
            raise
        # each codec has its own; what they say differs from library to library, what is lost does not
        except Exception as error:
            raise Damaged(
                "damaged_member", f"the {self._codec.name} member's data or checksum is wrong"
            ) from error

    def _peek(self, offset: int) -> bytes:
        """Return the first inflated bytes of a member that may start at `offset`, b"" when none does.

        Bounded in what it reads: bytes that look like members without end would be read to the end of the
        file at each of their places.
        """
        if self._codec.tells_first:
            return self._codec.first_bytes(self._window.read_exactly(offset, 2 * _PEEK_BYTES))[:_PEEK_BYTES]
        decompressor, got, at = self._codec.decompressor(), b"", offset
        end = offset + self._codec.peek_bytes
        try:
            while len(got) < _PEEK_BYTES and not decompressor.eof and at < end:
                piece = self._window.read(at, max(512, at - offset))
                if not piece:
                    break
                at += len(piece)
                got += decompressor.decompress(piece)
        except MemoryError:
            raise
        except Exception:  # whatever the codec raises: no member starts here
            return got if len(got) >= _PEEK_BYTES else b""
        return got

    def _skip_frames(self) -> None:
        """Step over zstd's skippable frames."""
        while self._codec.name == "zstd":
            head = self._window.read_exactly(self.position, 8)
            if not _is_skippable(head[:4]) or len(head) < 8:
                return
            self.position += 8 + int.from_bytes(head[4:8], "little")
