"""Read a small piece of a page's markup as a tree: a formula, a block of code, a table.

    root = parse('<td>a<td class="x">b')
    [cell.text() for cell in root.all("td")]        # ["a", "b"]

The page as a whole has no tree (see `tokenizer`); what has a structure of its own is cut out of it and read
here. Tree rules are simplified in the same way. The time is linear in the piece: every search moves forward,
and elements beyond `MAX_DEPTH` are left out: what they hold belongs to the one around.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

from gristmill.pipeline.extract.blocks.structure.elements import Node, Source, unescape

MAX_DEPTH = 200
# Tags that may be read as trees in all fragments of a page; one takes up to four microseconds.
# Markdown, which reads tables, may begin with more.
_FREE_TAGS, _FREE_IN_MARKDOWN, _BYTES_A_TAG = 300, 2000, 10
_VOID = frozenset(
    (
        "br", "hr", "img", "input", "meta", "link", "area", "base", "col", "embed", "source", "wbr",
        "track", "param", "mspace",
    )
)  # fmt: skip
_RAW = frozenset(("script", "style", "textarea", "xmp", "title", "noembed", "noframes"))
_RAW_ENDS = {tag: re.compile(f"</{tag}", re.IGNORECASE) for tag in sorted(_RAW)}
_MUTE = frozenset(("script", "style"))  # what they hold is no text
_SCOPE = frozenset(("table", "td", "th", "caption", "math", "svg", "template"))
_TABLE_PARTS = frozenset(("table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption"))
# What a start tag closes: (the open elements it ends, the elements the search stops at).
_CLOSES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(ends), frozenset(stops))
    for names, ends, stops in (
        (("li",), ("li",), ("ul", "ol", "menu", *_SCOPE)),
        (("dt", "dd"), ("dt", "dd"), ("dl", *_SCOPE)),
        (("td", "th"), ("td", "th"), ("tr", "table")),
        (("tr",), ("tr", "td", "th", "caption"), ("thead", "tbody", "tfoot", "table")),
        (("thead", "tbody", "tfoot"), ("thead", "tbody", "tfoot", "caption", "tr", "td", "th"), ("table",)),
        (("option",), ("option",), ("select", "datalist")),
        (("p", "div", "ul", "ol", "dl", "table", "pre", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6",
          "hr", "section", "article", "form"), ("p",), ("button", "object", *_SCOPE)),
    )
    for name in names
}  # fmt: skip
OPENS = re.compile(r"<(?:/?[a-zA-Z]|[!?])")
_TAG = re.compile(r"""<[^>"']*+(?:"[^"]*+"[^>"']*+|'[^']*+'[^>"']*+)*+>""")
# A tag without a `>` in quotes: it ends at its first one.
_SIMPLE_TAG = re.compile(
    r"""<(/?)([a-zA-Z][^\s/>"']*+)(?=[\s/>])([^"'>]*+(?:(?:"[^">]*+"|'[^'>]*+')[^"'>]*+)*+)>"""
)
# The same without a `<` either, so that no search goes beyond the next tag, as one group to split by.
TAGS = re.compile(
    r"""(</?[a-zA-Z][^\s/<>"']*+(?=[\s/>])[^"'<>]*+(?:(?:"[^"<>]*+"|'[^'<>]*+')[^"'<>]*+)*+>)"""
)
_MAX_TAG = 20_000  # characters of a tag in which quotes are balanced
_NEAR = 8  # elements of the stack that are looked at one by one
_MAX_BALANCED = 4  # times the piece's characters; then a tag ends at its first `>`
_NAME = re.compile(r"[^\s/>]+")


@dataclass(slots=True)
class Bounds:
    """What fragments of one page may take, and the names of the bounds that were met."""

    tags: int = 1 << 60
    met: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, page_bytes: int, is_markdown: bool) -> Bounds:
        return cls((_FREE_IN_MARKDOWN if is_markdown else _FREE_TAGS) + page_bytes // _BYTES_A_TAG)

    def allow(self, markup: str) -> bool:
        """Take the tags of a fragment off those that may be read as trees; False where too few are left."""
        num = markup.count("<")
        if num > self.tags:
            self.met.add("fragments")
            return False
        self.tags -= num
        return True


class _Kind(NamedTuple):
    """What a tag does: ends an element, or begins one with these attributes."""

    ends: bool
    tag: str
    markup: str
    closed: bool
    stays: bool  # open until an end tag
    rule: tuple[frozenset[str], frozenset[str]] | None

    @classmethod
    def of(cls, closes: bool, name: str, markup: str) -> _Kind:
        tag = name.lower()
        if ":" in tag:
            tag = tag.rpartition(":")[2]
        closed = markup.endswith("/")
        stays = tag not in _VOID and not (closed and not _is_html(tag))
        return cls(closes, tag, markup, closed, stays, _CLOSES.get(tag))


def _kind(simple: str) -> _Kind:
    match = _SIMPLE_TAG.match(simple)
    assert match is not None
    closes, name, markup = match.groups()
    return _Kind.of(closes == "/", name, markup)


def parse(source: str, bounds: Bounds | None = None) -> Node:
    """Return a root without a name above what the source holds; within `with` it is there no longer than
    needed."""
    bounds = bounds or Bounds()
    return _parse_simple(source, bounds) or _parse_odd(source, bounds)


def _parse_simple(source: str, bounds: Bounds) -> Node | None:
    """Read a source all of whose markup are tags without a `>` in quotes, none of them raw; None of others.

    It is cut at its tags at once, and each of a kind is looked at once.
    """
    pieces = TAGS.split(source)
    texts = "\0".join(pieces[::2])
    kinds = {tag: _kind(tag) for tag in {*pieces[1::2]}}
    if "\0" in source or OPENS.search(texts) or any(kind.tag in _RAW for kind in kinds.values()):
        return None
    parts = iter(unescape(texts).split("\0"))
    builder = _Builder(bounds)
    if first := next(parts):
        builder.text(first)
    for tag, text in zip(pieces[1::2], parts, strict=True):
        kind = kinds[tag]
        if kind.ends:
            builder.close(kind.tag)
        else:
            builder.open(kind)
        if text:
            builder.text(text)
    return builder.finish()


def _parse_odd(source: str, bounds: Bounds) -> Node:
    """Read any source, tag by tag."""
    builder = _Builder(bounds)
    i, end = 0, len(source)
    balanced = _MAX_BALANCED * end + _MAX_TAG  # characters that may be read in vain for the end of a quote
    kinds: dict[str, _Kind] = {}
    while i < end:
        match = OPENS.search(source, i)
        if match is None:
            builder.text(unescape(source[i:]))
            break
        at = match.start()
        if at > i:
            builder.text(unescape(source[i:at]))
        if simple := _SIMPLE_TAG.match(source, at):
            i = simple.end()
            kind = kinds.get(simple[0]) or kinds.setdefault(simple[0], _kind(simple[0]))
        else:
            i, in_vain = _after_tag(source, at, balanced > 0)
            balanced -= in_vain
            if balanced <= 0:
                bounds.met.add("quotes")
            if source[at + 1] in "!?" or not (odd := _NAME.match(source, at + 1 + (source[at + 1] == "/"))):
                continue
            kind = _Kind.of(source[at + 1] == "/", odd[0], source[odd.end() : i - 1])
        tag = kind.tag
        if kind.ends:
            builder.close(tag)
            continue
        node = builder.open(kind)
        if tag in _RAW and not kind.closed:
            stop = _RAW_ENDS[tag].search(source, i)
            content = source[i : stop.start()] if stop else source[i:]
            builder.raw(node, unescape(content) if tag in ("textarea", "title") else content)
            builder.close(tag)
            i = _after_tag(source, stop.start(), True)[0] if stop else end
    return builder.finish()


def _after_tag(source: str, at: int, may_balance: bool) -> tuple[int, int]:
    """Return the position after the tag or comment that begins at `at`; quoted values may hold a `>`. A quote
    that never ends is none; the second number is how many characters were read to find that out."""
    if source.startswith("<!--", at):
        end = source.find("-->", at + 4)
        return (end + 3 if end >= 0 else len(source)), 0
    end = source.find(">", at)
    if end < 0:
        return len(source), 0
    if may_balance and (source.count('"', at, end) % 2 or source.count("'", at, end) % 2):
        match = _TAG.match(source, at, at + _MAX_TAG)
        return (match.end(), 0) if match else (end + 1, min(_MAX_TAG, len(source) - at))
    return end + 1, 0


class _Builder:
    """Keeps the stack of open elements, and where on it those of each name lie."""

    def __init__(self, bounds: Bounds) -> None:
        self._met = bounds.met
        self._source = Source()
        self._stack = [Node("", source=self._source)]
        self._open: dict[str, list[int]] = {}
        self._scopes: list[int] = []
        self._muted = 0  # open elements whose text is none

    def text(self, text: str) -> None:
        """Put text into the innermost open element."""
        self._stack[-1].children.append(text)
        if not self._muted:
            self._source.parts.append(text)
            self._source.length += len(text)

    def raw(self, node: Node, text: str) -> None:
        """Put the content of a raw element into it."""
        node.children.append(text)
        if not self._muted and node.tag not in _MUTE:
            self._source.parts.append(text)
            self._source.length += len(text)
            node.end = self._source.length

    def open(self, kind: _Kind) -> Node:
        if kind.rule:
            self._imply(*kind.rule)
        stack, tag = self._stack, kind.tag
        if kind.stays and len(stack) >= MAX_DEPTH:
            self._met.add("nesting")
            return stack[-1]  # which holds the text that follows
        node = Node(tag, kind.markup, stack[-1], self._source)
        stack[-1].children.append(node)
        if kind.stays:
            self._open.setdefault(tag, []).append(len(stack))
            if tag in _SCOPE:
                self._scopes.append(len(stack))
            elif tag in _MUTE:
                self._muted += 1
            stack.append(node)
        return node

    def _imply(self, ends: frozenset[str], stops: frozenset[str]) -> None:
        """End the outermost of these elements on this side of where the search stops."""
        stack, opened = self._stack, self._open
        found = [places for tag in ends if (places := opened.get(tag))]
        if not found:
            return
        cut = len(stack)
        for k in range(cut - 1, max(cut - _NEAR, 0), -1):
            tag = stack[k].tag
            if tag in ends:
                cut = k
            elif tag in stops:
                if cut < len(stack):
                    self._cut(cut)
                return
        stop = max((places[-1] for tag in stops if (places := opened.get(tag))), default=0)
        cut = min(
            (places[at] for places in found if (at := bisect_left(places, stop)) < len(places)), default=0
        )
        if cut:
            self._cut(cut)

    def close(self, tag: str) -> None:
        places = self._open.get(tag)
        if places and (tag in _TABLE_PARTS or not self._scopes or self._scopes[-1] <= places[-1]):
            self._cut(places[-1])

    def _cut(self, depth: int) -> None:
        """End all elements of the stack from `depth` on."""
        stack, source = self._stack, self._source
        while len(stack) > depth:
            node = stack.pop()
            node.after, node.end = len(source.nodes), source.length
            self._open[node.tag].pop()
            if node.tag in _SCOPE:
                self._scopes.pop()
            elif node.tag in _MUTE:
                self._muted -= 1

    def finish(self) -> Node:
        """End what is open and return the root."""
        self._cut(1)
        root = self._stack[0]
        root.after, root.end = len(self._source.nodes), self._source.length
        return root


def _is_html(tag: str) -> bool:
    """Tell whether a tag that closes itself is open all the same, as HTML has it; those of MathML are not."""
    return tag in (
        "div",
        "span",
        "p",
        "a",
        "td",
        "th",
        "tr",
        "li",
        "table",
        "b",
        "i",
        "pre",
        "code",
        "script",
    )
