"""The grammar of robots.txt, which ai.txt shares: RFC 9309, and the patterns of tdmrep.json.

    groups = parse(body)
    rules = Rules(rules_for(groups, "ccbot"))
    rules.allows("/private/page?x=1")

A pattern is compared octet by octet from the start of a path, `*` stands for any run of octets, `$` at its
end for the end; the longest that matches decides, of two as long the one that allows (section 2.2.2). The
time of a match grows with the path and the number of patterns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from gristmill.urls import host_of

MAX_BYTES = 500 << 10  # what a crawler must read at least, section 2.5
_TOKEN = re.compile(r"[a-z0-9_.-]{1,200}|\*")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_PORT = re.compile(r"[a-z]{1,10}://[^/?#]{0,1000}:(\d{1,5})(?:[/?#]|$)")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Rule = tuple[bool, str]  # whether it allows, and its pattern


class Group(NamedTuple):
    """Agents in lower case, and the rules that follow them."""

    agents: list[str]
    rules: list[Rule]


def parse(body: bytes) -> list[Group]:
    """Read groups in order; a line that is no rule, such as a sitemap, ends nothing."""
    groups: list[Group] = []
    for line in body[:MAX_BYTES].decode("utf-8", "replace").lstrip("\ufeff").replace("\r", "\n").split("\n"):
        name, colon, value = line.partition("#")[0].partition(":")
        key, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            if token := _TOKEN.match(value.lower()):
                if not groups or groups[-1].rules:
                    groups.append(Group([], []))
                groups[-1].agents.append(token[0])
        elif key in ("allow", "disallow") and groups:
            groups[-1].rules.append((key == "allow", normal_path(value) if value else ""))
    return groups


def rules_for(groups: Iterable[Group], agent: str) -> list[Rule]:
    """The rules of all groups that name an agent, else of those for `*` (section 2.2.1); those without a
    pattern say nothing."""
    agent = agent.lower()
    groups = list(groups)
    named = any(agent in group.agents for group in groups)
    chosen = [group for group in groups if (agent if named else "*") in group.agents]
    return list(dict.fromkeys(rule for group in chosen for rule in group.rules if rule[1]))


def reservations(body: bytes) -> list[Rule]:
    """The locations of a tdmrep.json (TDMRep, section 6): reserved ones as patterns that do not allow.

    Raises ValueError for what is no list of objects.
    """
    try:
        rows: Any = json.loads(body[:MAX_BYTES])
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    rows = rows if isinstance(rows, list) else [rows]
    found = []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("location"), str):
            raise ValueError("an entry without `location`")
        found.append((row.get("tdm-reservation") not in (1, "1"), normal_path(row["location"])))
    return found


class Rules:
    """Compiled rules: which decides for a path."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._plain: dict[str, bool] = {}
        self._wild: list[tuple[int, bool, list[str], bool]] = []
        for allows, pattern in rules:
            if "*" in pattern or pattern.endswith("$"):
                parts = re.sub(r"\*+", "*", pattern.removesuffix("$")).split("*")
                self._wild.append((len(pattern), allows, parts, pattern.endswith("$")))
            else:
                self._plain[pattern] = allows or self._plain.get(pattern, False)
        self._lengths = sorted({len(pattern) for pattern in self._plain}, reverse=True)
        self._wild.sort(key=lambda wild: (-wild[0], not wild[1]))

    def allows(self, path: str) -> bool:
        """Whether the rules allow a path (with its query), as `normal_path` writes it."""
        longest, allowed = -1, True
        for length in self._lengths:
            if length <= len(path) and (said := self._plain.get(path[:length])) is not None:
                longest, allowed = length, said
                break
        for length, allows, parts, is_end in self._wild:
            if length < longest:
                break
            if _matches(parts, is_end, path):
                return allows or (allowed and length == longest)
        return allowed


def _matches(parts: Sequence[str], is_end: bool, path: str) -> bool:
    """Find the parts one after another, each as early as it stands; the last at the end if asked."""
    if not path.startswith(parts[0]):
        return False
    at = len(parts[0])
    if len(parts) == 1:
        return not is_end or at == len(path)
    for part in parts[1:-1] if is_end else parts[1:]:
        if (at := path.find(part, at)) < 0:
            return False
        at += len(part)
    return not is_end or (len(path) - len(parts[-1]) >= at and path.endswith(parts[-1]))


def normal_path(path: str) -> str:
    """Write a path or pattern so that equal ones are equal: unreserved octets plain, others as %XX in
    capitals (RFC 9309, section 2.2.2)."""

    def plain(escape: re.Match[str]) -> str:
        letter = chr(int(escape[1], 16))
        return letter if letter in _UNRESERVED else escape[0].upper()

    if path.isascii() and "%" not in path:
        return path
    encoded = "".join(letter if letter.isascii() else quote(letter, errors="replace") for letter in path)
    return _ESCAPED.sub(plain, encoded)


def site_of(url: str | None) -> str:
    """The host of a URL, with its port where that is not the scheme's own; "" where there is none."""
    host = host_of(url)
    port = _PORT.match(url or "")
    return f"{host}:{port[1]}" if host and port and port[1] not in ("80", "443") else host


def path_of(url: str) -> str:
    """The path of a URL with its query, for rules."""
    rest = url.partition("://")[2].partition("#")[0]
    start = min((at for mark in "/?" if (at := rest.find(mark)) >= 0), default=len(rest))
    path = rest[start:]
    return normal_path(path if path.startswith("/") else f"/{path}")
