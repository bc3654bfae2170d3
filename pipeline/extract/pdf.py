"""The text layer of a PDF as paragraphs: PDFium's lines, without what repeats on page after page.

    text = pdf_text(data)       # "" where no page has a text layer

Lines are joined to paragraphs, words that a line end has cut are whole again, and running heads, feet and
page numbers go: lines at a page's edge that come on many pages, numbers aside. Tables come line by line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

SIGNATURE = b"%PDF-"
_SIGNATURE_WITHIN = 1024  # bytes from the start; Acrobat's own tolerance (PDF Reference 1.7, appendix H.3)
_MAX_TEXT_CHARACTERS = 20_000_000
_EDGE_LINES = 3
_MIN_PAGES = 3
_REPEATED_FRACTION = 0.3
_SHORT_FRACTION = 0.75
_ENDS = re.compile(r"[.!?:;\u2026\u3002\uff01\uff1f][\"')\]\u2019\u201d\u00bb]*$")
_BEGINS_ITEM = re.compile(r"(?:[\u2022\u25aa\u25cf\u2013*-]|\(?\d{1,3}[.)]|\(?[a-z]\))\s")
_NUMBERS = re.compile(r"\d+|\b[ivxlc]{1,7}\b", re.IGNORECASE)
# PDFium writes U+FFFE, older versions U+0002, for a hyphen at a line's end.
_CUT_WORD = re.compile(r"(?<=\w)[\ufffe\x02\xad]$")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010]$")


def is_pdf(body: bytes) -> bool:
    """Say whether bytes are a PDF, with or without something before its header."""
    return SIGNATURE in body[:_SIGNATURE_WITHIN]


def pdf_text(data: bytes) -> str:
    """Return the text of a PDF; raises ValueError for one that is damaged or locked."""
    pages = [_lines(text) for text in _page_texts(data)]
    return "\n\n".join(paragraphs(without_repeats(pages)))


def _page_texts(data: bytes) -> Iterator[str]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data[data.index(SIGNATURE) :])
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"not a PDF that can be opened: {error}") from error
    num_characters = 0
    try:
        for number in range(len(document)):
            page = document[number]
            layer = page.get_textpage()
            text = layer.get_text_range()
            layer.close()
            page.close()
            yield text
            num_characters += len(text)
            if num_characters > _MAX_TEXT_CHARACTERS:
                return
    finally:
        document.close()


def _lines(text: str) -> list[str]:
    lines = [" ".join(line.split()) for line in re.split(r"\r\n|[\r\n\f]", text)]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def without_repeats(pages: Sequence[list[str]]) -> list[list[str]]:
    """Drop lines at the edges of pages that come on many of them, whatever numbers they hold."""
    filled = [lines for lines in pages if lines]
    if len(filled) < _MIN_PAGES:
        return [list(lines) for lines in filled]
    counts: Counter[str] = Counter()
    for lines in filled:
        counts.update({_shape(line) for line in _edges(lines)})
    least = max(_MIN_PAGES, _REPEATED_FRACTION * len(filled))
    repeated = {shape for shape, count in counts.items() if count >= least}
    return [_trim(lines, repeated) for lines in filled]


def _edges(lines: list[str]) -> list[str]:
    return [line for line in (*lines[:_EDGE_LINES], *lines[-_EDGE_LINES:]) if line]


def _shape(line: str) -> str:
    return _NUMBERS.sub("#", line)


def _trim(lines: list[str], repeated: set[str]) -> list[str]:
    """Drop repeated lines from both ends of a page, as long as one follows another."""
    start, end = 0, len(lines)
    while start < min(end, _EDGE_LINES) and (not lines[start] or _shape(lines[start]) in repeated):
        start += 1
    while end > max(start, len(lines) - _EDGE_LINES) and (
        not lines[end - 1] or _shape(lines[end - 1]) in repeated
    ):
        end -= 1
    return lines[start:end]


def paragraphs(pages: Sequence[list[str]]) -> Iterator[str]:
    """Join lines, over the ends of pages too; a short line that ends a sentence ends a paragraph."""
    lengths = sorted(len(line) for lines in pages for line in lines if line)
    usual = lengths[len(lengths) * 3 // 4] if lengths else 0
    parts: list[str] = []
    for lines in pages:
        for line, following in zip(lines, [*lines[1:], ""], strict=False):
            if parts and (not line or _BEGINS_ITEM.match(line)):
                yield _joined(parts)
                parts = []
            if line:
                parts.append(line)
                is_short = len(line) < _SHORT_FRACTION * usual
                begins_anew = following[:1].isupper() or following[:1].isdigit()
                if is_short and (_ENDS.search(line) or begins_anew):  # a paragraph's last line, or a heading
                    yield _joined(parts)
                    parts = []
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[str]) -> str:
    pieces: list[str] = []
    for number, part in enumerate(parts):
        following = parts[number + 1] if number + 1 < len(parts) else ""
        if (following and _CUT_WORD.search(part)) or (following[:1].islower() and _HYPHEN.search(part)):
            pieces.append(part[:-1])
        else:
            pieces.append(part + (" " if following else ""))
    return "".join(pieces).replace("\ufffe", "").replace("\x02", "")
