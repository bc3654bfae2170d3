"""The TeX of a formula, whatever drew it: KaTeX, MathJax, MediaWiki, an image of a TeX server, plain MathML.

`read` takes the markup of one formula as the tokenizer cut it out; those that stand in the text between marks
are found by `delimiters`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus, urlsplit

from gristmill.pipeline.extract.blocks.structure import asciimath
from gristmill.pipeline.extract.blocks.structure.elements import Node, unescape
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds, parse
from gristmill.pipeline.extract.blocks.structure.mathml import to_tex


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
LIKE_TEX = re.compile(r"\\[a-zA-Z]{2,}|[_^]\{|\\[,;!{}]|[\w)}][_^][\w{(\\]")
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
        if not plain and (known or LIKE_TEX.search(alternative)) and not (served and "\\" in served
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
