"""Personal data, replaced in place: e-mail addresses, public IP addresses, telephone numbers.

Patterns and replacements are FineWeb's (datatrove PIIFormatter), the telephone pattern is Dolma's. FineWeb
takes replacements in turn over all documents of a worker; here each document begins with the first, so that
its text does not depend on others.

A kernel says which texts can hold a match (an @; a run of digits and three dots; four digits in a row), and
only in these, around such places, are the published patterns asked. What they find is what they find in the
whole text, in time linear in its length: searched as it is, the pattern of addresses tries a local part from
every character of a long run (minified code, base64) to its end.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numba import types

from gristmill.filters.block import Batch, Block, Measured
from gristmill.filters.edits import Edits
from gristmill.filters.options import PiiSettings
from gristmill.filters.rules import Bound, Rule
from gristmill.text.kernel import BYTES, OFFSETS, kernel

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_ATOM_CHARACTERS = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_ATOM = f"[{_ATOM_CHARACTERS}]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:(?:{_LABEL}\.)+{_LABEL}|\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
EMAIL = re.compile(rf"\b{_ATOM}(?:\.{_ATOM})*@{_DOMAIN}")
IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
PHONE = re.compile(r"(?<=\s)\(?(?:\d{3})\)?[-. ]*(?:\d{3})[-. ]?(?:\d{4})")
KINDS = ("email", "ip", "phone")

# The same on bytes. White space and digits of `str` patterns are Unicode's: this is their ASCII part.
_BEHIND_AT = re.compile(_DOMAIN.encode())
_LOCAL_BACKWARDS = re.compile(f"[.{_ATOM_CHARACTERS}]*".encode())
_INNER_BOUNDARY = re.compile(f"(?!^)\\b(?=[{_ATOM_CHARACTERS}])".encode())
_IP_BYTES = re.compile(IP.pattern.encode())
_IP_RUN = re.compile(rb"[0-9.]{7,}")
_PHONE_BYTES = re.compile(rb"(?<=[\t-\r\x1c-\x20])\(?(?:[0-9]{3})\)?[-. ]*(?:[0-9]{3})[-. ]?(?:[0-9]{4})")
Span = tuple[int, int]

_AT, _DOTS, _DIGITS, _WIDE = 1, 2, 4, 8  # what a text has, as bits


@kernel(types.void(OFFSETS, OFFSETS, BYTES, types.Array(types.uint8, 1, "C")))
def _scan(starts, stops, data, out):  # type: ignore[no-untyped-def]
    """Say of each text whether it has an @, a run of digits and three dots, four digits in a row, any byte
    above ASCII."""
    for doc in range(len(starts)):
        bits = 0
        digits = in_row = dots = 0
        wide = np.uint8(0)
        for i in range(starts[doc], stops[doc]):
            byte = data[i]
            wide |= byte
            if 48 <= byte <= 57:
                digits += 1
                in_row += 1
                if in_row == 4:
                    bits |= _DIGITS
                if dots >= 3 and digits >= 4:
                    bits |= _DOTS
            elif byte == 46:
                dots += 1
                in_row = 0
            else:
                digits = in_row = dots = 0
                if byte == 64:
                    bits |= _AT
        out[doc] = bits | (_WIDE if wide & 0x80 else 0)


def _emails(body: bytes) -> Iterator[Span]:
    """What EMAIL finds: at each @, in order, the longest local part before it that begins at a word
    boundary."""
    last = 0  # where the last match ended: the next begins there at the earliest
    at = body.find(b"@")
    lowest = 0  # behind the last @, which no local part holds
    while at >= 0:
        domain = _BEHIND_AT.match(body, at + 1)
        start = _local_part(body, max(last, lowest), at) if domain else None
        if domain and start is not None:
            yield start, domain.end()
            last = domain.end()
        lowest = at + 1
        at = body.find(b"@", at + 1)


def _local_part(body: bytes, lowest: int, at: int) -> int | None:
    backwards = _LOCAL_BACKWARDS.match(body[lowest:at][::-1])
    assert backwards is not None
    first = at - backwards.end()
    if first == at or body[at - 1] == 46:
        return None
    if (double := body.rfind(b"..", first, at)) >= 0:
        first = double + 2
    first += body[first] == 46
    if _is_boundary(body, first):
        return first
    # From here on both sides of a boundary are ASCII, which bytes and `str` patterns see alike.
    inner = _INNER_BOUNDARY.search(body[first:at])
    return first + inner.start() if inner else None


def _is_boundary(body: bytes, place: int) -> bool:
    """Whether `\\b` of a `str` pattern holds before an ASCII character."""
    return _is_word_before(body, place) != _is_word_before(body, place + 1)


def _is_word_before(body: bytes, place: int) -> bool:
    start = place - 1
    while start > 0 and body[start] & 0xC0 == 0x80:
        start -= 1
    char = body[max(start, 0) : place].decode("utf-8", "replace")[-1:]
    return char.isalnum() or char == "_"


def _ips(body: bytes) -> Iterator[Span]:
    for run in _IP_RUN.finditer(body):
        for match in _IP_BYTES.finditer(run.group()):
            if _is_public(match.group().decode()):
                yield run.start() + match.start(), run.start() + match.end()


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:  # a part with a leading zero
        return False


def _phones(body: bytes) -> Iterator[Span]:
    if body.isascii():
        yield from (match.span() for match in _PHONE_BYTES.finditer(body))
        return
    text = body.decode("utf-8", "replace")
    place = position = 0  # bytes and characters walked so far
    for match in PHONE.finditer(text):
        place += len(text[position : match.start()].encode())
        size = len(match.group().encode())
        yield place, place + size
        place, position = place + size, match.end()


# What a text must have, any of it, for a kind to be looked for.
_FINDERS: dict[str, tuple[int, Callable[[bytes], Iterator[Span]]]] = {
    "email": (_AT, _emails),
    "ip": (_DOTS, _ips),
    "phone": (_DIGITS | _WIDE, _phones),  # digits of other scripts count as digits
}


def find(body: bytes, kinds: dict[str, tuple[str, ...]], has: int = 255) -> list[tuple[int, int, int, str]]:
    """Return (first byte, end, kind, replacement) of what is personal in a text; where two overlap, the first
    stays."""
    found = []
    for kind, replacements in kinds.items():
        wanted, finder = _FINDERS[kind]
        if has & wanted:
            for number, (start, end) in enumerate(finder(body)):
                found.append((start, end, KINDS.index(kind), replacements[number % len(replacements)]))
    found.sort()
    kept: list[tuple[int, int, int, str]] = []
    for span in found:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def pii_block(settings: PiiSettings) -> Block:
    kinds = {kind: getattr(settings, f"{kind}_replacements") for kind in KINDS if getattr(settings, kind)}
    wanted = 0
    for kind in kinds:
        wanted |= _FINDERS[kind][0]

    def measure(batch: Batch) -> Measured:
        counts = np.zeros((len(batch), len(KINDS)), np.int64)
        has = np.zeros(len(batch), np.uint8)
        starts, stops = np.ascontiguousarray(batch.starts), np.ascontiguousarray(batch.stops)
        _scan(starts, stops, batch.data, has)
        rows: list[tuple[int, int, int, int, bytes]] = []
        for row in np.flatnonzero(has & wanted).tolist():
            body = batch.data[starts[row] : stops[row]].tobytes()
            for start, end, kind, replacement in find(body, kinds, int(has[row])):
                rows.append((row, start, end, kind, replacement.encode()))
                counts[row, kind] += 1
        signals: dict[str, Any] = {f"{kind}s": counts[:, index] for index, kind in enumerate(KINDS)}
        return Measured({**signals, "matches": counts.sum(axis=1)}, Edits.of(rows))

    names = (*(f"{kind}s" for kind in KINDS), "matches")
    rules = (
        []
        if settings.max_matches is None
        else [Rule("pii.matches", "matches", None, Bound(max=settings.max_matches), "", (1, 2, 5, 10))]
    )
    return Block(
        "pii", dict.fromkeys(names, pa.int64()), tuple(rules), measure, tuple(f"pii.{kind}" for kind in KINDS)
    )
