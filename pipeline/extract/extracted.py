"""What every extractor returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Extracted:
    """The main text of a page and what the page says of itself.

    `text` is "" when there is none. `date` has a time zone (UTC where the page names none). `caps` names the
    limits that were hit. `language` is what `language.detect` says of the text, where an extractor had to
    ask.
    """

    text: str
    title: str | None = None
    author: str | None = None
    date: datetime | None = None
    site_name: str | None = None
    canonical_url: str | None = None
    caps: tuple[str, ...] = ()
    language: tuple[str | None, float | None] | None = None
