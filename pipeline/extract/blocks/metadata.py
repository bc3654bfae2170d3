"""What a page says of itself: title, author, date, site name, canonical URL, from meta elements, JSON-LD and
`<time>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import numpy.typing as npt
import orjson

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.structure.elements import unescape

_MAX_JSON_BYTES = 262_144
_MAX_NODES = 200
_MAX_CHARS = 500
_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_DAY = re.compile(r"\s*((?:19|20)\d\d)[-/.](\d{1,2})[-/.](\d{1,2})(?:\D|$)")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class About:
    """A page's own description; None where it says nothing."""

    title: str | None = None
    author: str | None = None
    date: datetime | None = None
    site_name: str | None = None
    canonical_url: str | None = None


def describe(data: bytes, marks: npt.NDArray[np.int64], url: str | None = None) -> About:
    """Read what `tokenize` marked; meta elements come before JSON-LD, and that before `<time>` and the title
    element.

    `url` makes a relative canonical URL absolute. A date without a zone is taken as UTC.
    """
    said: dict[int, list[str]] = {}
    for kind, start, end in marks.tolist():
        if kind != L.MARK_JSON_LD:
            said.setdefault(kind, []).append(data[start : min(end, start + 2000)].decode("utf-8", "ignore"))
    about = About(
        title=_first(said, L.MARK_OG_TITLE),
        author=_first_author(said.get(L.MARK_AUTHOR, [])),
        date=_first_date(said, L.MARK_PUBLISHED, L.MARK_TIME_PUBLISHED),
        site_name=_first(said, L.MARK_SITE_NAME),
        canonical_url=_canonical(said, url),
    )
    if not (about.title and about.author and about.date and about.site_name):
        about = _fill(about, linked_data(data, marks))
    return replace(
        about,
        title=about.title or _first(said, L.MARK_TITLE),
        date=about.date or _first_date(said, L.MARK_DATE, L.MARK_TIME, L.MARK_MODIFIED),
    )


def _first(said: dict[int, list[str]], kind: int) -> str | None:
    return next((text for value in said.get(kind, ()) if (text := _tidy(value))), None)


def _tidy(value: object) -> str | None:
    """Unescape and collapse a value; None when nothing is left."""
    if not isinstance(value, str):
        return None
    text = _SPACES.sub(" ", unescape(value)).strip().encode("utf-8", "ignore").decode()
    return text[:_MAX_CHARS] or None


def _first_author(values: list[str]) -> str | None:
    """Return the first author that is a name, not the address of a profile."""
    return next((text for value in values if (text := _tidy(value)) and "://" not in text), None)


def _first_date(said: dict[int, list[str]], *kinds: int) -> datetime | None:
    return next((date for kind in kinds for value in said.get(kind, ()) if (date := parse_date(value))), None)


def parse_date(value: str) -> datetime | None:
    """Read ISO 8601, RFC 2822, or a leading year-month-day; None for anything else or a year out of
    1990..2100."""
    value = value.strip()[:64]
    date = None
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        if day := _DAY.match(value):
            try:
                date = datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=UTC)
            except ValueError:
                return None
        elif "," in value:
            try:
                date = parsedate_to_datetime(value)
            except (ValueError, TypeError, IndexError, OverflowError):
                return None
    if date is None or not _FIRST_YEAR <= date.year <= _LAST_YEAR:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _canonical(said: dict[int, list[str]], url: str | None) -> str | None:
    for kind in (L.MARK_CANONICAL, L.MARK_OG_URL):
        for value in said.get(kind, ()):
            try:
                absolute = urljoin(url or "", unescape(value).strip())
                if urlsplit(absolute).scheme in ("http", "https"):
                    return absolute.encode("utf-8", "ignore").decode()
            except ValueError:  # an address the library cannot read, such as one with an open bracket
                continue
    return None


def linked_data(data: bytes, marks: npt.NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield the JSON-LD nodes of a page, outer ones first, up to a bound."""
    num = 0
    for kind, start, end in marks.tolist():
        if kind != L.MARK_JSON_LD or end - start > _MAX_JSON_BYTES:
            continue
        try:
            queue: list[Any] = [orjson.loads(data[start:end].strip())]
        except orjson.JSONDecodeError:
            continue
        for value in queue:
            num += 1
            if num > _MAX_NODES:
                return
            if isinstance(value, list):
                queue += value
            elif isinstance(value, dict):
                yield value
                queue += [
                    inner
                    for key, inner in value.items()
                    if isinstance(inner, dict) or (key == "@graph" and isinstance(inner, list))
                ]


def _fill(about: About, nodes: Iterator[dict[str, Any]]) -> About:
    """Fill what is missing from the first JSON-LD node that is a piece of writing: one with a headline or a
    date."""
    for node in nodes:
        if not ("headline" in node or "datePublished" in node):
            continue
        published = node.get("datePublished") or node.get("dateCreated")
        return About(
            title=about.title or _tidy(node.get("headline")),
            author=about.author or _names(node.get("author")),
            date=about.date or (parse_date(published) if isinstance(published, str) else None),
            site_name=about.site_name or _names(node.get("publisher")),
            canonical_url=about.canonical_url,
        )
    return about


def _names(value: object) -> str | None:
    """Join the names in an author or publisher value: a string, an object with a name, or a list of these."""
    values = value if isinstance(value, list) else [value]
    names = [_tidy(one.get("name")) if isinstance(one, dict) else _tidy(one) for one in values[:10]]
    return ", ".join(name for name in names if name) or None
