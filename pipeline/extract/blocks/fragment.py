"""Read a small piece of a page's markup as a tree: a formula, a block of code, a table.

    root = parse('<td>a<td class="x">b')
    [cell.text() for cell in root.all("td")]        # ["a", "b"]

The page as a whole has no tree (see `tokenizer`); what has a structure of its own is cut out of it and read
here. Tree rules are simplified in the same way. The time is linear in the piece: every search moves forward,
and elements beyond `MAX_DEPTH` are laid beside each other.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

MAX_DEPTH = 200
_VOID = frozenset(
    (
        "br",
        "hr",
        "img",
        "input",
        "meta",
        "link",
        "area",
        "base",
        "col",
        "embed",
        "source",
        "wbr",
        "track",
        "param",
        "mspace",
    )
)
_RAW = frozenset(("script", "style", "textarea", "xmp", "title", "noembed", "noframes"))
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
_OPENS = re.compile(r"<(?:/?[a-zA-Z]|[!?])")
_TAG = re.compile(r"""<[^>"']*+(?:"[^"]*+"[^>"']*+|'[^']*+'[^>"']*+)*+>""")
_MAX_TAG = 20_000  # characters of a tag in which quotes are balanced
_NAME = re.compile(r"[^\s/>]+")
_ATTRIBUTE = re.compile(r"""([^\s=/"'>]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?""")


class Node:
    """An element: its name in lower case without a namespace prefix, its attributes, its children in
    order."""

    __slots__ = ("_attributes", "_markup", "children", "parent", "tag")

    def __init__(self, tag: str, markup: str = "", parent: Node | None = None) -> None:
        self.tag, self._markup, self.parent = tag, markup, parent
        self._attributes: dict[str, str] | None = None
        self.children: list[Node | str] = []

    @property
    def attributes(self) -> dict[str, str]:
        """Name to value, the first where one is given twice."""
        if self._attributes is None:
            self._attributes = {}
            for name, *values in _ATTRIBUTE.findall(self._markup):
                self._attributes.setdefault(name.lower(), html.unescape("".join(values)))
        return self._attributes

    def get(self, name: str) -> str:
        return self.attributes.get(name, "") if self._markup else ""

    def classes(self) -> list[str]:
        """The class names in lower case."""
        return self.get("class").lower().split()

    def nodes(self) -> Iterator[Node]:
        """Yield the elements directly below."""
        return (child for child in self.children if isinstance(child, Node))

    def all(self, *tags: str) -> Iterator[Node]:
        """Yield the elements of these names below this one, in order; all when none is given."""
        stack = list(reversed(list(self.nodes())))
        while stack:
            node = stack.pop()
            if not tags or node.tag in tags:
                yield node
            stack += reversed(list(node.nodes()))

    def first(self, *tags: str) -> Node | None:
        return next(self.all(*tags), None)

    def text(self) -> str:
        """Join all text below, as it is written."""
        parts: list[str] = []
        stack: list[Node | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                parts.append(item)
            elif item.tag not in ("script", "style"):
                stack += reversed(item.children)
        return "".join(parts)


def parse(source: str) -> Node:
    """Return a root without a name above what the source holds."""
    root = Node("")
    builder = _Builder(root)
    i, end = 0, len(source)
    while i < end:
        match = _OPENS.search(source, i)
        if match is None:
            builder.text(source[i:])
            break
        at = match.start()
        builder.text(source[i:at])
        i = _after_tag(source, at)
        if source[at + 1] in "!?":
            continue
        closes = source[at + 1] == "/"
        name = _NAME.match(source, at + 1 + closes)
        if name is None:
            continue
        tag = name[0].lower().rpartition(":")[2]
        if closes:
            builder.close(tag)
            continue
        markup = source[name.end() : i - 1]
        node = builder.open(tag, markup, markup.endswith("/"))
        if tag in _RAW and not markup.endswith("/"):
            stop = re.compile(f"</{tag}", re.IGNORECASE).search(source, i)
            content = source[i : stop.start()] if stop else source[i:]
            node.children.append(html.unescape(content) if tag in ("textarea", "title") else content)
            builder.close(tag)
            i = _after_tag(source, stop.start()) if stop else end
    return root


def _after_tag(source: str, at: int) -> int:
    """Return the position after the tag or comment that begins at `at`; quoted values may hold a `>`. A quote
    that never ends is none."""
    if source.startswith("<!--", at):
        end = source.find("-->", at + 4)
        return end + 3 if end >= 0 else len(source)
    end = source.find(">", at)
    if end < 0:
        return len(source)
    if source.count('"', at, end) % 2 or source.count("'", at, end) % 2:
        match = _TAG.match(source, at, at + _MAX_TAG)
        return match.end() if match else end + 1
    return end + 1


class _Builder:
    """Keeps the stack of open elements."""

    def __init__(self, root: Node) -> None:
        self._stack = [root]

    def text(self, source: str) -> None:
        if source:
            self._stack[-1].children.append(html.unescape(source) if "&" in source else source)

    def open(self, tag: str, markup: str, closed: bool) -> Node:
        if rule := _CLOSES.get(tag):
            self._imply(*rule)
        node = Node(tag, markup, self._stack[-1])
        self._stack[-1].children.append(node)
        if tag not in _VOID and not (closed and not _is_html(tag)) and len(self._stack) < MAX_DEPTH:
            self._stack.append(node)
        return node

    def _imply(self, ends: frozenset[str], stops: frozenset[str]) -> None:
        """End the outermost of these elements on this side of where the search stops."""
        cut = len(self._stack)
        for k in range(len(self._stack) - 1, 0, -1):
            if self._stack[k].tag in ends:
                cut = k
            elif self._stack[k].tag in stops:
                break
        del self._stack[cut:]

    def close(self, tag: str) -> None:
        for k in range(len(self._stack) - 1, 0, -1):
            if self._stack[k].tag == tag:
                del self._stack[k:]
                return
            if self._stack[k].tag in _SCOPE and tag not in _TABLE_PARTS:
                return


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
