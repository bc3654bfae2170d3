"""Presentation MathML to TeX.

The forms are those of the XSLT MathML Library, which converters of web corpora share, so that corpora agree:
scripts have braced bases (`{x}^{2}`), fences are `\\left(` and `\\right)`, tables are arrays, an over or
under that is no accent is a `\\stackrel`. Space elements leave nothing; characters without a command stay.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from gristmill.pipeline.extract.blocks.structure.elements import Node

_MAX_FENCES, _MAX_ROWS = 50, 8  # open in a row; within each other around one sign
MAX_CHARS = 20_000  # of TeX; what is longer is cut off by its caller's bound on markup long before

_GREEK = {
    letter: f"\\{name} "
    for letter, name in zip(
        "αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΥΦΨΩϑϕϖϱϵϰ",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "varsigma",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Upsilon",
            "Phi",
            "Psi",
            "Omega",
            "vartheta",
            "varphi",
            "varpi",
            "varrho",
            "varepsilon",
            "varkappa",
        ],
        strict=True,
    )
}
_NAMED = (
    "≠ ne,≤ le,≥ ge,≪ ll,≫ gg,≈ approx,≅ cong,≃ simeq,∼ sim,≡ equiv,∝ propto,∈ in,∉ notin,∋ ni,⊂ subset,"
    "⊃ supset,⊆ subseteq,⊇ supseteq,∪ cup,∩ cap,∧ wedge,∨ vee,¬ neg,∀ forall,∃ exists,∄ nexists,∅ emptyset,"
    "∂ partial,∇ nabla,∞ infty,∑ sum,∏ prod,∐ coprod,∫ int,∬ iint,∭ iiint,∮ oint,⋃ bigcup,⋂ bigcap,"
    "⨁ bigoplus,⨂ bigotimes,⋁ bigvee,⋀ bigwedge,→ to,← leftarrow,"
    "↔ leftrightarrow,⇒ ⇒,↑ uparrow,↓ downarrow,↦ mapsto,"
    "⟶ longrightarrow,⟵ longleftarrow,⟹ Longrightarrow,⟺ Longleftrightarrow,⇐ Leftarrow,⇔ Leftrightarrow,"
    "⋅ cdot,∘ circ,∙ bullet,⊕ oplus,⊗ otimes,⊖ ominus,⊙ odot,⊥ perp,∥ parallel,∣ mid,∠ angle,△ triangle,"
    "… dots,⋯ cdots,⋮ vdots,⋱ ddots,ℓ ell,ℏ hbar,ℜ Re,ℑ Im,ℵ aleph,′ prime,⊢ vdash,⊨ models,∖ setminus,"
    "⋆ star,† dagger,‡ ddagger,⟨ langle,⟩ rangle,⌊ lfloor,⌋ rfloor,⌈ lceil,⌉ rceil,‖ Vert,≺ prec,≻ succ,"
    "∓ mp,⊤ top,∴ therefore,∵ because,√ surd,⇌ rightleftharpoons,⇀ rightharpoonup,≲ lesssim,≳ gtrsim,"
    "≜ triangleq,≐ doteq,⊊ subsetneq,◦ circ,□ square,♯ sharp,♭ flat,♮ natural"
)
_COMMANDS = _GREEK | {
    symbol: f"\\{name} " for symbol, name in (pair.split(" ") for pair in _NAMED.split(","))
}
_COMMANDS |= {"⇒": "\\Rightarrow "}
_PLAIN = {"−": "-", "∗": "*", "\u2061": "", "\u2062": "", "\u2063": "", "\u2064": "", "\u200b": "",
    "ı": "\\imath ", "ȷ": "\\jmath ", "＝": "=", "﹣": "-", "∕": "/"}  # fmt: skip
_ESCAPED = {"%": "\\%", "#": "\\#", "&": "\\&", "$": "\\$", "_": "\\_"}
_OPENING = {"(": "\\left(", "[": "\\left[", "{": "\\left\\{"}
_CLOSING = {")": "\\right)", "]": "\\right]", "}": "\\right\\}"}
_PAIRS = {")": "(", "]": "[", "}": "{"}
_LETTERS = {"ℝ": "R", "ℂ": "C", "ℕ": "N", "ℤ": "Z", "ℚ": "Q", "ℙ": "P", "ℍ": "H"}
_VARIANTS = {
    "normal": "\\mathrm", "bold": "\\mathbf", "bold-italic": "\\boldsymbol", "double-struck": "\\mathbb",
    "script": "\\mathcal", "bold-script": "\\mathcal", "fraktur": "\\mathfrak", "sans-serif": "\\mathsf",
    "monospace": "\\mathtt",
}  # fmt: skip
_ACCENTS = {
    "^": "\\hat", "ˆ": "\\hat", "\u0302": "\\hat", "~": "\\tilde", "˜": "\\tilde", "\u0303": "\\tilde",
    "¯": "\\overline", "‾": "\\overline", "\u0305": "\\overline", "―": "\\overline", "_": "\\overline",
    "\u20d7": "\\vec", "⏞": "\\overbrace", "︷": "\\overbrace", "ˇ": "\\check", "˘": "\\breve",
    "´": "\\acute", "`": "\\grave",
}  # fmt: skip
_ACCENTS_IF_SAID = {"˙": "\\dot", "·": "\\dot", ".": "\\dot", "¨": "\\ddot", "→": "\\vec"}
_UNDER = {"_": "\\underline", "\u0332": "\\underline", "⏟": "\\underbrace", "︸": "\\underbrace"}
_ALIGNMENTS = {"left": "l", "right": "r", "center": "c"}
_ROWS = frozenset(("mrow", "mstyle", "mpadded", "merror", "math", "mtd", "menclose", "mphantom", ""))


def to_tex(node: Node) -> str:
    """Return the TeX of a `math` element, or of a part of one."""
    return _row(node)[:MAX_CHARS].strip()


def characters(text: str) -> str:
    """Write the characters of a token element as TeX."""
    parts = []
    for character in text:
        if character in _LETTERS:
            parts.append(f"\\mathbb{{{_LETTERS[character]}}}")
            continue
        if 0x1D400 <= ord(character) <= 0x1D7FF:
            character = unicodedata.normalize("NFKC", character)
        known = _COMMANDS.get(character)
        if known is None:
            known = _PLAIN.get(character, _ESCAPED.get(character, character))
        parts.append(known)
    return "".join(parts)


def _children(node: Node) -> list[Node]:
    return [child for child in node.nodes() if not child.tag.startswith("annotation")]


def _row(node: Node) -> str:
    """Write the children one after the other; text that lies between them counts too."""
    return _sequence(_children(node)) or _token_text(node)


def _sequence(nodes: Sequence[Node]) -> str:
    """Write nodes in a row. Where a script sits on a closing fence, as many editors write it, its base is
    what the fence closes."""
    parts: list[str] = []
    opened: list[tuple[str, int]] = []
    deeper = 0  # fences open beyond the bound
    for node in nodes:
        fence = _fence(node)
        if fence in _OPENING:
            if len(opened) < _MAX_FENCES:
                opened.append((fence, len(parts)))
            else:
                deeper += 1
        elif fence in _PAIRS and deeper:
            deeper -= 1
        elif fence in _PAIRS and opened and opened[-1][0] == _PAIRS[fence]:
            opened.pop()
        base = _fence(node.first() or node) if node.tag in ("msup", "msub", "msubsup") else ""
        if base in _PAIRS and deeper:
            deeper -= 1
            parts.append(_write(node))
        elif base in _PAIRS and opened and opened[-1][0] == _PAIRS[base]:
            start = opened.pop()[1]
            group = "".join(parts[start:]) + _CLOSING[base]
            parts[start:] = [f"{{{group}}}" + _scripts(node)]
        else:
            parts.append(_write(node))
    return "".join(parts)


def _fence(node: Node) -> str:
    """Return the character of a fence that stands alone, "" for anything else."""
    node = _unwrapped(node)
    return _token_text(node) if node.tag == "mo" else ""


def _unwrapped(node: Node) -> Node:
    """Return what stands alone in rows within rows, as deep as editors nest them."""
    for _ in range(_MAX_ROWS):
        if node.tag not in ("mrow", "mstyle") or len(children := _children(node)) != 1:
            break
        node = children[0]
    return node


def _token_text(node: Node) -> str:
    return " ".join("".join(part for part in node.children if isinstance(part, str)).split())


def _write(node: Node) -> str:
    if node.tag in _ROWS:
        return _row(node)
    writer = _WRITERS.get(node.tag)
    return writer(node) if writer else _row(node)


def _identifier(node: Node) -> str:
    text = _token_text(node)
    tex = characters(text)
    variant = _VARIANTS.get(node.get("mathvariant"))
    if variant and tex:
        return f"{variant}{{{tex}}}"
    if len(text) > 1 and node.tag == "mi" and text.isalpha() and not tex.startswith("\\"):
        return f"\\mathrm{{{tex}}}"
    return tex


def _operator(node: Node) -> str:
    text = _token_text(node)
    if len(text) > 1 and text.isalpha():
        return f"\\mathrm{{{text}}}"
    return _OPENING.get(text) or _CLOSING.get(text) or characters(text)


def _text(node: Node) -> str:
    text = node.text().replace("\xa0", " ")
    text = " ".join(text.split("\n")) if text.strip() else ""
    return f"\\text{{{text}}}" if text else ""


def _part(node: Node, number: int) -> str:
    children = _children(node)
    return _write(children[number]) if number < len(children) else ""


def _scripts(node: Node) -> str:
    """Write what stands below and above, without the base."""
    below = _part(node, 1) if node.tag in ("msub", "msubsup", "munder", "munderover") else ""
    last = len(_children(node)) - 1
    # Of a script that lacks an argument none is written twice: in a nest of such that would double at each.
    is_above = last > (1 if node.tag in ("msubsup", "munderover") else 0)
    above = _part(node, last) if is_above and node.tag not in ("msub", "munder") else ""
    return (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")


def _script(node: Node) -> str:
    return f"{{{_part(node, 0)}}}{_scripts(node)}"


def _limits(node: Node) -> str:
    """Write an element with something above or below: an operator's limits, an accent, a stacked sign."""
    children = _children(node)
    base = _part(node, 0)
    if children and _is_operator(children[0]):
        return base + _scripts(node)
    if node.tag == "munderover":
        return f"\\underset{{{_part(node, 1)}}}{{\\overset{{{_part(node, 2)}}}{{{base}}}}}"
    sign = children[1].text().strip() if len(children) > 1 else ""
    if node.tag == "munder":
        command = _UNDER.get(sign)
        return f"{command}{{{base}}}" if command else f"\\underset{{{_part(node, 1)}}}{{{base}}}"
    command = _ACCENTS.get(sign)
    if command is None and node.get("accent") == "true":
        command = _ACCENTS_IF_SAID.get(sign)
    return f"{command}{{{base}}}" if command else f"\\stackrel{{{_part(node, 1)}}}{{{base}}}"


def _is_operator(node: Node) -> bool:
    """Tell whether limits stand at an element: a sum, a product, a `lim`."""
    node = _unwrapped(node)
    text = _token_text(node)
    if node.tag == "mo":
        return text in "∑∏∐∫∬∭∮⋃⋂⨁⨂⋁⋀" or text.isalpha()
    return node.tag == "mi" and text in ("lim", "max", "min", "sup", "inf", "limsup", "liminf", "argmax",
        "argmin")  # fmt: skip


def _fraction(node: Node) -> str:
    top, bottom = _part(node, 0), _part(node, 1)
    if node.get("linethickness") in ("0", "0pt", "0px"):
        return f"\\genfrac{{}}{{}}{{0}}{{}}{{{top}}}{{{bottom}}}"
    return f"\\frac{{{top}}}{{{bottom}}}"


def _root(node: Node) -> str:
    return f"\\sqrt[{_part(node, 1)}]{{{_part(node, 0)}}}"


def _fenced(node: Node) -> str:
    attributes = node.attributes
    opening, closing = attributes.get("open", "("), attributes.get("close", ")")
    separators = attributes.get("separators", ",").strip()
    parts = [_write(child) for child in _children(node)]
    joined = parts[0] if parts else ""
    for number, part in enumerate(parts[1:]):
        joined += (separators[min(number, len(separators) - 1)] if separators else "") + part
    return (
        f"\\left{_OPENING.get(opening, characters(opening) or '.').removeprefix(chr(92) + 'left')}{joined}"
        f"\\right{_CLOSING.get(closing, characters(closing) or '.').removeprefix(chr(92) + 'right')}"
    )


def _table(node: Node) -> str:
    rows = [
        [_write(cell) for cell in _children(row) if cell.tag == "mtd"]
        for row in _children(node)
        if row.tag in ("mtr", "mlabeledtr")
    ]
    columns = max((len(row) for row in rows), default=0)
    said = [_ALIGNMENTS.get(name, "c") for name in node.get("columnalign").split()] or ["c"]
    said += [said[-1]] * (columns - len(said))
    body = "\\\\ ".join("& ".join(row) for row in rows)
    return f"\\begin{{array}}{{{''.join(said[:columns])}}}{body}\\end{{array}}"


def _multiscripts(node: Node) -> str:
    """Write a base with scripts on both sides."""
    children = _children(node)
    split = next((k for k, child in enumerate(children) if child.tag == "mprescripts"), len(children))

    def scripts(nodes: Sequence[Node]) -> str:
        pairs = zip(nodes[::2], [*nodes[1::2], Node("none")], strict=False)
        return "".join(
            (f"_{{{_write(low)}}}" if low.tag != "none" else "")
            + (f"^{{{_write(high)}}}" if high.tag != "none" else "")
            for low, high in pairs
        )

    before = scripts(children[split + 1 :])
    base = _write(children[0]) if children else ""
    return (f"{{}}{before}" if before else "") + f"{{{base}}}" + scripts(children[1:split])


def _semantics(node: Node) -> str:
    return _part(node, 0)


_WRITERS: dict[str, Callable[[Node], str]] = {
    "mi": _identifier, "mn": _identifier, "mo": _operator, "mtext": _text, "ms": _text,
    "msup": _script, "msub": _script, "msubsup": _script,
    "mover": _limits, "munder": _limits, "munderover": _limits,
    "mfrac": _fraction, "msqrt": lambda node: f"\\sqrt{{{_row(node)}}}", "mroot": _root, "mfenced": _fenced,
    "mtable": _table, "mmultiscripts": _multiscripts, "semantics": _semantics, "mspace": lambda node: "",
    "maction": _semantics, "none": lambda node: "", "mprescripts": lambda node: "",
}  # fmt: skip
