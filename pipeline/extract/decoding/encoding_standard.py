"""The decoders of the Encoding Standard, by its own tables: Python's codecs map other bytes.

`charset_tables.npz` holds the standard's indexes and labels (encoding.spec.whatwg.org, indexes.json and
encodings.json of commit a985b62). Where Python differs, for instance: EUC-JP rows with circled digits (row
13), GBK's 80, Big5's A3E1, Shift_JIS's user-defined rows.

    decode_as(b"\xad\xa1", "euc-jp")      # a circled one
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

_TABLES = Path(__file__).with_name("charset_tables.npz")
_BIG5_PAIRS = {1133: (0xCA, 0x304), 1135: (0xCA, 0x30C), 1164: (0xEA, 0x304), 1166: (0xEA, 0x30C)}
_BROKEN = "\ufffd"

Points = npt.NDArray[np.uint32]


@functools.cache
def _table(name: str) -> Points:
    with np.load(_TABLES) as tables:
        found: Points = tables[name]
    return found


@functools.cache
def _labels() -> dict[str, str]:
    with np.load(_TABLES) as tables:
        return {str(label): str(name) for label, name in tables["labels"]}


def encoding_of(label: str | None) -> str | None:
    """Return the standard's name, in lower case, of a label; None for one that it does not know or refuses
    ("replacement")."""
    name = _labels().get((label or "").strip(" \t\n\f\r\"'").lower())
    return None if name in ("replacement", "x-user-defined") else name


def decode_as(body: bytes, encoding: str) -> str:
    """Decode as the standard's decoder of this name does; what is no character becomes U+FFFD."""
    if encoding in _PYTHON:
        return body.decode(_PYTHON[encoding], "replace")
    if encoding == "iso-2022-jp":
        return _iso_2022_jp(body)
    if encoding in _ALIKE and (text := _by_pythons(body, encoding)) is not None:
        return text
    if encoding in _MULTI:
        pattern, decode = _MULTI[encoding]
        return _by_runs(body, pattern, decode)
    text, _ = codecs.charmap_decode(body, "replace", _single(encoding))
    return text


def _by_pythons(body: bytes, encoding: str) -> str | None:
    """Decode by Python's codec, many times as fast, what it decodes as the standard does: whole text without
    the characters of the few pairs that the two map differently (all are compared in a test)."""
    if encoding == "euc-jp" and b"\x8f" in body:  # JIS X 0212: few texts have it
        return None
    codec, differing = _ALIKE[encoding]
    try:
        text = body.decode(codec)
    except UnicodeDecodeError:
        return None
    if not differing or not differing.search(text):
        return text
    if encoding != "euc-jp":
        return None
    for python, standard in _EUC_JP_SIGNS:
        text = text.replace(python, standard)
    return text


# These six come of one pair each: they can be put right in the text.
_EUC_JP_SIGNS = tuple(
    zip("\u301c\u2016\u2212\xa2\xa3\xac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2", strict=True)
)
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_ALIKE: dict[str, tuple[str, re.Pattern[str] | None]] = {
    "euc-kr": ("cp949", None),
    "gb18030": ("gb18030", re.compile("[\u1e3f\ue000-\uf8ff]")),
    "gbk": ("gb18030", re.compile("[\u1e3f\ue000-\uf8ff]")),
    "shift_jis": ("cp932", _PRIVATE),
    "euc-jp": ("euc_jp", re.compile("[\u301c\u2016\u2212\xa2\xa3\xac]")),
    "big5": ("big5hkscs", re.compile("[\u2022\uff64\u203e\u223c\u2641\u2609\uff0f\uff3c\xa5\xa2\xa3]")),
}

_PYTHON = {"utf-8": "utf-8", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "hz": "hz"}


@functools.cache
def _single(encoding: str) -> str:
    upper = _table("iso-8859-8" if encoding == "iso-8859-8-i" else encoding)
    return "".join(map(chr, range(128))) + "".join(
        chr(point) if point else "\ufffe" for point in upper.tolist()
    )


def _by_runs(body: bytes, pattern: re.Pattern[bytes], decode: Callable[[bytes], str]) -> str:
    """ASCII as it is, and everything else by its decoder.

    Group 1 of the pattern is a run of pairs: those of all runs are looked up at once, and one by one only
    where one of them is no character, or two.
    """
    found = list(pattern.finditer(body))
    joined = b"".join(match.group(1) for match in found if match.group(1))
    pairs = decode(joined) if joined else ""
    is_even = 2 * len(pairs) == len(joined) and _BROKEN not in pairs
    pieces, at, done = [], 0, 0
    for match in found:
        if match.start() > at:
            pieces.append(body[at : match.start()].decode("ascii", "replace"))
        run, at = match.group(), match.end()
        if is_even and match.group(1):
            pieces.append(pairs[done : done + len(run) // 2])
            done += len(run) // 2
        else:
            pieces.append(decode(run))
    pieces.append(body[at:].decode("ascii", "replace"))
    return "".join(pieces)


def _spell(points: Points, pairs: npt.NDArray[np.uint8]) -> str:
    """Code points as text; where there is none for a pair, U+FFFD, and its second byte where that is
    ASCII."""
    if points.all():
        return points.astype("<u4").tobytes().decode("utf-32-le")
    return "".join(
        chr(point) if point else _BROKEN + (chr(trail) if trail < 0x80 else "")
        for point, trail in zip(points.tolist(), pairs[:, 1].tolist(), strict=True)
    )


def _pairs(run: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    pairs = np.frombuffer(run, np.uint8).reshape(-1, 2)
    return pairs, pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)


def _look_up(name: str, pointers: npt.NDArray[np.int64]) -> Points:
    table = _table(name)
    inside = (pointers >= 0) & (pointers < len(table))
    return np.where(inside, table[np.where(inside, pointers, 0)], 0).astype(np.uint32)


def _euc_kr(run: bytes) -> str:
    if len(run) % 2 or run[-1] == 0xFF or run[0] in (0x80, 0xFF):
        return _BROKEN
    pairs, lead, trail = _pairs(run)
    return _spell(_look_up("euc-kr", (lead - 0x81) * 190 + trail - 0x41), pairs)


def _big5(run: bytes) -> str:
    if len(run) % 2 or _is_no_trail(run):
        return _BROKEN
    pairs, lead, trail = _pairs(run)
    pointers = (lead - 0x81) * 157 + trail - np.where(trail < 0x7F, 0x40, 0x62)
    points = _look_up("big5", pointers)
    if not np.isin(pointers, list(_BIG5_PAIRS)).any():
        return _spell(points, pairs)
    return "".join(
        "".join(map(chr, _BIG5_PAIRS[pointer]))
        if pointer in _BIG5_PAIRS
        else _spell(points[at : at + 1], pairs[at : at + 1])
        for at, pointer in enumerate(pointers.tolist())
    )


def _is_no_trail(run: bytes) -> bool:
    return len(run) == 2 and (0x80 <= run[1] <= 0xA0 or run[1] == 0xFF)


def _shift_jis(run: bytes) -> str:
    if len(run) == 1 or run[0] in (0x80, *range(0xA0, 0xE0)) or run[0] > 0xFC:
        return "".join(
            chr(byte + 0xFEC0) if 0xA1 <= byte <= 0xDF else "\x80" if byte == 0x80 else _BROKEN
            for byte in run
        )
    pairs, lead, trail = _pairs(run)
    if (trail > 0xFC).any():
        return _BROKEN
    pointers = (lead - np.where(lead < 0xA0, 0x81, 0xC1)) * 188 + trail - np.where(trail < 0x7F, 0x40, 0x41)
    own = (pointers >= 8836) & (pointers <= 10715)
    return _spell(
        np.where(own, 0xE000 - 8836 + pointers, _look_up("jis0208", pointers)).astype(np.uint32), pairs
    )


def _euc_jp(run: bytes) -> str:
    if run[0] == 0x8F and len(run) == 3 and 0xA1 <= run[2] <= 0xFE:
        return _spell(_look_up("jis0212", np.array([(run[1] - 0xA1) * 94 + run[2] - 0xA1])), _ANY_PAIR)
    if run[0] == 0x8E and len(run) == 2 and 0xA1 <= run[1] <= 0xDF:
        return chr(run[1] + 0xFEC0)
    if run[0] < 0xA1 or len(run) % 2 or run[1] < 0xA1 or run[-1] == 0xFF:
        return _BROKEN
    pairs, lead, trail = _pairs(run)
    return _spell(_look_up("jis0208", (lead - 0xA1) * 94 + trail - 0xA1), pairs)


_ANY_PAIR = np.full((1, 2), 0xFF, np.uint8)


def _gb18030(run: bytes) -> str:
    if run == b"\x80":
        return "\u20ac"
    if len(run) == 4 and 0x30 <= run[1] <= 0x39:
        return _four_bytes(run)
    if (
        len(run) % 2
        or run[0] in (0x80, 0xFF)
        or (run[-1] in (0x80, 0xFF) and len(run) == 2 and run[1] == 0xFF)
    ):
        return _BROKEN
    pairs, lead, trail = _pairs(run)
    pointers = (lead - 0x81) * 190 + trail - np.where(trail < 0x7F, 0x40, 0x41)
    return _spell(_look_up("gb18030", pointers), pairs)


def _four_bytes(run: bytes) -> str:
    pointer = (run[0] - 0x81) * 12600 + (run[1] - 0x30) * 1260 + (run[2] - 0x81) * 10 + run[3] - 0x30
    if pointer == 7457:
        return "\ue7c7"
    if 39419 < pointer < 189000 or pointer > 1237575:
        return _BROKEN
    ranges = _table("gb18030-ranges")
    first, point = ranges[np.searchsorted(ranges[:, 0], pointer, side="right") - 1].tolist()
    return chr(point + pointer - first)


# Runs of what is decoded together; then single characters and what is none. A lead byte before an ASCII byte
# that cannot follow it is broken alone, before another it takes that with it.
_MULTI: dict[str, tuple[re.Pattern[bytes], Callable[[bytes], str]]] = {
    "euc-kr": (
        re.compile(rb"((?:[\x81-\xfe][\x41-\xfe])+)|[\x81-\xfe]\xff|[\x80-\xff]"),
        _euc_kr,
    ),
    "big5": (
        re.compile(rb"((?:[\x81-\xfe][\x40-\x7e\xa1-\xfe])+)|[\x81-\xfe][\x80-\xa0\xff]|[\x80-\xff]"),
        _big5,
    ),
    "shift_jis": (
        re.compile(
            rb"((?:[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc])+)|[\xa1-\xdf]+"
            rb"|[\x81-\x9f\xe0-\xfc][\xfd-\xff]|[\x80-\xff]"
        ),
        _shift_jis,
    ),
    "euc-jp": (
        re.compile(
            rb"((?:[\xa1-\xfe][\xa1-\xfe])+)|\x8f[\xa1-\xfe][\xa1-\xfe]|\x8f[\xa1-\xfe][\x80-\xa0\xff]"
            rb"|\x8f[\xa1-\xfe]|[\x8e\x8f\xa1-\xfe][\x80-\xff]|[\x80-\xff]"
        ),
        _euc_jp,
    ),
    "gb18030": (
        re.compile(
            rb"[\x81-\xfe][0-9][\x81-\xfe][0-9]|((?:[\x81-\xfe][\x40-\x7e\x80-\xfe])+)|[\x81-\xfe]\xff|[\x80-\xff]"
        ),
        _gb18030,
    ),
}
_MULTI["gbk"] = _MULTI["gb18030"]

_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$[@B])")


def _iso_2022_jp(body: bytes) -> str:
    """Text between escape sequences in the set that the last of them names; other escapes are broken."""
    pieces, state = [], b"(B"
    for number, part in enumerate(_ESCAPE.split(body)):
        if number % 2:
            state = part
        elif part:
            pieces.append(_in_state(part, state))
    return "".join(pieces)


_ROMAN = {0x5C: "\xa5", 0x7E: "\u203e"}
_JIS_RUN = re.compile(rb"(?:[\x21-\x7e]{2})+|[\x21-\x7e][^\n]|[^\n]", re.DOTALL)


def _in_state(part: bytes, state: bytes) -> str:
    if state == b"(I":
        return "".join(chr(b + 0xFF40) if 0x21 <= b <= 0x5F else _seven_bit(b) for b in part)
    if state == b"(J":
        return "".join(_ROMAN.get(b) or _seven_bit(b) for b in part)
    if state == b"(B":
        return "".join(map(_seven_bit, part)) if not part.isascii() or b"\x1b" in part else part.decode()
    pieces: list[str] = []
    at = 0
    for found in _JIS_RUN.finditer(part):
        pieces.append(
            part[at : found.start()].decode("ascii", "replace")
        )  # line ends, for what forgot to shift
        run, at = found.group(), found.end()
        if len(run) % 2 or not (0x21 <= run[-1] <= 0x7E):
            pieces.append(_BROKEN)
            continue
        _, lead, trail = _pairs(run)
        points = _look_up("jis0208", (lead - 0x21) * 94 + trail - 0x21)
        pieces.append("".join(chr(point) if point else _BROKEN for point in points.tolist()))
    pieces.append(part[at:].decode("ascii", "replace"))
    return "".join(pieces)


def _seven_bit(byte: int) -> str:
    return _BROKEN if byte > 0x7F or byte in (0x0E, 0x0F, 0x1B) else chr(byte)


def known_encodings() -> list[str]:
    """Return the standard's encodings by name, in lower case."""
    return sorted({name for name in _labels().values() if name != "replacement"})
