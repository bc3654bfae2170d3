"""Write phrases inside a line: formulas, inline code, and, where asked for, emphasis, links and images.

From an element of a fragment (`write`), or from a block of text in which bytes stand for inserts (`Stash`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.structure import formulas
from gristmill.pipeline.extract.blocks.structure.elements import Node, unescape
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds

HELD = "\x02"  # stands for what is held back until delimiters have been looked for
_MARKS = {L.CODE_BEGIN: "`", L.STRONG_BEGIN: "**", L.EMPHASIS_BEGIN: "*"}
_PHRASES = {"code": L.CODE_BEGIN, "tt": L.CODE_BEGIN, "kbd": L.CODE_BEGIN, "samp": L.CODE_BEGIN,
    "b": L.STRONG_BEGIN, "strong": L.STRONG_BEGIN, "i": L.EMPHASIS_BEGIN, "em": L.EMPHASIS_BEGIN,
    "a": L.LINK_BEGIN}  # fmt: skip
_ASKED = {L.CODE_BEGIN: L.WITH_CODE, L.STRONG_BEGIN: L.WITH_EMPHASIS, L.EMPHASIS_BEGIN: L.WITH_EMPHASIS,
    L.LINK_BEGIN: L.WITH_LINKS}  # fmt: skip
_BLOCKS = frozenset(
    (
        "p", "div", "br", "li", "ul", "ol", "tr", "table", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5",
        "h6", "pre", "td", "th", "hr", "section", "article", "blockquote", "caption",
    )
)  # fmt: skip
_DROPPED = frozenset(("style", "template", "select", "button", "svg", "noscript", "textarea", "annotation"))
_SKIPPED = frozenset(("katex-html", "mathjax_preview", "mjx_assistive_mathml"))
_MAX_NESTED = 20  # phrases within each other; inner ones have no marks


def wrap(kind: int, content: str, address: str = "") -> str:
    """Put the marks of a phrase around it, its outer blanks outside; a phrase of blanks has no marks."""
    before, core, after = _split_blanks(content)
    if not core:
        return content
    if kind == L.LINK_BEGIN:
        return f"{before}[{core}]({address}){after}" if address else content
    mark = _MARKS[kind]
    if kind == L.CODE_BEGIN and "`" in core:
        mark = "`" * (max(len(run) for run in re.findall("`+", core)) + 1)
        core = f" {core} " if core[0] == "`" or core[-1] == "`" else core
    return before + mark + core + mark + after


def _split_blanks(text: str) -> tuple[str, str, str]:
    """Return the blanks before, what is between, the blanks after."""
    core = text.strip()
    if not core:
        return text, "", ""
    begin = len(text) - len(text.lstrip())
    return text[:begin], core, text[begin + len(core) :]


def write(node: Node, mode: int) -> str:
    """Write an element's content as one line; `mode` has the bits of `layout` that say which phrases."""
    return " ".join(_write(node, mode, 0).split())


def _write(node: Node, mode: int, depth: int) -> str:
    parts: list[str] = []
    for child in node.children:
        if isinstance(child, str):
            parts.append(child)
            continue
        if formulas.draws(child):
            found = formulas.read_node(child)
            if found is not None:
                parts.append(str(found))
                continue
        if child.tag in _DROPPED or child.tag == "script" or not _SKIPPED.isdisjoint(child.classes()):
            continue
        if child.tag == "img":
            if mode & L.WITH_IMAGES and child.get("alt"):
                parts.append(f"![{child.get('alt')}]")
            continue
        if depth > 60:
            parts.append(child.text())
            continue
        content = _write(child, mode, depth + 1)
        kind = _PHRASES.get(child.tag)
        if kind is not None and mode & _ASKED[kind]:
            content = wrap(kind, content, child.get("href"))
        parts.append(f" {content} " if child.tag in _BLOCKS else content)
    return "".join(parts)


@dataclass(slots=True)
class Stash:
    """What stands in blocks for markup: reads inserts, holds their text back, and puts it in at the end."""

    page: bytes
    inserts: npt.NDArray[np.int32]
    is_markdown: bool
    bounds: Bounds = field(default_factory=Bounds)
    held: list[str] = field(default_factory=list)
    _at: dict[int, int] = field(default_factory=dict)
    _deeper: dict[int, int] = field(default_factory=dict)  # phrases of a kind open beyond the bound

    def __post_init__(self) -> None:
        # Of inserts at one place the last counts: a block without words is overwritten.
        self._at = {at: k for k, at in enumerate(self.inserts[:, L.TEXT_AT].tolist())}

    def text(self, data: bytes, start: int, end: int) -> str:
        """Return a block's text with a mark for each thing held back."""
        block = data[start:end]
        if L.INSERT_BYTE not in block:
            return block.decode()
        out: list[str] = []
        opened: list[tuple[int, int, str]] = []
        self._deeper.clear()
        position = start
        for piece in block.split(bytes([L.INSERT_BYTE])):
            if position > start:
                self._insert(self._at.get(position - 1, -1), out, opened)
            out.append(piece.decode())
            position += len(piece) + 1
        return "".join(out).strip()

    def _insert(self, number: int, out: list[str], opened: list[tuple[int, int, str]]) -> None:
        if number < 0:
            return
        kind, start, end, _ = self.inserts[number].tolist()
        if kind == L.FORMULA:
            out.append(self.hold(self.formula(number)))
        elif kind == L.IMAGE:
            out.append(self.hold(f"![{_attribute(self.page, start, end)}]"))
        elif not self.is_markdown:
            return
        elif kind in _ASKED and len(opened) >= _MAX_NESTED:
            self._deeper[kind] = self._deeper.get(kind, 0) + 1
            self.bounds.met.add("nesting")
        elif kind in _ASKED:
            opened.append((kind, len(out), _attribute(self.page, start, end) if kind == L.LINK_BEGIN else ""))
        else:
            self._close(kind - 1, out, opened)

    def _close(self, kind: int, out: list[str], opened: list[tuple[int, int, str]]) -> None:
        """End the innermost phrase of a kind; those begun inside it and not ended are forgotten."""
        if self._deeper.get(kind, 0):
            self._deeper[kind] -= 1
            return
        at = next((k for k in range(len(opened) - 1, -1, -1) if opened[k][0] == kind), -1)
        if at < 0:
            return
        _, first, address = opened[at]
        content = "".join(out[first:])
        del opened[at:], out[first:]
        if kind == L.CODE_BEGIN and content.strip() and HELD not in content:
            before, core, after = _split_blanks(content)
            out.append(before + self.hold(wrap(kind, core)) + after)
        else:
            out.append(wrap(kind, content, address) if kind != L.CODE_BEGIN else content)

    def plain(self, at: int) -> str:
        """Return what stands in plain text for the insert at a place: a formula, or nothing."""
        number = self._at.get(at, -1)
        return self.formula(number) if number >= 0 and self.inserts[number, L.KIND] == L.FORMULA else ""

    def formula(self, number: int) -> str:
        """Return a formula; "" for what MathJax draws of one whose source comes next."""
        _, start, end, _ = self.inserts[number].tolist()
        markup = self.page[start:end].decode("utf-8", "replace")
        if formulas.is_drawing(markup) and number + 1 < len(self.inserts):
            kind, after, until, _ = self.inserts[number + 1].tolist()
            is_script = self.page[after : after + 7].lower() == b"<script" and until > after
            if kind == L.FORMULA and is_script and not self.page[end:after].strip():
                return ""
        found = formulas.read(markup, self.bounds)
        return str(found) if found is not None else ""

    def hold(self, text: str) -> str:
        """Keep a text back and return the mark that stands for it."""
        self.held.append(text)
        return HELD

    def release(self, text: str) -> str:
        """Put everything held back into its place; marks and what is held are in the same order."""
        parts = text.split(HELD)
        if len(parts) == 1:
            return text
        out = [parts[0]]
        for part, held in zip(parts[1:], self.held, strict=True):
            # What leaves nothing leaves one blank, not two.
            if not held and out[-1].endswith(" ") and part.startswith(" "):
                part = part[1:]
            out += [held, part]
        return "".join(out)


def _attribute(page: bytes, start: int, end: int) -> str:
    value = unescape(page[start:end].decode("utf-8", "replace")) if start >= 0 else ""
    return " ".join(value.split()).replace(" ", "%20") if "](" in value else " ".join(value.split())
