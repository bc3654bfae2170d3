"""Personal data, replaced in place: e-mail addresses, public IP addresses, telephone numbers.

Patterns and replacements are FineWeb's (datatrove PIIFormatter), the telephone pattern is Dolma's. FineWeb
takes replacements in turn over all documents of a worker; here each document begins with the first, so that
its text does not depend on others.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.filters.block import Batch, Block, Measured
from gristmill.filters.edits import Edits
from gristmill.filters.options import PiiSettings
from gristmill.filters.rules import Bound, Rule

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
EMAIL = re.compile(
    rf"\b{_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}|\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
)
IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
PHONE = re.compile(r"(?<=\s)\(?(?:\d{3})\)?[-. ]*(?:\d{3})[-. ]?(?:\d{4})")
# An atom is tried at every word otherwise: only the run of characters before an @ can hold the address's
# start.
_NEAR_AT = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@")
KINDS = ("email", "ip", "phone")


def _emails(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while (near := _NEAR_AT.search(text, position)) is not None:
        found = EMAIL.search(text, near.start(), min(len(text), near.end() + 320))
        if found is not None and found.start() < near.end():
            yield found
            position = max(found.end(), near.end())
        else:
            position = near.end()


def _ips(text: str) -> Iterator[re.Match[str]]:
    return (match for match in IP.finditer(text) if _is_public(match.group()))


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:  # a part with a leading zero
        return False


_FINDERS: dict[str, tuple[str, Callable[[str], Iterator[re.Match[str]]]]] = {
    "email": ("@", _emails),
    "ip": (".", _ips),
    "phone": ("", PHONE.finditer),
}


def find(text: str, kinds: dict[str, tuple[str, ...]]) -> list[tuple[int, int, int, str]]:
    """Return (first character, end, kind, replacement) of what is personal in a text; where two overlap, the
    first stays."""
    found = []
    for kind, replacements in kinds.items():
        sign, finder = _FINDERS[kind]
        if sign in text:
            for number, match in enumerate(finder(text)):
                found.append(
                    (match.start(), match.end(), KINDS.index(kind), replacements[number % len(replacements)])
                )
    found.sort()
    kept: list[tuple[int, int, int, str]] = []
    for span in found:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def pii_block(settings: PiiSettings) -> Block:
    kinds = {kind: getattr(settings, f"{kind}_replacements") for kind in KINDS if getattr(settings, kind)}

    def measure(batch: Batch) -> Measured:
        counts = np.zeros((len(batch), len(KINDS)), np.int64)
        rows: list[tuple[int, int, int, int, bytes]] = []
        for row, text in enumerate(batch.strings):
            at = position = 0  # bytes and characters walked so far
            for start, end, kind, replacement in find(text, kinds):
                at += len(text[position:start].encode())
                size = len(text[start:end].encode())
                rows.append((row, at, at + size, kind, replacement.encode()))
                at, position = at + size, end
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
