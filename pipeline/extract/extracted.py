"""What every extractor returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple


class Form(NamedTuple):
    """How a text is written: `text` or `markdown`, of Markdown what is kept of phrases, and whether readers'
    comments under an article and the headline above it are."""

    format: Literal["text", "markdown"] = "text"
    links: bool = False
    emphasis: bool = False
    images: bool = False
    comments: bool = True
    headline: bool = True


@dataclass(frozen=True, slots=True)
class Extracted:
    """The main text of a page and what the page says of itself.

    `text` is "" when there is none. `date` has a time zone (UTC where the page names none). `caps` names the
    limits that were hit. `language` is what `language.detect` says of the text, where an extractor had to
    ask. `taken_from` says where the text lies: in the `page`, its `json-ld` or its `state`. `is_short` tells
    that the page shows far more prose than the text has.
    """

    text: str
    title: str | None = None
    author: str | None = None
    date: datetime | None = None
    site_name: str | None = None
    canonical_url: str | None = None
    caps: tuple[str, ...] = ()
    language: tuple[str | None, float | None] | None = None
    taken_from: str = "page"
    is_short: bool = False
