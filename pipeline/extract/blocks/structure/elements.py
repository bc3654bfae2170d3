"""Elements of a small piece of markup: their text, attributes and what lies below.

All of a piece lie in one list and its text in one string, in order: an
element's are a slice of each, so that asking every element of a deep nest for its text does not walk the nest
at each.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from heapq import merge

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


class Source:
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
        self, tag: str, markup: str = "", parent: Node | None = None, source: Source | None = None
    ) -> None:
        self.tag, self._markup = tag, markup
        self._parent = parent.number if parent is not None else -1
        self._source = source or Source()
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
