"""Code as it was written: from `pre`, and from the tables, lists and lines that highlighters build of it.

`find` takes the markup of an element that may hold code and returns it line by line with its indentation,
without line numbers, buttons and captions; None where the element is something else.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from gristmill.pipeline.extract.blocks.structure.elements import Node, unescape
from gristmill.pipeline.extract.blocks.structure.fragment import OPENS, TAGS, parse

MAX_BYTES = 400_000  # of markup; longer code is written as its text lies in the page's blocks


@dataclass(frozen=True, slots=True)
class Listing:
    """Code without the line break at its end, and the language the page names, "" where it names none."""

    text: str
    language: str = ""


_GUTTERS = frozenset((
    "gutter", "linenos", "lineno", "linenumber", "linenumbers", "line-number", "line-numbers", "linenum",
    "line-num", "lnum", "ln", "num", "blob-num", "hljs-ln-numbers", "hljs-ln-n", "hljs-ln-line-numbers",
    "crayon-nums", "crayon-num", "line-numbers-rows", "pre-numbering", "lines-num", "codemirror-linenumber",
    "codemirror-gutter-wrapper", "codemirror-gutters", "codemirror-gutter", "cm-gutters", "ace_gutter",
    "margin-view-overlays", "filecontents-linenum", "u-linenum", "code-line-number", "line_numbers",
    "linenodiv", "rouge-gutter", "line-nums", "code-gutter", "react-syntax-highlighter-line-number",
    "lineno-cell", "code_no", "number", "ltx_tag_listingline",
))  # fmt: skip
_CODE_CELLS = frozenset((
    "code", "blob-code", "hljs-ln-code", "lines-code", "filecontents-linecontents", "crayon-code",
    "rouge-code", "code-line", "line-content", "de1", "code-content", "codeline",
))  # fmt: skip
_TOKENS = frozenset(("number", "num", "token"))  # highlighters' names for a number in the code itself
_CODE_ENDINGS = ("linecontent", "linecontents", "line-content", "line-contents", "code-inner")
_GUTTER_ENDINGS = ("linenum", "lineno", "linenumber", "linenumbers", "line-number", "line-num", "-gutter")
_NOT_CODE = frozenset((
    "copy", "copy-btn", "copy-button", "btn-copy", "copybtn", "toolbar", "toolbar-item", "code-toolbar-item",
    "clipboard-copy", "hljs-button", "crayon-toolbar", "crayon-info", "opener", "code-copy", "copy-code",
    "copy-code-button", "signature", "codeheader", "codeblock-header", "code-header", "code-block-header",
    "file-header", "filename", "gist-meta", "bbcode_description", "bbcodeblock-header",
))  # fmt: skip
# Class names that say of an element without `pre` that what it holds is code.
_SURE = frozenset((
    "syntaxhighlighter", "dp-highlighter", "codehilite", "hljs", "prettyprint", "crayon-syntax", "geshi",
    "codemirror", "codemirror-code", "cm-editor", "cm-content", "ace_editor", "ace_content", "monaco-editor",
    "view-lines", "filecontents", "bbcode_code", "bbc_code", "blockcode", "csharpcode", "programlisting",
    "sourcecode", "code-block", "codeblock", "code-snippet", "shiki", "js-file-line-container", "linenums",
    "highlight", "code", "codebox", "codecontent", "code-view", "code-content", "fragment", "listing",
    "lines-code", "code-listing", "code-container", "codebody", "dp-c", "dp-j", "dp-sh", "hljs-ln",
    "ltx_lstlisting", "source-code", "prism-code", "code-example", "codeline", "code-inner", "codearea",
))  # fmt: skip
_LINES = frozenset(("div", "li", "tr", "p", "pre", "dd"))
_BLOCKS = _LINES | {
    "ol", "ul", "table", "tbody", "td", "thead", "section", "blockquote", "figure", "dl", "dt",
}  # fmt: skip
PROSE = frozenset(("h1", "h2", "h3", "h4", "h5", "h6", "article", "nav", "form", "iframe", "main", "header"))
_DROPPED = frozenset(("button", "svg", "style", "script", "select", "input", "noscript", "canvas",
    "clipboard-copy", "figcaption", "caption"))  # fmt: skip
_LINE_SPANS = frozenset(("line", "code-line", "token-line", "view-line", "cm-line", "hljs-line", "row",
    "codeline"))  # fmt: skip
# A break in the markup with the blanks around it; blanks before it are looked at from the first one on only.
_BREAK = re.compile(r"(?:(?<![ \t])[ \t]++)?\n[ \t\n]*")
# Phrases that may colour code and headings in it, their end tags, and their attributes; tags of no content.
_PHRASE = re.compile(
    r"</?(?:span|a|code|b|i|em|strong|font|u|s|var|kbd|tt|samp|mark|sub|sup|small|big|h[1-6])"
    r"(?=[\s/>])([^>]*)>"
    r"|<(?:br|hr|img|wbr)(?=[\s/>])[^>]*>",
    re.IGNORECASE,
)
_BR = re.compile(r"<br(?=[\s/>])", re.IGNORECASE)
_MAX_TAG = 300  # characters of a tag that is remembered
_LAYOUT = dict.fromkeys(map(ord, "\u200b\ufeff\u2060\u00ad"))
_LIKE_CODE = re.compile(r"[{}();=<>\[\]$|]|::|->|//|#!|\b(?:def|import|return|SELECT|echo|sudo|npm|pip)\b")
_NAMED_BY = re.compile(
    r"(?:^|\s)(?:language|lang|highlight-source|highlight-text|highlight|brush:\s*|source|code|sh_|mw-highlight-lang)"
    r"[-_ ]?:?\s*([a-zA-Z][\w+#.-]*)"
)
_NO_LANGUAGE = frozenset(
    (
        "plain", "text", "none", "plaintext", "txt", "default", "nohighlight", "undefined", "block",
        "code", "raw", "wrapper", "toolbar", "box", "highlighter", "content", "container", "notranslate",
        "auto", "copy", "line", "numbers", "snippet", "inner", "example", "view", "hljs", "html-basic",
        "output", "source", "unknown", "other", "auto-detect", "section", "listing", "editor", "pre",
        "panel", "area", "no", "no-highlight", "term",
    )
)  # fmt: skip


def find(markup: str | Node, around: str | None = "") -> Listing | None:
    """Read the code in an element's markup, or in the root above it; `around` holds the start tags of what it
    lies in, which may name the language; where it is None, the language is not asked for."""
    if isinstance(markup, str):
        with parse(markup) as root:
            return find(root, around)
    node = next(markup.nodes(), None)
    if node is None or not _is_code(node):
        return None
    text = _Writer(node).text()
    if not text.strip():
        return None
    return Listing(text, _language(node, around) if around is not None else "")


def highlighted(markup: str) -> str | None:
    """Return the code of a `pre` that holds nothing but coloured text, as most do, without a tree: None where
    it may hold more."""
    pieces = TAGS.split(markup)
    if pieces[0] or len(pieces) < 2 or not all(map(_only_colours, {*pieces[3:-2:2]})):
        return None
    begin, end = pieces[1].lower(), pieces[-2].lower()
    if not begin.startswith("<pre") or not _only_colours("<span" + begin[4:]):
        return None
    if pieces[-1] or len(pieces) < 4 or end.rstrip("> \n") != "</pre":
        return None
    text = "".join(
        [before + text for before, text in zip(map(_instead, pieces[1::2]), pieces[2::2], strict=True)]
    )
    if OPENS.search(text):
        return None
    text = unescape(text).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return _tidy(text)


def _only_colours(tag: str) -> bool:
    """Tell of a tag whether it does no more than colour the code in it."""
    match = _PHRASE.match(tag)
    return match is not None and len(tag) <= _MAX_TAG and not (match[1] and _remembered("span", match[1]))


def _instead(tag: str) -> str:
    """Return what a tag that only colours leaves: a line break where it is one."""
    return "\0\n" if _BR.match(tag) else "\0"


def _tidy(text: str) -> str:
    """Return code without what only steers layout, blanks that end lines, and blank lines around it."""
    lines = text.replace("\xa0", " ").translate(_LAYOUT).split("\n")
    return "\n".join([line.rstrip() for line in lines]).strip("\n")


def _is_code(node: Node) -> bool:
    if node.tag in ("pre", "listing", "xmp", "textarea"):
        return True
    names = set(node.classes()) | {node.get("id").lower()}
    pres = list(node.all("pre"))
    if len(pres) == 1 or next(node.all(*PROSE), None):
        return False
    if len(pres) > 1:
        return _in_one_table(node, pres) or all(_is_line(pre) for pre in _outermost(pres))
    sure = not _SURE.isdisjoint(names) or any(name.startswith("highlight-") for name in names)
    if node.tag == "table":
        return _has_code_cells(node)
    if not sure and not _is_marked(node):
        return False
    if node.first("table") is not None:
        return _has_code_cells(node)
    text = node.text()
    lines = node.count("br", *_LINES) or text.strip().count("\n")
    return lines > 0 and _LIKE_CODE.search(text) is not None and not _is_prose(text)


def _is_marked(node: Node) -> bool:
    """Tell whether nearly all of the text stands in `code` elements, some on each line."""
    whole = len("".join(node.text().split()))
    marked = sum(len("".join(one.text().split())) for one in _outermost(node.all("code")))
    return marked > 0 and marked >= 0.9 * whole


def _outermost(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield those of elements in order that lie in none of the others."""
    after = -1
    for node in nodes:
        if node.number >= after:
            yield node
            after = node.after


def _is_prose(text: str) -> bool:
    """Tell whether more than half of the words end no line and stand among plain words."""
    words = text.split()
    plain = sum(1 for word in words if word.strip(".,;:!?'\"").isalpha() and len(word) > 1)
    return len(words) > 30 and plain > 0.85 * len(words)


def _in_one_table(node: Node, pres: list[Node]) -> bool:
    """Tell whether the preformatted parts are numbers and code side by side."""
    return len(pres) == 2 and sum(pre.is_numbers() for pre in pres) == 1 and node.first("tr") is not None


def _is_line(pre: Node) -> bool:
    return "\n" not in pre.text().strip("\n")


def _is_code_cell(cell: Node) -> bool:
    """Tell whether a table's cell says that it holds a line of code."""
    names = cell.classes()
    return not _CODE_CELLS.isdisjoint(names) or any(name.endswith(_CODE_ENDINGS) for name in names)


def _has_code_cells(node: Node) -> bool:
    """Tell whether a table's rows are lines of code: it has cells of code, or numbers beside one column."""
    rows = list(node.all("tr"))
    cells = [[cell for cell in row.nodes() if cell.tag in ("td", "th")] for row in rows]
    if any(_is_code_cell(cell) for row in cells for cell in row):
        return True
    numbered = [row for row in cells if len(row) == 2 and _is_gutter(row[0])]
    return len(numbered) > 0 and len(numbered) >= 0.8 * len(rows)


def _is_gutter(node: Node) -> bool:
    """Tell whether an element holds line numbers: by name or number, and nothing else than numbers."""
    if node.tag in ("code", "table", "tr", "tbody"):
        return False
    names = node.classes()
    if node.tag == "span" and not _TOKENS.isdisjoint(names):
        return False
    named = _is_named_gutter(node)
    if node.tag == "pre" and not named:
        if node.first("pre") is not None:
            return False
        lines = node.text().split(None, 1)
        if len(lines) < 2 or not lines[0].isdecimal() or len(lines[0]) > 6:
            return False
        lines = node.text().split()
        return lines == [str(int(lines[0]) + k) for k in range(len(lines))]
    return named and node.is_numbers()


def _is_named_gutter(node: Node) -> bool:
    """Tell whether an element goes by a name of line numbers."""
    names = node.classes()
    return (
        not _GUTTERS.isdisjoint(names)
        or "data-line-number" in node.attributes
        or any(name.endswith(_GUTTER_ENDINGS) for name in names)
    )


# What an element's start tag says of it, bit by bit.
_IS_DROPPED, _MAY_BE_GUTTER, _IS_HIDDEN, _IS_LINE = 1, 2, 4, 8


def _traits_of(node: Node) -> int:
    return (_remembered if len(node.markup) <= _MAX_TAG else _traits)(node.tag, node.markup)


def _traits(tag: str, markup: str) -> int:
    """Read the bits above off a start tag; pages of code repeat the same few."""
    node = Node(tag, markup)
    names = node.classes()
    copies = tag in ("a", "em", "span") and "copy" in node.get("onclick").lower()
    is_dropped = tag in _DROPPED or copies or not _NOT_CODE.isdisjoint(names)
    may_be_gutter = tag == "pre" or _is_named_gutter(node)
    is_line = tag in ("span", "code") and not _LINE_SPANS.isdisjoint(names)
    return (
        _IS_DROPPED * is_dropped
        | _MAY_BE_GUTTER * may_be_gutter
        | _IS_HIDDEN * (node.get("aria-hidden") == "true")
        | _IS_LINE * is_line
    )


_remembered = lru_cache(maxsize=8192)(_traits)


class _Writer:
    """Writes an element's code line by line."""

    def __init__(self, node: Node) -> None:
        self._parts: list[str] = []
        self._at_start = True  # of a line
        self._code_cells = [cell.number for cell in node.all("td", "th") if _is_code_cell(cell)]
        self._num_alike: dict[int, dict[str, int]] = {}  # children of an element by their name
        self._given = next((area for area in node.all("textarea") if area.text().strip()), None)
        self._node = node

    def text(self) -> str:
        """Return the code without blank lines around it."""
        if self._given is not None and self._node.tag != "textarea":
            return self._given.text().replace("\r\n", "\n").strip("\n")
        is_pre = self._node.tag in ("pre", "listing", "xmp", "textarea") or self._is_raw()
        self._write(self._node, is_pre)
        return _tidy("".join(self._parts))

    def _is_raw(self) -> bool:
        """Tell whether the lines are those of the text itself, which the page's style keeps."""
        return "\n" in self._node.text().strip() and self._node.first("br", *_LINES) is None

    def _write(self, root: Node, is_pre: bool) -> None:
        """Walk without recursion: an element is met twice, when it begins and when it ends."""
        stack: list[tuple[Node | str, bool, int]] = [(root, is_pre, -1)]
        while stack:
            item, pre, began = stack.pop()
            if isinstance(item, str):
                self._text(item, pre)
            elif began >= 0:
                self._end(item, began)
            elif not self._skips(item, traits := _traits_of(item)):
                pre = pre or item.tag in ("pre", "textarea", "listing")
                if item.tag == "br":
                    self._break()
                    continue
                begins = item.tag in _BLOCKS or traits & _IS_LINE
                if begins and item is not root and item.tag not in ("td", "th") and not self._at_start:
                    self._break()
                stack.append((item, pre, len(self._parts)))
                stack += [(child, pre, -1) for child in reversed(item.children)]

    def _skips(self, node: Node, traits: int) -> bool:
        if traits & _IS_DROPPED or (traits & _MAY_BE_GUTTER and _is_gutter(node)):
            return True
        if self._code_cells and node.tag in ("td", "th") and not _is_code_cell(node):
            at = bisect_right(self._code_cells, node.number)
            return at == len(self._code_cells) or self._code_cells[at] >= node.after
        return bool(traits & _IS_HIDDEN) and node.is_numbers()

    def _text(self, text: str, pre: bool) -> None:
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not pre and "\n" in text:
            # A break in the markup is its layout, and with it the blanks around; others are the code's.
            text = _BREAK.sub(" ", text)
            if self._at_start:
                text = text.removeprefix(" ")
            if not text.strip(" "):
                text = ""
        if text:
            self._parts.append(text)
            self._at_start = text.endswith("\n")

    def _break(self) -> None:
        self._parts.append("\n")
        self._at_start = True

    def _end(self, node: Node, began: int) -> None:
        """End a line where a line's element ends; one that holds nothing is a blank line."""
        if node.tag not in _LINES or node is self._node:
            return
        if len(self._parts) == began:
            if node.tag != "pre" and self._siblings(node) > 2:
                self._break()
        elif not self._at_start and not (
            node.tag == "pre" and node.parent and node.parent.tag in ("td", "th")
        ):
            self._break()

    def _siblings(self, node: Node) -> int:
        """Count the elements of the same name and parent, this one among them."""
        if node.parent is None:
            return 0
        if node.parent.number not in self._num_alike:
            self._num_alike[node.parent.number] = Counter(other.tag for other in node.parent.nodes())
        return self._num_alike[node.parent.number][node.tag]


def _language(node: Node, around: str) -> str:
    """Return the language named by the element, one inside it, or one it lies in."""
    inside = list(islice(node.all("code", "pre", "div", "table", "ol", "figure"), 6))
    for one in (node, *inside, *reversed(list(parse(around).all()))):
        for attribute in ("data-lang", "data-language", "data-code-lang", "lang"):
            value = one.get(attribute).lower().strip()
            if (
                attribute != "lang"
                and re.fullmatch(r"[a-z][\w+#.-]{0,20}", value)
                and value not in _NO_LANGUAGE
            ):
                return value
        names = " ".join((one.get("class"), one.get("data-syntaxhighlighter-params")))
        for match in _NAMED_BY.finditer(" ".join(names.split())):
            value = match[1].lower()
            if value not in _NO_LANGUAGE and len(value) < 20:
                return value
        classes = one.classes()
        if {"hljs", "sourcecode", "prettyprint", "syntaxhighlighter"} & set(classes):
            rest = [name for name in classes if name in _KNOWN]
            if rest:
                return rest[0]
    return ""


_KNOWN = frozenset(
    [
        "bash", "c", "c++", "cpp", "csharp", "css", "diff", "dockerfile", "go", "golang", "graphql",
        "haskell", "html", "http", "ini", "java", "javascript", "js", "json", "jsx", "julia", "kotlin",
        "latex", "lua", "makefile", "markdown", "matlab", "nginx", "objectivec", "ocaml", "perl", "php",
        "powershell", "prolog", "properties", "python", "py", "r", "ruby", "rb", "rust", "scala", "scheme",
        "shell", "sh", "sql", "swift", "toml", "ts", "tsx", "typescript", "vb", "vim", "xml", "yaml",
        "yml",
    ]
)  # fmt: skip
