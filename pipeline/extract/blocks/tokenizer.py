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
    lookup,
    may_be_formula,
    scan_attributes,
)
from gristmill.pipeline.extract.blocks.compiled import (
    find_byte,
    is_space,
    njit_borrowing,
    njit_inside,
    wrapping_product,
)
from gristmill.pipeline.extract.blocks.open_elements import close_implied, end_tag, flush, push
from gristmill.pipeline.extract.blocks.other_content import comment, describe, formula, raw_element
from gristmill.pipeline.extract.blocks.writing import GAP, LINE, NOTHING, end_word, insert, write_run

_A, _BR, _IMG, _INPUT, _HTML, _BODY, _B, _STRONG, _BUTTON = (
    T.ID[name] for name in ("a", "br", "img", "input", "html", "body", "b", "strong", "button")
)
_BORDERS = (0, *itertools.accumulate((L.MAX_DEPTH + 1, T.NUM_TAGS, 2 * len(T.ATTRIBUTES) + 1, L.NUM_STATE)))
_SCRATCH = tuple(slice(*pair) for pair in itertools.pairwise(_BORDERS))
_XHTML, _PROLOG_BYTES = b"http://www.w3.org/1999/xhtml", 4096


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
        flush(at, text, blocks, elements, words, state)
    close_implied(tag, elements, places, stack, open_count, state)
    if closed and state[L.MODE] & L.IS_XHTML and (what & (T.PUSH | T.RAW) or tag == _A):
        return i
    if what & T.RAW:
        return raw_element(
            data, i, n, closed, tag, key, spans, text, blocks, elements, words, marks, inserts, state
        )
    if may_be_formula(data, what, spans) and not elements[state[L.CURRENT], L.CONTEXT] & T.SKIP:
        end = formula(data, i, n, tag, key, spans, text, blocks, words, inserts, state)
        if end >= 0:
            if what & T.BREAK:
                flush(end, text, blocks, elements, words, state)
            blocks[state[L.NUM_BLOCKS], L.IMAGES] += tag == _IMG
            return end
    b, first = state[L.NUM_BLOCKS], state[L.NUM_TOKENS]
    opens = what & T.PUSH and not (closed and (tag == 0 or elements[state[L.CURRENT], L.CONTEXT] & T.FOREIGN))
    if what & T.DESCRIBES:
        describe(data, i, tag, spans, marks, state)
        if tag in (_HTML, _BODY) and open_count[tag] > 0:
            return i
    if spans[-1] >= 0 and (opens or (tag != _BR and blocks[b, L.WORDS] == 0 and blocks[b, L.TOKEN_END] == 0)):
        collect_tokens(data, spans, tokens, state)
    if opens:
        push(
            tag, key, context_of(data, tag, spans), first, elements, places, tokens, stack, open_count, state
        )
        blocks[b, L.BUTTONS] += tag == _BUTTON
        return i
    if tag == _BR:
        if state[L.BREAK]:
            flush(at, text, blocks, elements, words, state)
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
        return comment(data, i, n, state)
    ends = c == 47
    i += 2 if ends else 1
    if ends and not (i < n and 97 <= (data[i] | 32) <= 122):
        return comment(data, i - 2, n, state)
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
        flush(at, text, blocks, elements, words, state)
    if what & T.PUSH:
        end_tag(tag, key, elements, places, stack, open_count, state)
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
    flush(n, text, blocks, elements, words, state)


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
