"""Licence notices of source files: SPDX identifiers, and the wording that licences ask for at a file's head.

    licence_of("# SPDX-License-Identifier: MIT OR Apache-2.0\n...")   # 'mit apache-2.0'

Identifiers are SPDX's (spdx.org/licenses) in lower case. Only the head of a file is read. A notice says what
its author wrote there, no more; a file without one may be licensed by another of its repository.
"""

from __future__ import annotations

import re

HEAD_CHARS = 6000  # the longest notices, BSD's and MIT's behind a list of authors, end within three thousand
PERMISSIVE = (
    *("0bsd", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0", "isc", "mit", "mit-0"),
    *("unlicense", "zlib"),
)
_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+ ()-]+)", re.IGNORECASE)
_OPERATORS = frozenset({"and", "or", "with"})
_MARKS = re.compile(
    r"^[ \t]*(?:[#*;%!'\"|>]+|//+[/!]?|/\*+|--+|\(\*|<!--|\.\.|REM\b|dnl\b)?[ \t]*", re.MULTILINE
)
_GNU = re.compile(r"gnu (affero |lesser |library |)general public licen[sc]e")
_VERSION = re.compile(r"\bv(?:ersion|\.)? ?(2\.1|1|2|3)(?:\.0)?\b")
_NAMED = re.compile(
    r"(?:licen[sc]ed|released|distributed|available|provided|governed) under (?:the )?(?:terms of )?(?:the )?"
    r"(mit|isc|0bsd|unlicense|zlib|bsd 3-clause|bsd 2-clause|3-clause bsd|2-clause bsd|boost software)\b"
)
_BY_NAME = {
    "bsd 3-clause": "bsd-3-clause",
    "3-clause bsd": "bsd-3-clause",
    "bsd 2-clause": "bsd-2-clause",
    "2-clause bsd": "bsd-2-clause",
    "boost software": "bsl-1.0",
}
_WORDING = (
    ("apache-2.0", r"apache licen[sc]e,? (?:version|v\.?) ?2(?:\.0)?\b|apache\.org/licenses/license-2\.0"),
    ("mpl-2.0", r"mozilla public licen[sc]e,? (?:version|v\.?) ?2(?:\.0)?\b|mozilla\.org/mpl/2\.0"),
    ("mpl-1.1", r"mozilla public licen[sc]e,? (?:version|v\.?) ?1\.1\b"),
    ("epl-2.0", r"eclipse public licen[sc]e,?(?: -)? (?:version|v\.?) ?2(?:\.0)?\b"),
    ("epl-1.0", r"eclipse public licen[sc]e,?(?: -)? (?:version|v\.?) ?1(?:\.0)?\b"),
    ("bsl-1.0", r"boost software licen[sc]e"),
    ("unlicense", r"free and unencumbered software released into the public domain"),
    ("cc0-1.0", r"\bcc0 1\.0|publicdomain/zero/1\.0"),
    ("zlib", r"altered source versions must be plainly marked"),
    ("isc", r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or"),
)
_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in _WORDING)
_MIT = "permission is hereby granted, free of charge, to any person obtaining a copy"
_BSD = "redistribution and use in source and binary forms"


def licence_of(text: str) -> str | None:
    """The licences that a file's head names, apart by blanks and each once; None where it names none."""
    head = text[:HEAD_CHARS]
    if found := [word for said in _SPDX.findall(head) for word in _identifiers(said)]:
        return " ".join(dict.fromkeys(found))
    if (
        "licen" not in head.lower()
        and "permission" not in head.lower()
        and "redistribution" not in head.lower()
    ):
        return None
    plain = " ".join(_MARKS.sub("", head).lower().split())
    named = [name for name, pattern in _COMPILED if pattern.search(plain)]
    named += [_BY_NAME.get(name, name) for name in _NAMED.findall(plain)]
    named += _gnu(plain)
    if _MIT in plain:
        named.append("mit" if "above copyright notice and this permission notice" in plain else "mit-0")
    if _BSD in plain:
        named.append(_bsd(plain))
    return " ".join(dict.fromkeys(named)) or None


def _identifiers(said: str) -> list[str]:
    """The identifiers of an SPDX expression, as far as it is one; what follows `with` is no licence."""
    found: list[str] = []
    operator: str | None = "and"
    for word in re.sub(r"[()]", " ", said).lower().split():
        if word in _OPERATORS:
            operator = word
        elif operator is None:
            break  # what else stands on the line
        else:
            found += [] if operator == "with" else [word]
            operator = None
    return found


def _gnu(plain: str) -> list[str]:
    """GNU licences with their version, and whether a later one may be chosen."""
    found = []
    for match in _GNU.finditer(plain):
        kind = {"affero ": "agpl", "lesser ": "lgpl", "library ": "lgpl", "": "gpl"}[match.group(1)]
        around = plain[max(0, match.start() - 120) : match.end() + 200]
        version = _VERSION.search(plain[match.end() : match.end() + 160])
        if version:
            number = version.group(1) if "." in version.group(1) else f"{version.group(1)}.0"
            later = "any later version" in around or "or later" in around
            found.append(f"{kind}-{number}-{'or-later' if later else 'only'}")
    return found


def _bsd(plain: str) -> str:
    if "advertising materials mentioning" in plain:
        return "bsd-4-clause"
    return (
        "bsd-3-clause"
        if re.search(r"neither the names? of|may not be used to endorse", plain)
        else "bsd-2-clause"
    )
