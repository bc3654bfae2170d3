"""Tags of a page's head, as HTML's tokenizer reads them: a `>` in a quoted value ends none, what nothing ends
is none, and of attributes with one name the first counts.

Comments and what is text in a head (scripts, styles, the title, templates) hold no tags. Character references
stay as they are. Every byte is passed a bounded number of times, whatever the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TAG = re.compile(rb"<(?:(!--)|(/?)([a-zA-Z][^\t\n\f\r />]*+)|[!?/])")
_COMMENT_END = re.compile(rb"(?<=<!--)-?>|--!?>")
_TAG_END = re.compile(rb"[\t\n\f\r /]*+>")
# A name, and a value in double quotes, in single ones, in none, or nothing before the tag's end; else, in the
# last group, the sign of a value that nothing ends.
_ATTRIBUTE = re.compile(
    rb"""[\t\n\f\r /]*+([^\t\n\f\r />][^\t\n\f\r />=]*+)[\t\n\f\r ]*+"""
    rb"""(?:=[\t\n\f\r ]*+(?:"([^"]*+)"|'([^']*+)'|([^\t\n\f\r >"'][^\t\n\f\r >]*+)|(?=>))|(=))?+"""
)
_OPAQUE = {
    name: re.compile(rb"</" + name + rb"(?=[\t\n\f\r />])", re.IGNORECASE)
    for name in (b"script", b"style", b"title", b"template", b"noframes")
}


def tags_of_head(html: bytes, end: int, wanted: bytes) -> Iterator[dict[bytes, bytes]]:
    """Yield the attributes of every start tag of a name (in lower case) in html[:end], up to the body's."""
    at = 0
    while found := _TAG.search(html, at, end):
        comment, closes, name = found.groups()
        at = found.end()
        if name is None:  # a comment, or what is read as one
            stop = _COMMENT_END.search(html, at, end) if comment else None
            at = stop.end() if stop else -1 if comment else html.find(b">", at, end)
            if at < 0:
                return
            continue
        said, at = _attributes(html, at, end)
        if at < 0:
            return
        name = name.lower()
        if closes:
            continue
        if name == b"body":
            return
        if name == wanted:
            yield said
        elif name in _OPAQUE:
            close = _OPAQUE[name].search(html, at, end)
            if not close:
                return
            at = close.start()


def _attributes(html: bytes, at: int, end: int) -> tuple[dict[bytes, bytes], int]:
    """Read attributes from behind a tag's name on; return them and where the tag ends, -1 where nothing ends
    it."""
    said: dict[bytes, bytes] = {}
    while not (stop := _TAG_END.match(html, at, end)):
        found = _ATTRIBUTE.match(html, at, end)
        if not found or found[5]:
            return said, -1
        name, one, two, three, _ = found.groups()
        said.setdefault(name.lower(), one or two or three or b"")
        at = found.end()
    return said, stop.end()
