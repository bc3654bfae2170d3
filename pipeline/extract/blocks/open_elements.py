"""Where blocks end, and elements open and close: a stack, by the rules of `tags`, whose searches are bounded
by its depth."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import numpy as np

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.attributes import names_code
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing, njit_called, wrapping_product
from gristmill.pipeline.extract.blocks.writing import NOTHING, end_word

_P, _TD, _TH, _BODY, _HTML, _SVG, _MATH = (
    T.ID[name] for name in ("p", "td", "th", "body", "html", "svg", "math")
)
_SIGNATURE_TOKENS = 2
_OWN = T.HEADER_CELL | T.CODE  # what an element does not hand down


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
def flush(i, text, blocks, elements, words, state):
    """End the current block, if it holds any text, at source position i."""
    b = state[L.NUM_BLOCKS]
    state[L.PENDING], state[L.BREAK], state[L.LINK_CLOSED] = NOTHING, 0, -1
    if blocks[b, L.WORDS] == 0:
        state[L.OUT] = blocks[b, L.START]
    else:
        _end_block(i, text, blocks, elements, words, state)


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
def push(tag, key, context, first_token, elements, places, tokens, stack, open_count, state):
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
def close_implied(tag, elements, places, stack, open_count, state):
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
def end_tag(tag, key, elements, places, stack, open_count, state):
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
