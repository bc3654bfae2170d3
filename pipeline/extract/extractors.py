"""The extractors by name: a decoded page in, as text or UTF-8, `Extracted` out. Each imports what it needs
when it is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from gristmill.pipeline.extract.extracted import Extracted

Extractor = Callable[[str | bytes, str | None], Extracted]

_WARM_UP = (
    b"<html><body><article><p>So that all is loaded and compiled before the first deadline"
    b" runs.</p></article></body></html>"
)


def load_extractor(name: str, favor: str = "balanced", metadata: bool = False) -> Extractor:
    """Return an extractor; `favor` is balanced, precision or recall, `metadata` asks for title, author, date
    and so on."""
    if name == "trafilatura":
        return _trafilatura(favor, metadata)
    if name == "resiliparse":
        return _resiliparse(favor, metadata)
    if name == "blocks":
        return _blocks(favor, metadata)
    if name == "auto":
        return _auto(favor, metadata)
    raise ValueError(f"no extractor `{name}`")


def _text(html: str | bytes) -> str:
    return html if isinstance(html, str) else html.decode()


def _trafilatura(favor: str, metadata: bool) -> Extractor:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    logging.getLogger("htmldate").setLevel(logging.CRITICAL)
    options = {f"favor_{favor}": True} if favor != "balanced" else {}

    def extract(html: str | bytes, url: str | None) -> Extracted:
        # `deduplicate` stays off: its cache makes the text of a page depend on the pages before.
        page = trafilatura.bare_extraction(_text(html), url=url, with_metadata=metadata, **options)
        if page is None:
            return Extracted("")
        if not metadata:
            return Extracted(page.text or "")
        return Extracted(page.text or "", page.title, page.author, _day(page.date), page.sitename, page.url)

    extract(_WARM_UP, None)
    return extract


def _day(value: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None
    except ValueError:
        return None


def _resiliparse(favor: str, metadata: bool) -> Extractor:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    def extract(html: str | bytes, url: str | None) -> Extracted:
        tree = HTMLTree.parse(_text(html))
        text = extract_plain_text(tree, main_content=favor != "recall", preserve_formatting=True)
        return Extracted(text.strip(), (tree.title or None) if metadata else None)

    return extract


def _blocks(favor: str, metadata: bool) -> Extractor:
    from gristmill.pipeline.extract.blocks import extract as blocks
    from gristmill.pipeline.extract.blocks.settings import RECALL_WEIGHT, BlocksSettings

    settings = BlocksSettings(recall_weight=RECALL_WEIGHT[favor], metadata=metadata)
    blocks.extract(_WARM_UP, None, settings)

    def extract(html: str | bytes, url: str | None) -> Extracted:
        return blocks.extract(html, url, settings)

    return extract


def _auto(favor: str, metadata: bool) -> Extractor:
    """Blocks, and trafilatura for the languages in which the shipped model's card says that its text is
    better."""
    from gristmill.pipeline.extract.blocks.classifier import SHIPPED
    from gristmill.pipeline.extract.language import detect

    blocks = _blocks(favor, metadata)
    languages = frozenset(json.loads((SHIPPED / "card.json").read_text()).get("trafilatura_languages", ()))
    if not languages:
        return blocks
    trafilatura = _trafilatura(favor, metadata)

    def extract(html: str | bytes, url: str | None) -> Extracted:
        found = blocks(html, url)
        language = detect(found.text) if found.text else (None, None)
        return trafilatura(html, url) if language[0] in languages else replace(found, language=language)

    return extract
