"""Cheap checks before extraction, the first that fails decides: URL, status, content type, size.

The fifth gate, language on raw HTML, needs the decoded page and so lies in the extractor's process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.sources.record import Record

_LOOKS_LIKE_HTML = re.compile(
    rb"\s*+(?:\xef\xbb\xbf)?\s*+<(?:!doctype|!--|\?xml|html|head|body|title|meta|div|p\b|h[1-6]\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a record is removed. `value` and `bound` are None where the rule is no comparison of numbers."""

    rule: str
    value: float | None = None
    bound: float | None = None


Gate = Callable[[Record], Removal | None]


def make_gates(settings: ExtractSettings) -> Gate:
    """Return the gates in order as one function: None lets a page through."""
    statuses, content_types = frozenset(settings.statuses), frozenset(settings.content_types)
    blocked = (
        re.compile("|".join(f"(?:{pattern})" for pattern in settings.block_urls))
        if settings.block_urls
        else None
    )
    domains = tuple(f".{domain.lower().strip('.')}" for domain in settings.block_domains)

    def gate(record: Record) -> Removal | None:
        if blocked and record.url and blocked.search(record.url):
            return Removal("extract.url")
        if domains and f".{host(record.url)}".endswith(domains):
            return Removal("extract.domain")
        if record.status is not None and record.status not in statuses:
            return Removal(
                "extract.status", record.status, settings.statuses[0] if len(settings.statuses) == 1 else None
            )
        if record.payload is None:
            return None
        if not (
            record.content_type in content_types
            or (record.content_type is None and _LOOKS_LIKE_HTML.match(record.payload))
        ):
            return Removal("extract.content_type")
        if len(record.payload) < settings.min_page_bytes:
            return Removal("extract.min_page_bytes", len(record.payload), settings.min_page_bytes)
        return None

    return gate


def host(url: str | None) -> str:
    """Return the host of a URL in lower case, "" where there is none."""
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:  # unclosed brackets of an IPv6 address
        return ""
