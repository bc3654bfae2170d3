"""The TeX of a formula, whatever drew it: KaTeX, MathJax, MediaWiki, an image of a TeX server, plain MathML.

`read` takes the markup of one formula as the tokenizer cut it out; `Delimiters` finds formulas that stand in
the text between marks, by the page's own configuration of MathJax or KaTeX.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus, urlsplit

from gristmill.pipeline.extract.blocks import asciimath
from gristmill.pipeline.extract.blocks.fragment import Bounds, Node, parse, unescape
from gristmill.pipeline.extract.blocks.mathml import to_tex


@dataclass(frozen=True, slots=True)
class Formula:
    """TeX without delimiters; `text` is what stands there where there is no TeX."""

    tex: str
    is_display: bool = False
    text: str = ""

    def __str__(self) -> str:
        if not self.tex:
            return self.text
        return f"$${self.tex}$$" if self.is_display else f"${self.tex}$"


_TEX_ATTRIBUTES = ("data-tex", "data-latex", "data-expr", "data-formula", "data-equation", "data-katex",
    "data-tex-source")  # fmt: skip
_DRAWING = frozenset(
    (
        "katex", "katex-display", "mathjax", "mathjax_display", "mathjax_svg", "mathjax_chtml",
        "mathjax_svg_display", "mwe-math-element", "ql-formula", "mathquill-embedded-latex", "mjx-chtml",
    )
)  # fmt: skip
_DISPLAYED = frozenset(("katex-display", "mathjax_display", "mathjax_svg_display", "mjx-display",
    "mwe-math-element-block", "mwe-math-fallback-image-display", "ql-img-displayed-equation", "math-display",
    "display-math", "katex-block"))  # fmt: skip
# Servers that draw TeX given in the address: (part of host and path, the parameter; "" when the query, and
# "/" when the rest of the path, is the TeX).
_SERVERS = (
    ("codecogs.com/", ""), ("mimetex", ""), ("mathtex", ""), ("texify", ""), ("latex.php", "latex"),
    ("zhihu.com/equation", "tex"), ("chart.apis.google.com", "chl"), ("chart.googleapis.com", "chl"),
    ("google.com/chart", "chl"), ("math.now.sh", "from"), ("githubusercontent.com/render/math", "math"),
    ("i.upmath.me/svg/", "/"), ("i.upmath.me/png/", "/"), ("tex.z-dn.net", "f"), ("latex.codecogs", ""),
    ("latex2png", "latex"), ("juejin.cn/equation", "tex"), ("tex.s2cms.ru/svg/", "/"), ("/latex?", ""),
    ("equation?tex=", "tex"), ("gif.latex", ""), ("svg.latex", ""), ("png.latex", ""), ("/cgi-bin/tex", ""),
)  # fmt: skip
_DRAWN_ALT = frozenset(("latex", "tex", "mathtex", "latex_img", "mwe-math-fallback-image-inline",
    "mwe-math-fallback-image-display", "ql-img-inline-formula", "ql-img-displayed-equation", "math",
    "equation", "formula"))  # fmt: skip
# What the tag of an image that draws a formula holds: a server's name, a reference that may hide it, a class.
_MAY_SERVE = ("\\", "/math/render/", *(server for server, _ in _SERVERS))
_REFERENCE = re.compile("&(?!amp;)(?:#|[a-z]+;)")
_MAY_CLASS = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(_DRAWN_ALT))) + r")\b")
_ANNOTATION = re.compile(r"<annotation[^<>]{0,200}x-tex[\"'][^<>]{0,100}>([^<]*+)</")
_DISPLAYS = re.compile(
    r"katex-display|display=[\"']?(?:block|true)|MathJax_Display|MathJax_SVG_Display|element-block"
)
_SOURCES = ("data-", "<img", "<math", ":math", "<script", "mathquill", "annotation", "alttext")
_ANY_TAG = re.compile(r"<[^>]*>")
_LIKE_TEX = re.compile(r"\\[a-zA-Z]{2,}|[_^]\{|\\[,;!{}]|[\w)}][_^][\w{(\\]")
_WRAPPED = re.compile(
    r"^(?:\$\$(.*)\$\$|\$latex\s(.*)\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\]|\[latex\](.*)\[/latex\])$",
    re.DOTALL,
)
_CODECOGS_SIZE = re.compile(
    r"^(?:\\(?:dpi|bg|fg|fn|tiny|small|large|LARGE|huge|inline|color)(?:\{[^}]*\}|_\w+)?\s*)+"
)


def read(markup: str, bounds: Bounds | None = None) -> Formula | None:
    """Return the formula of a piece of markup; None where it is none, as an image that is no formula. One
    with more tags than `bounds` allow is its text."""
    bounds = bounds or Bounds()
    is_image = markup[:4].lower() == "<img"
    if is_image and not _may_draw(markup.lower()):
        return None
    at = markup.find("<annotation")
    if at >= 0 and (match := _ANNOTATION.match(markup, at)) and match[1].strip():
        return Formula(_unwrapped(unescape(match[1])), _DISPLAYS.search(markup, 0, at) is not None)
    # A drawing is long; what it draws lies in it as MathML, and the rest is not read.
    start = markup.find("<math")
    end = markup.find("</math>", start)
    if 0 < start < end and "math/tex" not in markup and bounds.allow(markup[start : end + 7]):
        with parse(markup[start : end + 7], bounds) as root:
            math = root.first("math")
            tex = (_kept(math)[0] or to_tex(math)) if math else ""
        if tex:
            is_display = _DISPLAYS.search(markup, 0, start + 200) is not None
            return Formula(tex, is_display)
    if not (is_image or any(sign in markup for sign in _SOURCES)) or not bounds.allow(markup):
        last = markup.rfind(">") + 1  # beyond it no tag ends, and each would be searched to the end for that
        text = unescape(_ANY_TAG.sub("", markup[:last]) + markup[last:])
        return Formula("", text=" ".join(text.split())[:2000])
    with parse(markup, bounds) as root:
        node = next(root.nodes(), None)
        return read_node(node) if node is not None else None


def _may_draw(image: str) -> bool:
    """Tell quickly of an image's tag, in lower case, whether it may draw a formula: most do not."""
    return (
        any(sign in image for sign in _MAY_SERVE)
        or ("class" in image and _MAY_CLASS.search(image) is not None)
        or ("&" in image and _REFERENCE.search(image) is not None)
    )


def read_node(node: Node) -> Formula | None:
    """Return the formula of an element; None where it is none."""
    is_display = _is_display(node)
    if node.tag == "img":
        tex = _image(node)
        return Formula(tex, is_display) if tex else None
    if node.tag == "script":
        return _script(node)
    tex, drawn = _kept(node)
    if not tex:
        tex, display = _drawn(node)
        is_display = is_display or display
    if drawn:
        is_display = True
    return Formula(tex, is_display, "" if tex else _visible(node))


def draws(node: Node) -> bool:
    """Tell whether an element draws a formula, as the tokenizer tells of a start tag."""
    if node.tag in ("math", "mjx-container"):
        return True
    if node.tag == "script":
        return node.get("type").startswith("math/")
    if node.tag == "img":
        return bool(_image(node))
    first = node.classes()[:1]
    return bool(first and first[0] in _DRAWING) or any(node.get(name) for name in _TEX_ATTRIBUTES)


def is_drawing(markup: str) -> bool:
    """Tell whether a formula's markup is what MathJax 2 draws before the script that holds its source."""
    return "MathJax" in markup[:400] and not markup.startswith("<script")


def _is_display(node: Node) -> bool:
    for one in (node, *node.nodes()):
        if not _DISPLAYED.isdisjoint(one.classes()) or one.get("display") in ("block", "true"):
            return True
        if one.get("mode") == "display" or "display" in one.get("type").partition(";")[2]:
            return True
    math = node.first("math")
    return math is not None and (math.get("display") == "block" or math.get("mode") == "display")


def _script(node: Node) -> Formula:
    kind = node.get("type").lower()
    source = "".join(child for child in node.children if isinstance(child, str)).strip()
    source = source.removeprefix("% <![CDATA[").removesuffix("%]]>").strip()
    display = "display" in kind.partition(";")[2]
    if "mml" in kind:
        return Formula(to_tex(parse(source)), display)
    if "asciimath" in kind:
        return Formula(asciimath.to_tex(source), display)
    return Formula(_unwrapped(source), display)


def _kept(node: Node) -> tuple[str, bool]:
    """Return the source a drawing keeps of its formula, and whether that says it is displayed."""
    for one in (node, *node.all()):
        if one.tag == "annotation" and "tex" in one.get("encoding").lower():
            if tex := one.text().strip():
                return _unwrapped(tex), False
        elif one.tag == "script" and one.get("type").startswith("math/tex"):
            found = _script(one)
            return found.tex, found.is_display
    for one in (node, *node.all()):
        if one.tag == "math" and one.get("alttext").strip():
            return _unwrapped(one.get("alttext")), False
        for name in _TEX_ATTRIBUTES:
            if value := one.get(name).strip():
                return _unwrapped(value), value.startswith(("$$", "\\["))
        if "ql-formula" in one.classes() and (value := one.get("data-value").strip()):
            return _unwrapped(value), False
    if "mathquill-embedded-latex" in node.classes():
        return _unwrapped(node.text()), False
    return "", False


def _drawn(node: Node) -> tuple[str, bool]:
    """Return the TeX of MathML in a drawing or in its attribute, or of an image in it."""
    for one in (node, *node.all()):
        if one.tag == "math":
            return to_tex(one), one.get("display") == "block"
        if one.tag == "img" and (tex := _image(one)):
            return tex, False
        if value := one.get("data-mathml"):
            math = parse(value).first("math")
            if math is not None:
                return _kept(math)[0] or to_tex(math), math.get("display") == "block"
    return "", False


def _visible(node: Node) -> str:
    """Return the text of a drawing without any source of it."""
    return " ".join(node.text().split()) if len(node.text()) < 2000 else ""


def _image(node: Node) -> str:
    """Return the TeX of an image: its alternative where that is one, else what its address holds."""
    alternative = node.get("alt").strip() or node.get("title").strip()
    address = node.get("src") or node.get("data-src")
    served = _served(address)
    known = not _DRAWN_ALT.isdisjoint(node.classes()) or "/math/render/" in address or bool(served)
    if alternative and (known or "\\" in alternative) and "://" not in alternative:
        plain = alternative.lower().strip("[]() ") in (
            "",
            "latex",
            "formula",
            "equation",
            "math",
            "tex",
            "image",
            "img",
        )
        if not plain and (known or _LIKE_TEX.search(alternative)) and not (served and "\\" in served
                and "\\" not in alternative):  # fmt: skip
            return _unwrapped(alternative)
    return served


def _served(address: str) -> str:
    """Return the TeX in the address of a server that draws it, "" of any other."""
    if address.startswith("data:"):
        return ""
    where = address.partition("?")[0] + ("?" if "?" in address else "")
    for server, parameter in _SERVERS:
        if server not in where and server not in address[:80]:
            continue
        if parameter == "/":
            return _unwrapped(unquote(address.partition(server)[2]))
        try:
            query = urlsplit(address.replace("#", "%23")).query
        except ValueError:  # an address the library cannot read, such as one with an open bracket
            return ""
        if not parameter:
            if "=" in query.partition("&")[0] and query.partition("=")[0] in (
                "latex",
                "tex",
                "formula",
                "math",
                "eq",
            ):
                query = query.partition("=")[2].partition("&")[0]
            tex = unquote(query).replace("&space;", " ")
            return _unwrapped(_CODECOGS_SIZE.sub("", tex))
        for pair in query.split("&"):
            if pair.startswith(parameter + "="):
                return _unwrapped(unquote_plus(pair[len(parameter) + 1 :]))
    return ""


def _unwrapped(tex: str) -> str:
    """Strip white space and delimiters around a formula."""
    tex = tex.strip()
    match = _WRAPPED.match(tex)
    if match:
        inner = next(group for group in match.groups() if group is not None).strip()
        if "$" not in inner.replace("\\$", ""):
            tex = inner
    return tex


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
            if tex and (self.has_renderer or is_environment or _LIKE_TEX.search(tex)):
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
