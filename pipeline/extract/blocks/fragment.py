"""Read a small piece of a page's markup as a tree: a formula, a block of code, a table.

    root = parse('<td>a<td class="x">b')
    [cell.text() for cell in root.all("td")]        # ["a", "b"]

The page as a whole has no tree (see `tokenizer`); what has a structure of its own is cut out of it and read
here. Tree rules are simplified in the same way. The time is linear in the piece: every search moves forward,
and elements beyond `MAX_DEPTH` are left out: what they hold belongs to the one around. The elements of a
piece lie in one list and its text in one string, in order: an element's are a slice of each, so that asking
every element of a deep nest for its text does not walk the nest at each.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import merge
from typing import NamedTuple

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
_ATTRIBUTE = re.compile(r"""([^\s=/"'>]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?""")


_NOT_NUMBERS = re.compile(r"[^\d\s.:|>+\-–#·▾▸]+")
_COMMON = (("&nbsp;", "\xa0"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'))
_LONG_NUMBER = re.compile(r"&#[0-9]{20,}")


def unescape(text: str) -> str:
    """Replace character references; numbers of twenty digits and more, which the library refuses to read
    beyond 4,300, are those of no character."""
    if "&" not in text:
        return text
    for reference, character in _COMMON:  # code is full of them; the library looks each up
        text = text.replace(reference, character)
    if "&#" in text:
        text = _LONG_NUMBER.sub("&#4294967295", text)
    return html.unescape(text)


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


class _Source:
    """What the elements of one piece share: they and their text in order, and indexes made when asked for."""

    __slots__ = ("_by_tag", "_others", "_text", "length", "nodes", "parts")

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.parts: list[str] = []
        self.length = 0
        self._text: str | None = None
        self._by_tag: dict[str, list[int]] | None = None
        self._others: tuple[list[int], list[int]] | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = "".join(self.parts)
        return self._text

    def numbers(self, tag: str, first: int, end: int) -> list[int]:
        """Return the numbers, from `first` up to `end`, of the elements of a name."""
        if self._by_tag is None:
            self._by_tag = {}
            for node in self.nodes:
                self._by_tag.setdefault(node.tag, []).append(node.number)
        found = self._by_tag.get(tag)
        return found[bisect_left(found, first) : bisect_left(found, end)] if found else []

    def first(self, tag: str, first: int, end: int) -> int:
        """Return the number of the first such element, `end` where there is none."""
        if self._by_tag is None:
            self.numbers(tag, 0, 0)
        found = (self._by_tag or {}).get(tag, ())
        at = bisect_left(found, first)
        return min(found[at], end) if at < len(found) else end

    def is_numbers(self, start: int, end: int) -> bool:
        """Tell whether the text from `start` to `end` holds nothing but numbers, blanks and signs."""
        if self._others is None:
            runs = [match.span() for match in _NOT_NUMBERS.finditer(self.text)]
            self._others = [first for first, _ in runs], [last for _, last in runs]
        starts, ends = self._others
        at = bisect_left(ends, start + 1)
        return at == len(starts) or starts[at] >= end


class Node:
    """An element: its name in lower case without a namespace prefix, its attributes, its children in order.

    `number` counts the elements of the piece; those below are the ones from there to `after`. Its text lies
    from `start` to `end` in that of the piece."""

    __slots__ = (
        "_attributes", "_classes", "_markup", "_parent", "_source", "after", "children", "end", "number",
        "start", "tag",
    )  # fmt: skip
    number: int

    def __init__(
        self, tag: str, markup: str = "", parent: Node | None = None, source: _Source | None = None
    ) -> None:
        self.tag, self._markup = tag, markup
        self._parent = parent.number if parent is not None else -1
        self._source = source or _Source()
        self._attributes: dict[str, str] | None = None
        self._classes: list[str] | None = None
        self.children: list[Node | str] = []
        self.number = len(self._source.nodes)
        self.start = self._source.length
        self.after, self.end = self.number + 1, self.start
        self._source.nodes.append(self)

    @property
    def attributes(self) -> dict[str, str]:
        """Name to value, the first where one is given twice."""
        if self._attributes is None:
            read = _remembered if len(self._markup) < _MAX_REMEMBERED else _read_attributes
            self._attributes = read(self._markup)
        return self._attributes

    def get(self, name: str) -> str:
        return self.attributes.get(name, "") if self._markup else ""

    def classes(self) -> list[str]:
        """The class names in lower case."""
        if self._classes is None:
            self._classes = self.get("class").lower().split()
        return self._classes

    @property
    def parent(self) -> Node | None:
        """The element around it."""
        return self._source.nodes[self._parent] if self._parent >= 0 else None

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the elements: each knows of all others, which would wait for the collector of cycles."""
        self._source.nodes.clear()

    @property
    def markup(self) -> str:
        """The start tag behind the name, as it is written."""
        return self._markup

    def nodes(self) -> Iterator[Node]:
        """Yield the elements directly below."""
        return (child for child in self.children if isinstance(child, Node))

    def all(self, *tags: str) -> Iterator[Node]:
        """Yield the elements of these names below this one, in order; all when none is given."""
        nodes, first, end = self._source.nodes, self.number + 1, self.after
        if not tags:
            return (nodes[k] for k in range(first, end))
        found = [numbers for tag in tags if (numbers := self._source.numbers(tag, first, end))]
        return (nodes[k] for k in (found[0] if len(found) == 1 else merge(*found)))

    def first(self, *tags: str) -> Node | None:
        """Return the first element of these names below this one, the first of all when none is given."""
        first, end = self.number + 1, self.after
        found = min((self._source.first(tag, first, end) for tag in tags), default=first)
        return self._source.nodes[found] if found < end else None

    def count(self, *tags: str) -> int:
        """Return how many elements of these names there are below this one."""
        return sum(len(self._source.numbers(tag, self.number + 1, self.after)) for tag in tags)

    def text(self) -> str:
        """Join all text below, as it is written."""
        return self._source.text[self.start : self.end]

    def is_numbers(self) -> bool:
        """Tell whether the text is nothing but numbers, blanks and the signs beside line numbers."""
        return self._source.is_numbers(self.start, self.end)


def _read_attributes(markup: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if "=" in markup or markup.strip("/ "):
        for name, *values in _ATTRIBUTE.findall(markup):
            found.setdefault(name.lower(), unescape("".join(values)))
    return found


_MAX_REMEMBERED = 200  # characters of a tag, of which pages repeat most
_remembered = lru_cache(maxsize=4096)(_read_attributes)


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
        self._source = _Source()
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
