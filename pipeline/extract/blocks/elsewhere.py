"""The text of an article that lies only in a page's data: JSON-LD's `articleBody`, or the state a script
draws the page from. It is asked when the page itself has no main text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gristmill.pipeline.extract.blocks.metadata import linked_data
from gristmill.pipeline.extract.blocks.structure.elements import unescape

MIN_CHARS = 200  # of a text worth taking
_MIN_PROSE_CHARS, _MIN_BLANKS = 80, 8  # of a string in a state object that is prose
_MAX_BEFORE_NAME = 320  # bytes from the begin of a state object's start tag to its name
_MAX_STATE_BYTES, _MAX_STRINGS = 4_000_000, 100_000
_STATE = re.compile(
    rb"<script[^>]{0,300}\bid=[\"']?(?:__NEXT_DATA__|__NUXT_DATA__|__APOLLO_STATE__)[\"']?"
    rb"[^>]{0,300}>"
)
_STATE_NAMES = re.compile(rb"__(?:NEXT_DATA|NUXT_DATA|APOLLO_STATE)__")
_MAX_NAMES = 100  # of state objects, that are looked at
_BREAKS = re.compile(r"(?i)<(?:/p|br|/div|/li|/h[1-6])[^>]*>")
_TAGS = re.compile(r"<[^<>]*>")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def find(page: bytes, marks: npt.NDArray[np.int64]) -> tuple[str, str]:
    """Return (text, where it is from: `json-ld` or `state`), ("", "") where neither holds an article."""
    bodies = [
        _plain(body) for node in linked_data(page, marks) if isinstance(body := node.get("articleBody"), str)
    ]
    body = max(bodies, key=len, default="")
    if len(body) >= MIN_CHARS:
        return body, "json-ld"
    text = "\n".join(dict.fromkeys(_prose(page)))
    return (text, "state") if len(text) >= MIN_CHARS else ("", "")


def _prose(page: bytes) -> Iterator[str]:
    """Yield the strings of a page's state that are prose, in order."""
    match = _state(page)
    end = page.find(b"</script", match.end()) if match else -1
    if match is None or end < 0 or end - match.end() > _MAX_STATE_BYTES:
        return
    try:
        stack: list[Any] = [orjson.loads(page[match.end() : end])]
    except orjson.JSONDecodeError:
        return
    num = 0
    while stack and num < _MAX_STRINGS:
        value = stack.pop()
        num += 1
        if isinstance(value, dict):
            stack += reversed(list(value.values()))
        elif isinstance(value, list):
            stack += reversed(value)
        elif isinstance(value, str) and len(value) >= _MIN_PROSE_CHARS:
            text = _plain(value)
            if (text.count(" ") >= _MIN_BLANKS or _WIDE.search(text)) and not text.startswith(
                ("{", "[", "http")
            ):
                yield text


def _state(page: bytes) -> re.Match[bytes] | None:
    """Find the start tag of the first script that is a state object, by its name."""
    for name in islice(_STATE_NAMES.finditer(page), _MAX_NAMES):
        at = page.rfind(b"<script", max(name.start() - _MAX_BEFORE_NAME, 0), name.start())
        if at >= 0 and (match := _STATE.match(page, at)):
            return match
    return None


def _plain(value: str) -> str:
    """Strip markup from a string; paragraphs are lines."""
    if "<" in value:
        last = value.rfind(">") + 1  # beyond it no tag ends, and each would be searched to the end for that
        value = unescape(_TAGS.sub("", _BREAKS.sub("\n", value[:last])) + value[last:])
    lines = (" ".join(line.split()) for line in value.splitlines())
    return "\n".join(line for line in lines if line).encode("utf-8", "ignore").decode()
