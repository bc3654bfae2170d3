"""The extractors by name: a decoded page in, as text or UTF-8, `Extracted` out. Each imports what it needs
when it is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gristmill.pipeline.extract.extracted import Extracted, Form

Extractor = Callable[[str | bytes, str | None], Extracted]

_PLAIN = Form()
_LONGER = 3  # times as long as the text of `blocks`, from which `auto` takes another's
_WARM_UP = (
    b"<html><body><article><p>So that all is loaded and compiled before the first deadline"
    b" runs.</p></article></body></html>"
)


def load_extractor(
    name: str, favor: str = "balanced", metadata: bool = False, form: Form = _PLAIN
) -> Extractor:
    """Return an extractor; `favor` is balanced, precision or recall, `metadata` asks for title, author, date
    and so on."""
    if name == "trafilatura":
        return _trafilatura(favor, metadata, form)
    if name == "resiliparse":
        return _resiliparse(favor, metadata)
    if name == "blocks":
        return _blocks(favor, metadata, form)
    if name == "auto":
        return _auto(favor, metadata, form)
    raise ValueError(f"no extractor `{name}`")


def _text(html: str | bytes) -> str:
    return html if isinstance(html, str) else html.decode()


def _trafilatura(favor: str, metadata: bool, form: Form) -> Extractor:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    logging.getLogger("htmldate").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {f"favor_{favor}": True} if favor != "balanced" else {}
    options["include_comments"] = form.comments
    written = {
        "output_format": "markdown",
        "include_formatting": True,
        "include_links": form.links,
        "include_images": form.images,
    }

    def markdown(html: str | bytes, url: str | None) -> str:
        return trafilatura.extract(_text(html), url=url, **options, **written) or ""

    def extract(html: str | bytes, url: str | None) -> Extracted:
        # `deduplicate` stays off: its cache makes the text of a page depend on the pages before.
        page = trafilatura.bare_extraction(_text(html), url=url, with_metadata=metadata, **options)
        if page is None:
            return Extracted("")
        text = markdown(html, url) if form.format == "markdown" else page.text or ""
        if not metadata:
            return Extracted(text)
        return Extracted(text, page.title, page.author, _day(page.date), page.sitename, page.url)

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


def _blocks(favor: str, metadata: bool, form: Form) -> Extractor:
    from gristmill.pipeline.extract.blocks import extract as blocks
    from gristmill.pipeline.extract.blocks.settings import RECALL_WEIGHT, BlocksSettings

    settings = BlocksSettings(recall_weight=RECALL_WEIGHT[favor], metadata=metadata, **form._asdict())
    blocks.extract(_WARM_UP, None, settings)

    def extract(html: str | bytes, url: str | None) -> Extracted:
        return blocks.extract(html, url, settings)

    return extract


def _auto(favor: str, metadata: bool, form: Form) -> Extractor:
    """Blocks; trafilatura in the languages in which the shipped model's card says that its text is better,
    and where blocks keeps far less than the page shows and trafilatura more."""
    from gristmill.pipeline.extract.blocks.classifier import SHIPPED
    from gristmill.text.detection import detect

    blocks, trafilatura = _blocks(favor, metadata, form), _trafilatura(favor, metadata, form)
    languages = frozenset(json.loads((SHIPPED / "card.json").read_text()).get("trafilatura_languages", ()))

    def extract(html: str | bytes, url: str | None) -> Extracted:
        found = blocks(html, url)
        if found.is_short:
            other = trafilatura(html, url)
            return other if len(other.text) > _LONGER * len(found.text) else found
        if not languages:
            return found
        language = detect(found.text) if found.text else (None, None)
        return trafilatura(html, url) if language[0] in languages else replace(found, language=language)

    return extract
