"""One pass over the UTF-8 bytes of a page: blocks of text, the elements around them, and where the page
describes itself.

There is no tree. A stack of open elements follows `tags.py`; a block is a run of text between the borders of
block-level elements (or two line breaks). Every loop moves forward over the bytes, and searches of the stack
are bounded by its depth cap, so that the time is linear in the page whatever it holds. An element whose end
tag is missing is searched for once.
"""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.attributes import (
    collect_tokens,
    context_of,
    formula_kind,
    hash_folded,
    holds_code,
    lookup,
    may_be_formula,
    names_code,
    scan_attributes,
)
from gristmill.pipeline.extract.blocks.compiled import (
    find_byte,
    is_space,
    njit_borrowing,
    njit_called,
    njit_inside,
    wrapping_product,
)
from gristmill.pipeline.extract.blocks.writing import GAP, LINE, NOTHING, end_word, insert, write_run

_META_KEYS, _META_VALUES = T.hash_table(L.META_NAMES, 256)
_A, _BR, _HR, _IMG, _INPUT, _META, _LINK, _TIME, _HTML, _P, _BODY = (
    T.ID[name] for name in ("a", "br", "hr", "img", "input", "meta", "link", "time", "html", "p", "body")
)
_B, _STRONG, _BUTTON, _TD, _TH, _TITLE, _TEXTAREA, _IFRAME, _SCRIPT, _STYLE, _LI = (
    T.ID[name]
    for name in ("b", "strong", "button", "td", "th", "title", "textarea", "iframe", "script", "style", "li")
)
_SPAN, _SUP, _SVG, _MATH, _XMP = T.ID["span"], T.ID["sup"], T.ID["svg"], T.ID["math"], T.ID["xmp"]
_CANONICAL, _LD_JSON, _DATE_PUBLISHED = (
    T.name_hash("canonical"),
    T.name_hash("application/ld+json"),
    T.name_hash("datepublished"),
)
_SIGNATURE_TOKENS = 2
_OWN = T.HEADER_CELL | T.CODE  # what an element does not hand down
_MATH_TYPE = T.name_hash("math/")
_BORDERS = (0, *itertools.accumulate((L.MAX_DEPTH + 1, T.NUM_TAGS, 2 * len(T.ATTRIBUTES) + 1, L.NUM_STATE)))
_SCRATCH = tuple(slice(*pair) for pair in itertools.pairwise(_BORDERS))
_XHTML, _PROLOG_BYTES = b"http://www.w3.org/1999/xhtml", 4096


@njit_called
def _end_block(i, text, blocks, elements, words, state):
    """Cut the current block's text where it ends, and begin the next block there."""
    b, out = state[L.NUM_BLOCKS], state[L.OUT]
    start = np.int64(blocks[b, L.START])
    end_word(b, blocks, words, state)
    while out > start and (text[out - 1] == 32 or text[out - 1] == 10 or text[out - 1] == 9):
        out -= 1
    state[L.OUT] = out
    blocks[b, L.END], blocks[b, L.ELEMENT], blocks[b, L.SOURCE_END] = out, state[L.CURRENT], i
    blocks[b, L.WORD_END] = state[L.NUM_WORDS]
    if b + 2 >= blocks.shape[0]:
        state[L.CAP] |= 4
        state[L.DONE] = 1
    b += 1
    state[L.NUM_BLOCKS] = b
    for column in range(L.NUM_BLOCK_COLUMNS):
        blocks[b, column] = 0
    blocks[b, L.START], blocks[b, L.SOURCE_START], blocks[b, L.WORD_START] = out, i, state[L.NUM_WORDS]


@njit_borrowing
def _flush(i, text, blocks, elements, words, state):
    """End the current block, if it holds any text, at source position i."""
    b = state[L.NUM_BLOCKS]
    state[L.PENDING], state[L.BREAK], state[L.LINK_CLOSED] = NOTHING, 0, -1
    if blocks[b, L.WORDS] == 0:
        state[L.OUT] = blocks[b, L.START]
    else:
        _end_block(i, text, blocks, elements, words, state)


@njit_borrowing
def _mark(marks, state, kind, start, end):
    position = state[L.NUM_MARKS]
    if position < L.MAX_MARKS and start >= 0:
        marks[position, 0], marks[position, 1], marks[position, 2] = kind, start, end
        state[L.NUM_MARKS] = position + 1


@njit_borrowing
def _pop(depth, elements, places, stack, open_count, state):
    """Close all elements of the stack from `depth` on."""
    while state[L.STACK] > depth:
        state[L.STACK] -= 1
        e = stack[state[L.STACK]]
        places[e, L.CLOSED] = state[L.AT]
        open_count[elements[e, L.TAG]] -= 1
    state[L.CURRENT] = stack[depth - 1] if depth > 0 else 0
    if state[L.LINK] > 0 and state[L.LINK_STACK] > depth:
        state[L.LINK] = 0
    if state[L.BOLD] > 0 and state[L.BOLD_STACK] > depth:
        state[L.BOLD] = 0


@njit_borrowing
def _push(tag, key, context, first_token, elements, places, tokens, stack, open_count, state):
    """Open an element below the current one; at a cap it is only counted, so that its end tag is not taken
    for another's."""
    number, depth = state[L.NUM_ELEMENTS], state[L.STACK]
    if depth >= L.MAX_DEPTH or number >= elements.shape[0]:
        state[L.CAP] |= 1 if depth >= L.MAX_DEPTH else 2
        state[L.OVERFLOW] += 1
        state[L.NUM_TOKENS] = first_token
        return
    parent = state[L.CURRENT]
    elements[number, L.PARENT], elements[number, L.TAG] = parent, tag
    elements[number, L.DEPTH], elements[number, L.NAME_HASH] = depth, key
    elements[number, L.CONTEXT] = (elements[parent, L.CONTEXT] & ~_OWN) | context
    if context & T.CODE or names_code(tokens, first_token, state[L.NUM_TOKENS]):
        elements[number, L.CONTEXT] |= T.CODE
        state[L.NUM_CODE] += 1
    places[number, L.OPENED], places[number, L.CLOSED] = state[L.AT], state[L.PAGE_BYTES]
    elements[number, L.TOKENS_START], elements[number, L.TOKENS_END] = first_token, state[L.NUM_TOKENS]
    elements[number, L.CELL] = number if tag in (_TD, _TH) else elements[parent, L.CELL]
    signature = tag + 1
    for k in range(first_token, min(first_token + _SIGNATURE_TOKENS, state[L.NUM_TOKENS])):
        signature = wrapping_product(signature, T.FNV_PRIME) + tokens[k]
    elements[number, L.SIGNATURE] = signature & 0x7FFFFFFF
    stack[depth] = number
    state[L.STACK], state[L.NUM_ELEMENTS], state[L.CURRENT] = depth + 1, number + 1, number
    open_count[tag] += 1


@njit_borrowing
def _close_implied(tag, elements, places, stack, open_count, state):
    """Close what a start tag ends without an end tag of its own: p, li, dt, dd, cells, rows, options,
    headings, svg."""
    if T.WHAT[tag] & T.CLOSES_P and open_count[_P] > 0:
        k = state[L.STACK] - 1
        while k > 0:
            open_tag = elements[stack[k], L.TAG]
            if open_tag == _P:
                _pop(k, elements, places, stack, open_count, state)
                break
            if T.SCOPE[open_tag]:
                break
            k -= 1
    if T.CLOSES_SOME[tag]:
        k = state[L.STACK] - 1
        while k > 0:
            action = T.CLOSE[tag, elements[stack[k], L.TAG]]
            if action == 1:
                _pop(k, elements, places, stack, open_count, state)
            if action != 0:
                break
            k -= 1
    if T.WHAT[tag] & T.BREAKS_SVG and (open_count[_SVG] > 0 or open_count[_MATH] > 0):
        k = state[L.STACK] - 1
        while k > 0:
            open_tag = elements[stack[k], L.TAG]
            if open_tag in (_SVG, _MATH):
                _pop(k, elements, places, stack, open_count, state)
            k -= 1


@njit_borrowing
def _end_tag(tag, key, elements, places, stack, open_count, state):
    """Close the innermost element of this name, unless a table cell or the like lies between."""
    if state[L.OVERFLOW] > 0:
        state[L.OVERFLOW] -= 1
        return
    if open_count[tag] == 0 or tag in (_BODY, _HTML):
        return
    k = state[L.STACK] - 1
    while k > 0:
        e = stack[k]
        if elements[e, L.TAG] == tag and (tag != 0 or elements[e, L.NAME_HASH] == key):
            _pop(k, elements, places, stack, open_count, state)
            return
        if T.SCOPE[elements[e, L.TAG]] and not (T.WHAT[tag] & T.BREAK and T.CONTEXT[tag] & T.TABLE):
            return
        k -= 1


@njit_borrowing
def _find_end(data, i, n, key):
    """Return (start of the end tag with this name hash, position after it), or (-1, -1) when there is none
    from i on."""
    i = find_byte(data, i, n, 60)
    while i + 2 < n:
        j = i + 1
        if data[j] == 47:
            j += 1
            while j < n and 97 <= (data[j] | 32) <= 122:
                j += 1
            if hash_folded(data, i + 2, j) == key:
                return i, min(find_byte(data, j, n, 62) + 1, n)
        i = find_byte(data, j, n, 60)
    return -1, -1


@njit_borrowing
def _element_end(data, i, n, key):
    """Return the position after the end tag of the element whose start tag, of this name hash, ended at i;
    elements of that name inside are counted. -1 if it ends nowhere near."""
    depth, n = 1, min(n, i + L.MAX_FORMULA_BYTES)
    while i < n:
        if data[i] != 60:
            i += 1
            continue
        ends = i + 1 < n and data[i + 1] == 47
        first = i + 2 if ends else i + 1
        j = first
        while j < n and data[j] != 62 and data[j] != 47 and data[j] != 60 and not is_space(data[j]):
            j += 1
        if j > first and hash_folded(data, first, j) == key:
            depth += -1 if ends else 1
            if depth == 0:
                while j < n and data[j] != 62:
                    j += 1
                return min(j + 1, n)
        i = max(j, i + 1)
    return -1


@njit_called
def _formula(data, i, n, tag, key, spans, text, blocks, words, inserts, state):
    """Insert the formula that may begin with the start tag that ended at i, or skip a copy of one; returns
    the position after it, -1 where there is none."""
    kind, end = formula_kind(data, tag, spans), i
    if kind == 0:
        return -1
    if tag != _IMG:
        if state[L.NO_FORMULA_END]:
            return -1
        end = _element_end(data, i, n, key)
        if end < 0:
            state[L.NO_FORMULA_END] = 1
            return -1
    if kind != T.IS_COPY_OF_FORMULA:
        insert(L.FORMULA, state[L.AT], end, state[L.NUM_BLOCKS], text, blocks, words, inserts, state)
    return end


@njit_called
def _raw_element(data, i, n, closed, tag, key, spans, text, blocks, elements, words, marks, inserts, state):
    """Skip the content of script, style, title and the like, whose tag ended at i; returns the position after
    it.

    Without an end tag, script and style reach to the end of the page, as in browsers, unless they close
    themselves; others are read on as markup, and not searched again.
    """
    fatal = tag in (_SCRIPT, _STYLE)
    unended = 1 << (tag - _SCRIPT)  # raw elements lie side by side in the table of tags
    if state[L.UNENDED] & unended:
        return i
    start, end = _find_end(data, i, n, key)
    if start < 0:
        if fatal and closed == 0:
            return n
        state[L.UNENDED] |= unended
        return i
    skipped = elements[state[L.CURRENT], L.CONTEXT] & T.SKIP
    if tag == _TITLE and not elements[state[L.CURRENT], L.CONTEXT] & T.FOREIGN:
        _mark(marks, state, L.MARK_TITLE, i, start)
    elif tag == _SCRIPT and spans[2 * T.TYPE] >= 0:
        first, last = spans[2 * T.TYPE], spans[2 * T.TYPE + 1]
        if hash_folded(data, first, last) == _LD_JSON:
            _mark(marks, state, L.MARK_JSON_LD, i, start)
        elif last - first > 5 and hash_folded(data, first, first + 5) == _MATH_TYPE and not skipped:
            b = state[L.NUM_BLOCKS]
            insert(L.FORMULA, state[L.AT], end, b, text, blocks, words, inserts, state)
    elif not skipped and (tag == _XMP or (tag == _TEXTAREA and holds_code(data, spans))):
        state[L.VERBATIM] = 1
        write_run(data, i, start, start >= 0, state[L.NUM_BLOCKS], text, blocks, words, state)
        state[L.VERBATIM] = 0
        blocks[state[L.NUM_BLOCKS], L.FLAGS] |= L.IS_VERBATIM
        _flush(end, text, blocks, elements, words, state)
    return end


@njit_called
def _comment(data, i, n, state):
    """Skip a comment, doctype or processing instruction at i; returns the position after it.

    A comment that never ends stops at its first '>'.
    """
    j = i + 2
    if data[i + 1] == 33 and j + 1 < n and data[j] == 45 and data[j + 1] == 45:
        j += 2
        if j < n and data[j] == 62:
            return j + 1
        if state[L.NO_COMMENT_END] == 0:
            k = j - 2 if j + 1 < n and data[j] == 45 and data[j + 1] == 62 else j
            k = find_byte(data, k + 2, n, 62) - 2
            while k + 2 < n:
                if data[k + 1] == 45 and data[k] == 45:
                    return k + 3
                if data[k + 1] == 33 and k > j and data[k] == 45 and data[k - 1] == 45:
                    return k + 3
                k = find_byte(data, k + 3, n, 62) - 2
            state[L.NO_COMMENT_END] = 1
    while j < n and data[j] != 62:
        j += 1
    return min(j + 1, n)


@njit_called
def _describe(data, i, tag, spans, marks, state):
    """Mark what a meta, link, time or html element says of the page."""
    if tag == _META and spans[2 * T.CONTENT] >= 0:
        for attribute in (T.PROPERTY, T.NAME, T.ITEMPROP):
            if spans[2 * attribute] >= 0:
                kind = lookup(
                    _META_KEYS,
                    _META_VALUES,
                    hash_folded(data, spans[2 * attribute], spans[2 * attribute + 1]),
                )
                if kind >= 0:
                    _mark(marks, state, kind, spans[2 * T.CONTENT], spans[2 * T.CONTENT + 1])
                    return
    elif tag == _LINK and spans[2 * T.REL] >= 0 and spans[2 * T.HREF] >= 0:
        if hash_folded(data, spans[2 * T.REL], spans[2 * T.REL + 1]) == _CANONICAL:
            _mark(marks, state, L.MARK_CANONICAL, spans[2 * T.HREF], spans[2 * T.HREF + 1])
    elif tag == _TIME and spans[2 * T.DATETIME] >= 0:
        published = False
        if spans[2 * T.ITEMPROP] >= 0:
            published = hash_folded(data, spans[2 * T.ITEMPROP], spans[2 * T.ITEMPROP + 1]) == _DATE_PUBLISHED
        _mark(
            marks,
            state,
            L.MARK_TIME_PUBLISHED if published else L.MARK_TIME,
            spans[2 * T.DATETIME],
            spans[2 * T.DATETIME + 1],
        )
    elif tag == _HTML:
        _mark(marks, state, L.MARK_LANGUAGE, spans[2 * T.LANG], spans[2 * T.LANG + 1])


@njit_inside
def _phrase(tag, what, spans, b, text, blocks, words, inserts, state):
    """Follow an element inside a block: links, bold, images, inputs."""
    if what & T.INSERTS and state[L.MODE] & T.INSERTED_IF[tag]:
        start, end = state[L.AT], state[L.AT]
        if tag == _A:
            start, end = spans[2 * T.HREF], spans[2 * T.HREF + 1]
        insert(T.INSERTED[tag], start, end, b, text, blocks, words, inserts, state)
    elif tag == _IMG and state[L.MODE] & L.WITH_IMAGES and spans[2 * T.ALT] >= 0:
        start, end = spans[2 * T.ALT], spans[2 * T.ALT + 1]
        insert(L.IMAGE, start, end, b, text, blocks, words, inserts, state)
    if tag == _A:
        state[L.LINK] = 1 if spans[2 * T.HREF] >= 0 else 0
        state[L.LINK_STACK] = state[L.STACK]
        blocks[b, L.LINKS] += state[L.LINK]
        if state[L.LINK_CLOSED] == state[L.OUT] and state[L.PENDING] == NOTHING:
            state[L.PENDING] = GAP  # two links that touch are two words to a reader
    elif tag in (_B, _STRONG):
        state[L.BOLD], state[L.BOLD_STACK] = 1, state[L.STACK]
    elif tag == _IMG:
        blocks[b, L.IMAGES] += 1
    elif tag == _INPUT:
        blocks[b, L.INPUTS] += 1


@njit_borrowing
def _start_tag(
    data,
    i,
    n,
    at,
    tag,
    key,
    text,
    blocks,
    elements,
    places,
    tokens,
    words,
    marks,
    inserts,
    stack,
    open_count,
    spans,
    state,
):
    """Handle the start tag at `at`, whose name ended at i; returns the position after it (and after raw
    content)."""
    what = T.WHAT[tag]
    i, closed = scan_attributes(data, i, n, spans)
    state[L.AT] = at
    if what & T.BREAK:
        _flush(at, text, blocks, elements, words, state)
    _close_implied(tag, elements, places, stack, open_count, state)
    if closed and state[L.MODE] & L.IS_XHTML and (what & (T.PUSH | T.RAW) or tag == _A):
        return i
    if what & T.RAW:
        return _raw_element(
            data, i, n, closed, tag, key, spans, text, blocks, elements, words, marks, inserts, state
        )
    if may_be_formula(data, what, spans) and not elements[state[L.CURRENT], L.CONTEXT] & T.SKIP:
        end = _formula(data, i, n, tag, key, spans, text, blocks, words, inserts, state)
        if end >= 0:
            if what & T.BREAK:
                _flush(end, text, blocks, elements, words, state)
            blocks[state[L.NUM_BLOCKS], L.IMAGES] += tag == _IMG
            return end
    b, first = state[L.NUM_BLOCKS], state[L.NUM_TOKENS]
    opens = what & T.PUSH and not (closed and (tag == 0 or elements[state[L.CURRENT], L.CONTEXT] & T.FOREIGN))
    if what & T.DESCRIBES:
        _describe(data, i, tag, spans, marks, state)
        if tag in (_HTML, _BODY) and open_count[tag] > 0:
            return i
    if spans[-1] >= 0 and (opens or (tag != _BR and blocks[b, L.WORDS] == 0 and blocks[b, L.TOKEN_END] == 0)):
        collect_tokens(data, spans, tokens, state)
    if opens:
        _push(
            tag, key, context_of(data, tag, spans), first, elements, places, tokens, stack, open_count, state
        )
        blocks[b, L.BUTTONS] += tag == _BUTTON
        return i
    if tag == _BR:
        if state[L.BREAK]:
            _flush(at, text, blocks, elements, words, state)
            b = state[L.NUM_BLOCKS]
        blocks[b, L.BREAKS] += 1
        end_word(b, blocks, words, state)
        state[L.BREAK] = 1 if blocks[b, L.WORDS] > 0 else 0
        state[L.PENDING] = LINE
        return i
    if state[L.NUM_TOKENS] > first:
        blocks[b, L.TOKEN_START], blocks[b, L.TOKEN_END] = first, state[L.NUM_TOKENS]
    _phrase(tag, what, spans, b, text, blocks, words, inserts, state)
    return i


@njit_inside
def _markup(
    data, i, n, text, blocks, elements, places, tokens, words, marks, inserts, stack, open_count, spans, state
):
    """Handle the tag or comment whose '<' is at i; returns the position after it."""
    at = i
    c = np.int64(data[i + 1])
    if c == 33 or c == 63:
        return _comment(data, i, n, state)
    ends = c == 47
    i += 2 if ends else 1
    if ends and not (i < n and 97 <= (data[i] | 32) <= 122):
        return _comment(data, i - 2, n, state)
    key = np.int64(T.FNV_START)
    while i < n:
        c = np.int64(data[i])
        if c <= 62 and (c == 62 or c == 47 or is_space(c)):
            break
        key = wrapping_product(key ^ (c | 32 if 65 <= c <= 90 else c), T.FNV_PRIME)
        i += 1
    tag = max(lookup(T.TAG_KEYS, T.TAG_VALUES, key), 0)
    if not ends or tag == _BR:  # `</br>` is read as `<br>`
        return _start_tag(
            data, i, n, at, tag, key, text, blocks, elements, places, tokens, words, marks, inserts, stack,
            open_count, spans, state,
        )  # fmt: skip
    while i < n and data[i] != 62:
        i += 1
    what, state[L.AT] = T.WHAT[tag], min(i + 1, n)
    if what & T.INSERTS and state[L.MODE] & T.INSERTED_IF[tag]:
        kind = T.INSERTED[tag] + 1
        insert(kind, at, state[L.AT], state[L.NUM_BLOCKS], text, blocks, words, inserts, state)
    if tag == _A:
        state[L.LINK], state[L.LINK_CLOSED] = 0, state[L.OUT]
    elif tag in (_B, _STRONG):
        state[L.BOLD] = 0
    if what & T.BREAK:
        _flush(at, text, blocks, elements, words, state)
    if what & T.PUSH:
        _end_tag(tag, key, elements, places, stack, open_count, state)
    return min(i + 1, n)


@njit(cache=True, nogil=True, _nrt=False)
def _scan(
    data, text, blocks, elements, places, tokens, words, marks, inserts, stack, open_count, spans, state
):
    """Go over the whole page, from tag to text to tag."""
    i, n = np.int64(0), np.int64(data.size)
    state[L.WORD_HASH], state[L.LINK_CLOSED], state[L.PAGE_BYTES] = T.FNV_START, -1, n
    state[L.NUM_ELEMENTS], state[L.STACK] = 1, 1  # element 0 is the page
    for k in range(spans.size):
        spans[k] = -1
    blocks[0, :] = 0
    elements[0, :] = 0
    places[0, L.OPENED], places[0, L.CLOSED] = 0, n
    while i < n and state[L.DONE] == 0:
        if (
            data[i] == 60
            and i + 1 < n
            and (
                97 <= (data[i + 1] | 32) <= 122 or data[i + 1] == 47 or data[i + 1] == 33 or data[i + 1] == 63
            )
        ):
            i = _markup(
                data,
                i,
                n,
                text,
                blocks,
                elements,
                places,
                tokens,
                words,
                marks,
                inserts,
                stack,
                open_count,
                spans,
                state,
            )
        else:
            context = elements[state[L.CURRENT], L.CONTEXT]
            if context & T.SKIP:
                i = find_byte(data, i + 1, n, 60)
            else:
                i = write_run(
                    data, i, n, context & T.PRE != 0, state[L.NUM_BLOCKS], text, blocks, words, state
                )
    _flush(n, text, blocks, elements, words, state)


class Tokenized(NamedTuple):
    """A page as arrays (see `layout`), how many elements may hold code by their name, how many inserts are
    formulas, and a bit for each cap that was hit."""

    text: npt.NDArray[np.uint8]
    blocks: npt.NDArray[np.int32]
    elements: npt.NDArray[np.int64]
    places: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    marks: npt.NDArray[np.int64]
    inserts: npt.NDArray[np.int32]
    num_code: int
    num_formulas: int
    caps: int


def tokenize(data: npt.NDArray[np.uint8], mode: int = 0) -> Tokenized:
    """Tokenize valid UTF-8; `mode` names the phrases that are noted as inserts (see `layout`).

    A page that begins with an XML declaration and names the namespace of XHTML is read as XML reads it where
    a tag closes itself: the element is empty.
    """
    if data[:5].tobytes() == b"<?xml" and _XHTML in data[:_PROLOG_BYTES].tobytes():
        mode |= L.IS_XHTML
    n = data.size
    text = np.empty(n + n // 4 + 64, dtype=np.uint8)
    blocks = np.empty((min(L.MAX_BLOCKS, n // 4) + 4, L.NUM_BLOCK_COLUMNS), dtype=np.int32)
    elements = np.empty((min(L.MAX_ELEMENTS, n // 3) + 2, L.NUM_ELEMENT_COLUMNS), dtype=np.int64)
    places = np.empty((len(elements), 2), dtype=np.int32)
    tokens = np.empty(n + 16, dtype=np.int32)
    words = np.empty(min(n, L.MAX_BLOCKS * L.MAX_BLOCK_WORDS) + 16, dtype=np.int32)
    marks = np.empty((L.MAX_MARKS, 3), dtype=np.int64)
    inserts = np.empty((min(L.MAX_INSERTS, n // 3) + 2, L.NUM_INSERT_COLUMNS), dtype=np.int32)
    # One allocation: the stack of open elements, how many of each tag, the attributes of one, the state.
    scratch = np.zeros(_BORDERS[-1], dtype=np.int64)
    stack, open_count, spans, state = map(scratch.__getitem__, _SCRATCH)
    state[L.MODE] = mode
    _scan(
        data, text, blocks, elements, places, tokens, words, marks, inserts, stack, open_count, spans, state
    )
    used = state.tolist()
    return Tokenized(
        text[: used[L.OUT]],
        blocks[: used[L.NUM_BLOCKS]],
        elements[: used[L.NUM_ELEMENTS]],
        places[: used[L.NUM_ELEMENTS]],
        tokens[: used[L.NUM_TOKENS]],
        words[: used[L.NUM_WORDS]],
        marks[: used[L.NUM_MARKS]],
        inserts[: used[L.NUM_INSERTS]],
        used[L.NUM_CODE],
        used[L.NUM_FORMULAS],
        used[L.CAP],
    )
