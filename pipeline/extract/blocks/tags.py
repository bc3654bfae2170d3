"""What the tokenizer knows of each HTML element, as flat tables a kernel can read.

Tree rules are simplified: only these elements enter the stack of open elements, and only `CLOSES` closes one
implicitly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L

FNV_START = -3750763034362895579  # 0xcbf29ce484222325 as int64
FNV_PRIME = 1099511628211


def name_hash(name: str) -> int:
    """Return the 64-bit FNV-1a hash of an ASCII name as a signed integer, as the kernels compute it."""
    state = FNV_START & 0xFFFFFFFFFFFFFFFF
    for byte in name.encode():
        state = ((state ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return state - (1 << 64) if state >= 1 << 63 else state


# What an element is to the tokenizer.
BREAK = 1  # begins and ends a block of text
PUSH = 2  # enters the stack of open elements
RAW = 4  # its content is no markup and no text
CLOSES_P = 8  # ends an open paragraph
BREAKS_SVG = 16  # cannot lie in svg or math: ends it
DESCRIBES = 32  # says something of the page
INSERTS = 64  # may be asked for as an insert in the text
DRAWS = 128  # may be a formula, whatever its names

# What a block inherits from the elements around it, one bit each.
(
    ARTICLE,
    MAIN,
    NAV,
    FOOTER,
    HEADER,
    ASIDE,
    FORM,
    LIST,
    TABLE,
    HEADING,
    PRE,
    QUOTE,
    FIGURE,
    BUTTON,
    HIDDEN,
    NOSCRIPT,
) = (1 << bit for bit in range(16))
(
    SKIP,
    FOREIGN,
    SECTION,
    DEFINITION,
    DETAILS,
    CAPTION,
    HEADER_CELL,
    MEDIA,
    DIALOG,
    ARTICLE_BODY,
    PARAGRAPH,
    CODE,
) = (1 << bit for bit in range(16, 28))

_BLOCK = BREAK | PUSH | BREAKS_SVG
_FLOW = _BLOCK | CLOSES_P
# name: (what it is, the context it gives)
_ELEMENTS: dict[str, tuple[int, int]] = {
    "html": (PUSH, 0), "body": (_BLOCK, 0), "div": (_FLOW, 0), "p": (_FLOW, PARAGRAPH), "center": (_FLOW, 0),
    "article": (_FLOW, ARTICLE), "main": (_FLOW, MAIN), "nav": (_FLOW, NAV), "footer": (_FLOW, FOOTER),
    "header": (_FLOW, HEADER), "aside": (_FLOW, ASIDE), "section": (_FLOW, SECTION), "form": (_FLOW, FORM),
    "hgroup": (_FLOW, 0), "address": (_FLOW, 0), "search": (_FLOW, FORM), "fieldset": (_FLOW, FORM),
    "legend": (_BLOCK, FORM),
    "h1": (_FLOW, HEADING), "h2": (_FLOW, HEADING), "h3": (_FLOW, HEADING),
    "h4": (_FLOW, HEADING), "h5": (_FLOW, HEADING), "h6": (_FLOW, HEADING),
    "ul": (_FLOW, LIST), "ol": (_FLOW, LIST), "menu": (_FLOW, LIST), "dir": (_FLOW, LIST),
    "li": (_FLOW, LIST),
    "dl": (_FLOW, DEFINITION), "dt": (_FLOW, DEFINITION), "dd": (_FLOW, DEFINITION),
    "table": (_FLOW, TABLE), "thead": (_BLOCK, TABLE), "tbody": (_BLOCK, TABLE), "tfoot": (_BLOCK, TABLE),
    "tr": (_BLOCK, TABLE),
    "td": (_BLOCK, TABLE), "th": (_BLOCK, TABLE | HEADER_CELL), "caption": (_BLOCK, TABLE | CAPTION),
    "pre": (_FLOW, PRE | CODE), "listing": (_FLOW, PRE | CODE), "blockquote": (_FLOW, QUOTE),
    "figure": (_FLOW, FIGURE), "figcaption": (_FLOW, FIGURE | CAPTION),
    "details": (_FLOW, DETAILS), "summary": (_FLOW, DETAILS), "dialog": (_FLOW, DIALOG),
    "button": (_BLOCK, BUTTON), "noscript": (_BLOCK, NOSCRIPT),
    "object": (_BLOCK, MEDIA), "video": (_BLOCK, MEDIA), "audio": (_BLOCK, MEDIA), "canvas": (_BLOCK, MEDIA),
    "select": (_BLOCK, SKIP), "datalist": (_BLOCK, SKIP), "optgroup": (PUSH, SKIP), "option": (PUSH, SKIP),
    "template": (PUSH, SKIP), "svg": (PUSH, SKIP | FOREIGN), "math": (PUSH, FOREIGN),
    "annotation": (PUSH, SKIP), "annotation-xml": (PUSH, SKIP), "rt": (PUSH, SKIP), "rp": (PUSH, SKIP),
    "ruby": (PUSH, 0),
    "script": (RAW, 0), "style": (RAW, 0), "title": (RAW, 0), "textarea": (RAW | BREAK, 0),
    "iframe": (RAW | BREAK, 0),
    "noembed": (RAW, 0), "noframes": (RAW, 0), "xmp": (RAW | BREAK, 0),
    # Not on the stack: void elements, and phrases whose extent the tokenizer follows by other means.
    "hr": (BREAK | CLOSES_P | BREAKS_SVG, 0), "br": (BREAKS_SVG, 0), "img": (BREAKS_SVG, 0), "input": (0, 0),
    "meta": (0, 0),
    "link": (0, 0),
    "base": (0, 0), "area": (0, 0), "col": (0, 0), "colgroup": (0, 0), "embed": (0, 0), "source": (0, 0),
    "track": (0, 0), "wbr":
    (0, 0),
    "param": (0, 0), "frame": (0, 0), "frameset": (0, 0), "head": (0, 0), "a": (0, 0), "time": (0, 0),
    "b": (BREAKS_SVG, 0), "strong": (BREAKS_SVG, 0), "i": (BREAKS_SVG, 0), "em": (BREAKS_SVG, 0),
    "u": (BREAKS_SVG, 0),
    "s": (BREAKS_SVG, 0), "small": (BREAKS_SVG, 0), "big": (BREAKS_SVG, 0), "span": (BREAKS_SVG, 0),
    "sup": (BREAKS_SVG, 0),
    "sub": (BREAKS_SVG, 0), "code": (BREAKS_SVG, 0), "tt": (BREAKS_SVG, 0), "strike": (BREAKS_SVG, 0),
    "var": (BREAKS_SVG, 0),
    "nobr": (BREAKS_SVG, 0), "font": (0, 0), "kbd": (0, 0), "samp": (0, 0), "cite": (0, 0), "q": (0, 0),
    "abbr": (0, 0),
    "acronym": (0, 0),
    "mark": (0, 0), "del": (0, 0), "ins": (0, 0), "label": (0, 0), "data": (0, 0), "bdi": (0, 0),
    "bdo": (0, 0), "dfn": (0, 0),
    "picture": (0, 0), "map": (0, 0), "output": (0, 0), "meter": (0, 0), "progress": (0, 0), "slot": (0, 0),
    # Numbers of tags are known to trained models: new ones go to the end.
    "m:math": (PUSH, FOREIGN), "mml:math": (PUSH, FOREIGN), "mjx-container": (PUSH, 0),
}  # fmt: skip

NAMES = ("", *_ELEMENTS)  # id 0: an element the table does not know; it is followed but breaks nothing
ID = {name: number for number, name in enumerate(NAMES)}
NUM_TAGS = len(NAMES)
WHAT = np.array([PUSH] + [what for what, _ in _ELEMENTS.values()], dtype=np.int64)
CONTEXT = np.array([0] + [context for _, context in _ELEMENTS.values()], dtype=np.int64)

_MORE: tuple[tuple[int, tuple[str, ...]], ...] = (
    (DESCRIBES, ("html", "body", "meta", "link", "time")),
    (INSERTS, ("code", "tt", "kbd", "samp", "b", "strong", "i", "em", "a")),
    (DRAWS, ("img", "math", "m:math", "mml:math", "mjx-container")),
)
for _bit, _names in _MORE:
    WHAT[[ID[_name] for _name in _names]] |= _bit

# What a start tag closes: (the open elements it ends, the elements the search stops at). A paragraph is
# handled by CLOSES_P.
_SCOPE = ("table", "td", "th", "caption", "button", "object", "template", "svg", "math")
_CLOSES: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("li",): (("li",), ("ul", "ol", "menu", "dir", *_SCOPE)),
    ("dt", "dd"): (("dt", "dd"), ("dl", *_SCOPE)),
    ("td", "th"): (("td", "th"), ("tr", "table", "template")),
    ("tr",): (("tr",), ("thead", "tbody", "tfoot", "table", "template")),
    ("thead", "tbody", "tfoot"): (("thead", "tbody", "tfoot", "caption"), ("table", "template")),
    ("option",): (("option",), ("select", "optgroup", "datalist")),
    ("optgroup",): (("optgroup", "option"), ("select",)),
    ("select",): (("select",), ()),
    ("button",): (("button",), _SCOPE),
    ("h1", "h2", "h3", "h4", "h5", "h6"): (
        ("h1", "h2", "h3", "h4", "h5", "h6"),
        (*_SCOPE, "div", "section", "article", "header"),
    ),
    ("rt", "rp"): (("rt", "rp"), ("ruby",)),
}
# CLOSE[tag, open]: 1 when the start tag ends that open element, 2 when the search stops there.
CLOSE = np.zeros((NUM_TAGS, NUM_TAGS), dtype=np.uint8)
CLOSES_SOME = np.zeros(NUM_TAGS, dtype=np.uint8)
for _starts, (_ends, _stops) in _CLOSES.items():
    for _start in _starts:
        CLOSES_SOME[ID[_start]] = 1
        CLOSE[ID[_start], [ID[name] for name in _stops]] = 2
        CLOSE[ID[_start], [ID[name] for name in _ends]] = 1
# An end tag is ignored when its element lies beyond one of these, and a paragraph is not closed across one.
SCOPE = np.zeros(NUM_TAGS, dtype=np.uint8)
SCOPE[[ID[name] for name in _SCOPE]] = 1

ATTRIBUTES = (
    "class", "id", "itemprop", "role", "href", "rel", "content", "name", "property", "datetime", "type",
    "lang", "style",
    "hidden", "aria-hidden", "data-testid", "data-component", "shadowrootmode", "itemtype", "start", "src",
    "alt", "data-tex",
)  # fmt: skip
CLASS, IDENT, ITEMPROP, ROLE, HREF, REL, CONTENT, NAME, PROPERTY, DATETIME, TYPE, LANG, STYLE = range(13)
HIDDEN_ATTRIBUTE, ARIA_HIDDEN, TESTID, COMPONENT, SHADOW, ITEMTYPE, START, SRC, ALT, TEX = range(13, 23)
# Attributes in which scripts that draw formulas keep them; all are read as the last of the above.
_TEX_ATTRIBUTES = (
    "data-latex",
    "data-expr",
    "data-formula",
    "data-equation",
    "data-katex",
    "data-tex-source",
)

ROLES = {"navigation": NAV, "main": MAIN, "contentinfo": FOOTER, "banner": HEADER, "complementary": ASIDE,
    "article": ARTICLE,
         "search": FORM, "dialog": DIALOG, "alertdialog": DIALOG, "alert": DIALOG, "menu": NAV,
         "menubar": NAV, "tablist": NAV,
         "heading": HEADING, "button": BUTTON}  # fmt: skip


def hash_table(names: dict[str, int], slots: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Build an open-addressing table of name hashes; `slots` is a power of two, an empty slot has value
    -1."""
    keys, values = np.zeros(slots, dtype=np.int64), np.full(slots, -1, dtype=np.int64)
    for name, value in names.items():
        slot = name_hash(name) & (slots - 1)
        while values[slot] >= 0:
            slot = (slot + 1) & (slots - 1)
        keys[slot], values[slot] = name_hash(name), value
    return keys, values


TAG_KEYS, TAG_VALUES = hash_table({name: number for name, number in ID.items() if name}, 1024)
ATTRIBUTE_KEYS, ATTRIBUTE_VALUES = hash_table(
    {name: number for number, name in enumerate(ATTRIBUTES)} | dict.fromkeys(_TEX_ATTRIBUTES, TEX), 256
)
ROLE_KEYS, ROLE_VALUES = hash_table(ROLES, 128)

# What a phrase is inserted as in the text, and the bit of the mode that asks for it; 0 for none.
INSERTED = np.zeros(NUM_TAGS, dtype=np.int64)
INSERTED_IF = np.zeros(NUM_TAGS, dtype=np.int64)
_ASKED_FOR: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (L.WITH_CODE, L.CODE_BEGIN, ("code", "tt", "kbd", "samp")),
    (L.WITH_EMPHASIS, L.STRONG_BEGIN, ("b", "strong")),
    (L.WITH_EMPHASIS, L.EMPHASIS_BEGIN, ("i", "em")),
    (L.WITH_LINKS, L.LINK_BEGIN, ("a",)),
)
for _mode, _begin, _phrases in _ASKED_FOR:
    INSERTED[[ID[name] for name in _phrases]] = _begin
    INSERTED_IF[[ID[name] for name in _phrases]] = _mode

# Class names (the first of an element, in lower case) of what draws a formula: KaTeX, MathJax 2 and 3,
# MediaWiki, Quill, MathQuill. The copies that these leave beside it are skipped.
IS_FORMULA, IS_COPY_OF_FORMULA, IS_FORMULA_IMAGE = 1, 2, 3
_DRAWN = (
    "katex", "katex-display", "mathjax", "mathjax_display", "mathjax_svg", "mathjax_svg_display",
    "mathjax_chtml", "mathjax_mathml", "mjx-chtml", "mwe-math-element", "ql-formula",
    "mathquill-embedded-latex",
)  # fmt: skip
_IMAGES = ("latex", "latex_img", "mathtex", "ql-img-inline-formula", "ql-img-displayed-equation")
_COPIES = ("katex-html", "mathjax_preview", "mjx_assistive_mathml", "mathjax_svg_hidden", "mathjax_hidden")
FORMULA_KEYS, FORMULA_VALUES = hash_table(
    dict.fromkeys(_DRAWN, IS_FORMULA)
    | dict.fromkeys(_COPIES, IS_COPY_OF_FORMULA)
    | dict.fromkeys(_IMAGES, IS_FORMULA_IMAGE),
    128,
)

# Class names, or parts of them, that code goes by; `listings` looks whether it is.
_CODE_NAMES = (
    "code", "codeblock", "codebox", "codehilite", "csharpcode", "blockcode", "sourcecode",
    "syntaxhighlighter", "highlighter", "highlight", "geshi", "crayon", "hljs", "prettyprint", "shiki",
    "prism", "codemirror", "ace_editor", "monaco", "filecontents", "snippet", "gist", "programlisting",
    "fragment", "listing", "ide", "editor", "linenums", "crayon-plain", "textareacode", "codearea",
)  # fmt: skip


def token_hash(name: str) -> int:
    """Return the hash of a class name or part of one as `attributes` keeps it."""
    key = name_hash(name)
    return (key ^ (key >> 31)) & 0x7FFFFFFF


def _token_set(names: tuple[str, ...], slots: int = 1024) -> npt.NDArray[np.int32]:
    """Build a set in which each token lies in the slot of its lowest bits; 0 where none does."""
    tokens = np.zeros(slots, dtype=np.int32)
    for name in names:
        token = token_hash(name)
        if tokens[token & (slots - 1)]:
            return _token_set(names, 2 * slots)
        tokens[token & (slots - 1)] = token
    return tokens


CODE_TOKENS = _token_set(_CODE_NAMES)
