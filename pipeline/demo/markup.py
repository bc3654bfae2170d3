"""From docstrings, reStructuredText and Markdown, as people write them, to blocks, and from blocks to HTML or
plain text."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

_UNDERLINE = re.compile(r"^([=\-~^\"'*+#`])\1{2,}\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)])\s+")
_FIELD = re.compile(r"^:(?:param|type|returns?|rtype|raises|keyword)\b[^:]*:|^@\w+")
_CODE = re.compile(r"^(?:>>>|\.\.\. |\$ |\s{4,}\S)")
_DIRECTIVE = re.compile(r"^\.\. (?P<name>[\w-]+)::\s*(?P<rest>.*)$")
_INLINE = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),  # images and badges
    (re.compile(r"\[!?\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r":(?:[a-z]+:)?[a-z]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`_*"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`]+)`_*"), r"\1"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"\1"),
    (re.compile(r"<[^<>]{1,200}>"), ""),
)


@dataclass(frozen=True, slots=True)
class PageBlock:
    """A heading, a paragraph, one item of a list, a defined term (`title`) with its text, or code."""

    kind: Literal["heading", "paragraph", "item", "term", "code"]
    text: str
    title: str = ""


def parse(text: str) -> list[PageBlock]:
    """Cut a text into blocks at blank lines, underlined headings, fences and items."""
    blocks: list[PageBlock] = []
    for lines in _chunks(inspect.cleandoc(text.expandtabs(4))):
        blocks += _classify(lines)
    return [block for block in blocks if block.text.strip()]


def to_html(blocks: Iterable[PageBlock]) -> str:
    """Render blocks as the body of an article."""
    parts: list[str] = []
    open_list = ""
    for block in blocks:
        wanted = {"item": "ul", "term": "dl"}.get(block.kind, "")
        if wanted != open_list:
            parts += [f"</{open_list}>"] * bool(open_list) + [f"<{wanted}>"] * bool(wanted)
            open_list = wanted
        parts.append(_element(block))
    return "\n".join(parts + [f"</{open_list}>"] * bool(open_list))


def to_text(blocks: Iterable[PageBlock]) -> str:
    """Render blocks as plain text with one line per paragraph."""
    return "\n\n".join(f"{block.title}: {block.text}" if block.title else block.text for block in blocks)


def plain(text: str) -> str:
    """Drop inline markup from a line."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _chunks(text: str) -> Iterator[list[str]]:
    """Yield runs of lines between blank lines; a fenced piece of code is one run."""
    pending: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            if fenced:
                yield ["```", *pending]
            elif pending:
                yield pending
            pending, fenced = [], not fenced
        elif line.strip() or fenced:
            pending.append(line)
        elif pending:
            yield pending
            pending = []
    if pending:
        yield pending


def _classify(lines: list[str]) -> Iterator[PageBlock]:
    if lines[0] == "```" or all(_CODE.match(line) for line in lines):
        code = lines[1:] if lines[0] == "```" else lines
        yield PageBlock("code", inspect.cleandoc("\n".join(code)))
        return
    if _UNDERLINE.match(lines[0]) and len(lines) > 1:  # an overlined heading
        lines = lines[1:]
    if len(lines) > 1 and _UNDERLINE.match(lines[1]):
        yield PageBlock("heading", plain(lines[0]))
        lines = lines[2:]
    elif lines and lines[0].startswith("#"):
        yield PageBlock("heading", plain(lines[0].lstrip("#")))
        lines = lines[1:]
    if lines and (directive := _DIRECTIVE.match(lines[0])):
        lead = (
            directive["name"]
            .replace("versionadded", "New in version")
            .replace("versionchanged", "Changed in version")
        )
        lead = "" if lead in {"code-block", "note", "warning", "image", "seealso"} else lead
        lines = [f"{lead} {directive['rest']}", *lines[1:]]
    if lines and not _UNDERLINE.match(lines[0]):
        yield from _running_text(lines)


def _running_text(lines: list[str]) -> Iterator[PageBlock]:
    """Tell lists, definitions (a line and indented lines below it) and prose apart."""
    if _ITEM.match(lines[0]) or _FIELD.match(lines[0]):
        items: list[list[str]] = []
        for line in lines:
            if _ITEM.match(line) or _FIELD.match(line) or not items:
                items.append([])
            items[-1].append(_ITEM.sub("", line))
        yield from (PageBlock("item", plain(" ".join(item))) for item in items)
    elif len(lines) > 1 and not lines[0].startswith(" ") and lines[1].startswith("  "):
        terms: list[tuple[str, list[str]]] = []
        for line in lines:
            if line.startswith(" ") and terms:
                terms[-1][1].append(line)
            else:
                terms.append((line, []))
        for title, body in terms:
            yield (
                PageBlock("term", plain(" ".join(body)), plain(title))
                if body
                else PageBlock("paragraph", plain(title))
            )
    else:
        yield PageBlock("paragraph", plain(" ".join(lines)))


def _element(block: PageBlock) -> str:
    text = html.escape(block.text, quote=False)
    if block.kind == "term":
        return f"<dt><code>{html.escape(block.title, quote=False)}</code></dt><dd><p>{text}</p></dd>"
    if block.kind == "code":
        return f"<pre><code>{text}</code></pre>"
    tag = {"heading": "h2", "paragraph": "p", "item": "li"}[block.kind]
    return f"<{tag}>{text}</{tag}>"
