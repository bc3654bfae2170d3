"""Cheap checks before extraction, the first that fails decides: URL, status, content type, size.

The fifth gate, language on raw HTML, needs the decoded page and so lies in the extractor's process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gristmill.pipeline.extract.decoding.content import is_coded
from gristmill.pipeline.extract.decoding.sniffing import binary_type, is_binary_name, looks_like_html
from gristmill.pipeline.extract.pdf import is_pdf
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.sources.archives.httpmessage import media_type
from gristmill.pipeline.sources.record import Record
from gristmill.urls import host_of

# Types that say nothing of a body: what the archive itself has found in it counts instead.
_VAGUE_TYPES = (None, "application/octet-stream", "binary/octet-stream", "application/x-download")


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a record is removed. `value` and `bound` are None where the rule is no comparison of numbers."""

    rule: str
    value: float | None = None
    bound: float | None = None


Gate = Callable[[Record], Removal | None]


def make_url_gate(settings: ExtractSettings) -> Callable[[str | None], Removal | None] | None:
    """Return the gates that look at URLs alone; None where the settings block none."""
    if not (settings.block_urls or settings.block_domains):
        return None
    blocked = re.compile("|".join(f"(?:{pattern})" for pattern in settings.block_urls))
    domains = tuple(f".{domain.lower().strip('.')}" for domain in settings.block_domains)

    def gate(url: str | None) -> Removal | None:
        if settings.block_urls and url and blocked.search(url):
            return Removal("extract.url")
        if domains and f".{host_of(url)}".endswith(domains):
            return Removal("extract.domain")
        return None

    return gate


def make_gates(settings: ExtractSettings) -> Gate:
    """Return the gates in order as one function: None lets a page through."""
    statuses, content_types = frozenset(settings.statuses), frozenset(settings.content_types)
    by_url = make_url_gate(settings)

    def gate(record: Record) -> Removal | None:
        if by_url and (removal := by_url(record.url)):
            return removal
        if record.status is not None and record.status not in statuses:
            return Removal(
                "extract.status", record.status, settings.statuses[0] if len(settings.statuses) == 1 else None
            )
        if record.payload is None:
            return None
        if settings.pdf == "text" and (is_pdf(record.payload) or record.content_type == "application/pdf"):
            return None
        if removal := _by_content(record, record.payload, content_types):
            return removal
        if len(record.payload) < settings.min_page_bytes:
            return Removal("extract.min_page_bytes", len(record.payload), settings.min_page_bytes)
        return None

    return gate


def _by_content(record: Record, body: bytes, content_types: frozenset[str]) -> Removal | None:
    """Judge a body by its media type and its first bytes; of one that is compressed the extractor's process
    judges what is in it."""
    identified = media_type(record.warc_headers.get("warc-identified-payload-type"))
    named = identified if record.content_type in _VAGUE_TYPES and identified else record.content_type
    is_compressed = bool(record.content_encoding) or is_coded(body)
    if named not in content_types and (named is not None or not (is_compressed or looks_like_html(body))):
        return Removal("extract.content_type")
    if is_compressed:
        return None
    if binary_type(body) or (is_binary_name(identified) and not looks_like_html(body)):
        return Removal("extract.binary")
    return None
