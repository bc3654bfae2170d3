"""AsciiMath to TeX: what pages write between backticks where they load its reader.

The grammar is that of asciimath.org: a simple expression is a symbol, a bracketed expression, or a unary or
binary name before one or two of these; `_` and `^` attach scripts, `/` makes a fraction.
"""

from __future__ import annotations

import re

MAX_CHARS = 2000
_SYMBOLS = {
    "+-": "\\pm", "*": "\\cdot", "**": "\\ast",
    "xx": "\\times", "-:": "\\div", "@": "\\circ", "o+": "\\oplus",
    "ox": "\\otimes", "!=": "\\ne", "<=": "\\le", ">=": "\\ge", "-<": "\\prec", ">-": "\\succ", "in": "\\in",
    "!in": "\\notin", "sub": "\\subset", "sup": "\\supset", "sube": "\\subseteq", "supe": "\\supseteq",
    "-=": "\\equiv", "~=": "\\cong", "~~": "\\approx",
    "prop": "\\propto", "not": "\\neg", "=>": "\\Rightarrow",
    "if": "\\text{if}", "iff": "\\Leftrightarrow", "AA": "\\forall", "EE": "\\exists", "_|_": "\\bot",
    "oo": "\\infty", "->": "\\to", "|->": "\\mapsto", "<=>": "\\Leftrightarrow", "rarr": "\\rightarrow",
    "larr": "\\leftarrow", "uarr": "\\uparrow", "darr": "\\downarrow", "harr": "\\leftrightarrow",
    "...": "\\ldots", "cdots": "\\cdots", "vdots": "\\vdots", "ddots": "\\ddots", "del": "\\partial",
    "grad": "\\nabla", "O/": "\\emptyset", "CC": "\\mathbb{C}", "NN": "\\mathbb{N}", "QQ": "\\mathbb{Q}",
    "RR": "\\mathbb{R}", "ZZ": "\\mathbb{Z}", "uu": "\\cup", "nn": "\\cap", "vv": "\\vee", "^^": "\\wedge",
    "and": "\\text{and}", "or": "\\text{or}", "/_": "\\angle", ":.": "\\therefore", "quad": "\\quad",
}  # fmt: skip
_COMMANDS = [
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota",
    "kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi",
    "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega", "sin",
    "cos", "tan", "sec", "csc", "cot", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln",
    "exp", "det", "dim", "lim", "max", "min", "gcd", "sum", "prod", "int", "oint",
]  # fmt: skip
_SYMBOLS |= {name: f"\\{name}" for name in _COMMANDS}
_UNARY = {
    "sqrt": "\\sqrt",
    "hat": "\\hat",
    "bar": "\\overline",
    "vec": "\\vec",
    "dot": "\\dot",
    "ddot": "\\ddot",
    "ul": "\\underline",
    "bb": "\\mathbf",
    "bbb": "\\mathbb",
    "cc": "\\mathcal",
    "tt": "\\mathtt",
    "fr": "\\mathfrak",
    "sf": "\\mathsf",
    "tilde": "\\tilde",
    "text": "\\text",
    "mbox": "\\text",
    "cancel": "\\cancel",
}
_BINARY = {"frac": "\\frac{%s}{%s}", "root": "\\sqrt[%s]{%s}", "stackrel": "\\stackrel{%s}{%s}",
    "overset": "\\overset{%s}{%s}", "underset": "\\underset{%s}{%s}"}  # fmt: skip
_OPEN = {"(": "(", "[": "[", "{": "\\{", "(:": "\\langle ", "{:": "."}
_CLOSE = {")": ")", "]": "]", "}": "\\}", ":)": "\\rangle ", ":}": "."}
_TOKENS = sorted([*_SYMBOLS, *_UNARY, *_BINARY, *_OPEN, *_CLOSE, "_", "^", "/"], key=len, reverse=True)
_LEXER = re.compile(
    r"\s*(?:(?P<quoted>\"[^\"]*\"|text\([^)]{0,300}\)|mbox\([^)]{0,300}\))|(?P<number>\d+(?:\.\d+)?)|(?P<known>"
    + "|".join(map(re.escape, _TOKENS))
    + r")|(?P<other>\S))"
)


def to_tex(source: str) -> str:
    """Return the TeX of an AsciiMath expression."""
    tokens = [
        next((kind, value) for kind, value in match.groupdict().items() if value is not None)
        for match in _LEXER.finditer(source[:MAX_CHARS].strip())
    ]
    return _Reader(tokens).expression(0).strip()


class _Reader:
    """Reads tokens one after the other; deeper than forty brackets they are read flat."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at = tokens, 0

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def expression(self, depth: int) -> str:
        """Read up to a closing bracket or the end."""
        parts = []
        while self._peek() and not (depth and self._peek() in _CLOSE):
            part = self._scripted(depth)
            if self._peek() == "/":
                self._at += 1
                part = f"\\frac{{{_bare(part)}}}{{{_bare(self._scripted(depth))}}}"
            parts.append(part)
        return " ".join(part for part in parts if part)

    def _scripted(self, depth: int) -> str:
        base = self._simple(depth)
        for sign in ("_", "^"):
            if self._peek() == sign:
                self._at += 1
                base += f"{sign}{{{_bare(self._simple(depth))}}}"
        return base

    def _simple(self, depth: int) -> str:
        if self._at >= len(self._tokens):
            return ""
        kind, token = self._tokens[self._at]
        self._at += 1
        if kind == "quoted":
            return f"\\text{{{token[1:-1] if token[0] == chr(34) else token[5:-1]}}}"
        if kind != "known" or depth > 40:
            return token
        if token in _UNARY:
            return f"{_UNARY[token]}{{{_bare(self._simple(depth + 1))}}}"
        if token in _BINARY:
            return _BINARY[token] % (_bare(self._simple(depth + 1)), _bare(self._simple(depth + 1)))
        if token in _OPEN:
            inner = self.expression(depth + 1)
            closing = _CLOSE.get(self._peek(), ".")
            self._at += 1
            return f"\\left{_OPEN[token]}{inner}\\right{closing}"
        return _SYMBOLS.get(token, _CLOSE.get(token, token))


def _bare(part: str) -> str:
    """Drop the round brackets around an argument; they only group."""
    is_bracket = part.startswith("\\left(") and part.endswith("\\right)")
    return part[6:-7] if is_bracket else part
