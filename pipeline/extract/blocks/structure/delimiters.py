"""Formulas that stand in a text between marks, by the page's own configuration of MathJax or KaTeX."""

from __future__ import annotations

import re

from gristmill.pipeline.extract.blocks.structure import asciimath
from gristmill.pipeline.extract.blocks.structure.formulas import LIKE_TEX

_PAIR = re.compile(r"""\[\s*(["'])(.{1,40}?)\1\s*,\s*(["'])(.{1,40}?)\3\s*\]""")
_KATEX_PAIR = re.compile(
    r"""left["']?\s*:\s*(["'])(.{1,40}?)\1\s*,\s*["']?right["']?\s*:\s*(["'])(.{1,40}?)\3\s*(?:,\s*["']?display["']?\s*:\s*(\w+|!\d))?"""
)
_MAX_REGIONS = 12  # places of a page that are looked at for its configuration, of each name
_RENDERERS = (b"athJax", b"katex", b"mathjax")
_ASCII_MATH = (b"sciiMath", b"sciimath", b"ASCIIMath", b"=AM_", b"=AM-", b"MML-AM_", b"AM_CHTML", b"AM_HTML")
_FEW = 50  # characters that are looked at one by one
_MAX_INLINE, _MAX_DISPLAY = 600, 6000
_ENVIRONMENT = r"(?:equation|align|alignat|gather|multline|eqnarray|displaymath|flalign|CD|math)\*?"
_BEGIN = re.compile(rf"\\begin\{{({_ENVIRONMENT})\}}")
_ALWAYS = (
    ("\\[", "\\]", True),
    ("$$$$$$", "$$$$$$", True),
    ("$$$", "$$$", False),
    ("$$", "$$", True),
    ("\\(", "\\)", False),
    ("[latex]", "[/latex]", False),
    ("[tex]", "[/tex]", False),
    ("[math]", "[/math]", False),
    ("$latex ", "$", False),
    ("[mathjaxinline]", "[/mathjaxinline]", False),
    ("[mathjax]", "[/mathjax]", True),
)
# Marks that are no other's, by their first character.
_MARKS = {
    "\\": ("\\(", "\\[", "\\begin{"),
    "$": ("$$", "$latex "),
    "[": ("[latex]", "[tex]", "[math]", "[mathjax"),
}


class Delimiters:
    """How a page marks formulas in its text, by its own configuration where it has one."""

    def __init__(self, page: bytes, has_renderer: bool | None = None) -> None:
        self._page = page
        self.has_renderer = _has_renderer(page) if has_renderer is None else has_renderer
        pairs = list(_ALWAYS)
        if self.has_renderer:
            pairs += _configured(page)
        known = {opening: (opening, closing, display) for opening, closing, display in reversed(pairs)}
        self._pairs: dict[str, list[tuple[str, str, bool]]] = {}  # by the first character, longer ones first
        for pair in sorted(known.values(), key=lambda pair: -len(pair[0])):
            self._pairs.setdefault(pair[0][0], []).append(pair)
        firsts = "".join(re.escape(first) for first in {**self._pairs, "$": (), "\\": ()})
        self._candidates = re.compile(f"[{firsts}]")  # what stands before is looked at where one is found

    def mark(self, text: str) -> str:
        """Write the formulas of a text between dollars, each on one line."""
        if "`" in text and self.has_renderer and _loads_asciimath(self._page):
            text = re.sub(r"`([^`\n]{1,300})`", lambda match: f"${asciimath.to_tex(match[1])}$", text)
        reader = _Marks(text)
        out: list[str] = []
        done = at = 0
        while (candidate := self._candidates.search(text, at)) is not None:
            at = candidate.start()
            if at and text[at] != "\\" and text[at - 1] in ("\\$" if text[at] == "$" else "\\"):
                at += 1
                continue
            found = reader.environment(at) or self._formula(reader, at)
            if found is None:
                at += 1
                continue
            end, tex, display, is_environment = found
            tex = " ".join(tex.split())
            if tex and (self.has_renderer or is_environment or LIKE_TEX.search(tex)):
                out += [text[done:at], f"$${tex}$$" if display else f"${tex}$"]
                done = end
            at = end
        return "".join([*out, text[done:]]) if out else text

    def _formula(self, reader: _Marks, at: int) -> tuple[int, str, bool, bool] | None:
        """Return (end, TeX, whether it is displayed, False) of the formula whose mark is at `at`."""
        text = reader.text
        if at and text[at - 1] == "\\":
            return None
        for opening, closing, display in self._pairs.get(text[at], ()):
            if text.startswith(opening, at):
                start, bound = at + len(opening), _MAX_DISPLAY if display else _MAX_INLINE
                end = reader.closing(opening, closing, start, bound)
                if end >= 0:
                    return end + len(closing), text[start:end], display, False
        return None


class _Marks:
    """Finds the marks that end formulas in a text. Searches for each go on where the last one stopped, so
    that marks that are never closed do not each read on to the bound."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._next: dict[tuple[str, str], int] = {}

    def _find(self, opening: str, mark: str, start: int) -> int:
        """Return the next place of a mark, the length of the text where there is none; for one opening,
        `start` only grows."""
        found = self._next.get((opening, mark), -1)
        if found < start:
            found = self.text.find(mark, start)
            found = self._next[opening, mark] = found if found >= 0 else len(self.text)
        return found

    def closing(self, opening: str, closing: str, start: int, bound: int) -> int:
        """Return where the closing mark of a formula stands that begins at `start`, -1 where it has none:
        after a character, within the bound, and no dollar before where a dollar opened."""
        if opening == "$":  # a dollar behind a backslash is the formula's, the search ends at any other
            inner = re.compile(rf"(?:\\.|[^$\\]){{1,{bound}}}?{re.escape(closing)}", re.DOTALL)
            match = inner.match(self.text, start)
            return match.end() - len(closing) if match else -1
        end = self._find(opening, closing, start + 1)
        if end == len(self.text) or end - start > bound:
            return -1
        if opening[0] != "$":
            return end
        return end if self.text[start] != "$" and self._find(opening, "$", start + 1) >= end else -1

    def environment(self, at: int) -> tuple[int, str, bool, bool] | None:
        """Return (end, TeX, True, True) of the environment of formulas that begins at `at`."""
        if not self.text.startswith("\\begin{", at) or not (match := _BEGIN.match(self.text, at)):
            return None
        closing = f"\\end{{{match[1]}}}"
        end = self._find(match[0], closing, match.end())
        if end == len(self.text) or end - match.end() > _MAX_DISPLAY:
            return None
        end += len(closing)
        return end, self.text[at:end], True, True


def mark(page: bytes, text: str) -> str:
    """Write the formulas that stand between marks in a page's text between dollars. Without a mark that is no
    other's, the page must load what draws them: most dollars are money."""
    escapes, dollars, ticks = "\\" in text, "$" in text, "`" in text
    # An opening mark of a page's own without any of these is not looked for.
    if not any(_holds(text, first, signs) for first, signs in _MARKS.items()):
        is_worth = escapes and dollars and text.count("$") > 1
        if not ((is_worth or (ticks and text.count("`") > 1)) and _has_renderer(page)):
            return text
        return Delimiters(page, has_renderer=True).mark(text)
    return Delimiters(page).mark(text)


def _holds(text: str, first: str, signs: tuple[str, ...]) -> bool:
    """Tell whether a text holds one of the signs, all of which begin with one character."""
    at = text.find(first)
    for _ in range(_FEW):
        if at < 0 or text.startswith(signs, at):
            return at >= 0
        at = text.find(first, at + 1)
    return any(text.find(sign, at) >= 0 for sign in signs)


def _loads_asciimath(page: bytes) -> bool:
    return any(name in page for name in _ASCII_MATH)


def _has_renderer(page: bytes) -> bool:
    return any(name in page for name in _RENDERERS)


def _configured(page: bytes) -> list[tuple[str, str, bool]]:
    """Read the delimiters of MathJax's or KaTeX's configuration in the page's scripts."""
    found: list[tuple[str, str, bool]] = []
    for name in (b"inlineMath", b"displayMath", b"delimiters"):
        at, num_regions = page.find(name), 0
        while at >= 0 and num_regions < _MAX_REGIONS:
            num_regions += 1
            region = _bracketed(page[at + len(name) : at + 600].decode("utf-8", "replace"))
            if name == b"delimiters":
                for _, left, _, right, display in _KATEX_PAIR.findall(region):
                    found.append((_unescape(left), _unescape(right), display in ("true", "!0")))
            else:
                for _, left, _, right in _PAIR.findall(region):
                    found.append((_unescape(left), _unescape(right), name == b"displayMath"))
            at = page.find(name, at + 1)
    return [pair for pair in found if pair[0] and pair[1] and len(pair[0]) < 20]


def _bracketed(region: str) -> str:
    """Return a region up to where its first bracket closes."""
    depth = 0
    for k, character in enumerate(region):
        depth += (character == "[") - (character == "]")
        if depth == 0 and character == "]":
            return region[: k + 1]
    return region


def _unescape(value: str) -> str:
    """Read the escapes of a script's string, doubled ones too: `\\\\(` in a template is `\\(`."""
    while "\\\\" in value:
        value = value.replace("\\\\", "\\")
    return value
