"""Read the attributes of a start tag, and hash class names and their parts into tokens."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import numpy as np

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.compiled import (
    find_byte,
    is_space,
    njit_borrowing,
    njit_called,
    wrapping_product,
)

_KEYS, _VALUES = T.ATTRIBUTE_KEYS, T.ATTRIBUTE_VALUES
_ROLE_KEYS, _ROLE_VALUES = T.ROLE_KEYS, T.ROLE_VALUES
_ITEMPROP_SEED = T.name_hash("itemprop")
_ROLE_SEED = T.name_hash("role")
_ARIA_HIDDEN_TOKEN = T.name_hash("aria-hidden")
_ARTICLE_BODY = T.name_hash("articlebody")
_NONE = T.name_hash("none")
_IMG, _MATH, _M_MATH, _MML_MATH, _MJX = (
    T.ID[name] for name in ("img", "math", "m:math", "mml:math", "mjx-container")
)
_HIDDEN = T.name_hash("hidden")
_TOKEN_MASK = 0x7FFFFFFF
# The attributes that name an element, and where the hash of each begins, so that equal names differ.
_NAMING = np.array(
    [[attribute, T.FNV_START] for attribute in (T.CLASS, T.IDENT, T.TESTID, T.COMPONENT)]
    + [[T.ITEMPROP, _ITEMPROP_SEED], [T.ROLE, _ROLE_SEED]],
    dtype=np.int64,
)


@njit_borrowing
def lookup(keys, values, key):
    """Return the value of a name's hash in an open-addressing table, -1 when it has none."""
    mask = keys.size - 1
    slot = key & mask
    while values[slot] >= 0:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + 1) & mask
    return -1


@njit_borrowing
def hash_folded(data, start, end):
    """Hash bytes with ASCII letters folded to lower case, as `tags.name_hash` hashes a lower-case name."""
    key = np.int64(T.FNV_START)
    for i in range(start, end):
        c = np.int64(data[i])
        key = wrapping_product(key ^ (c | 32 if 65 <= c <= 90 else c), T.FNV_PRIME)
    return key


@njit_borrowing
def _value(data, i, n):
    """Read an attribute value that begins at i; returns (start, end, position after it)."""
    quote = data[i]
    if quote == 34 or quote == 39:
        i += 1
        start = i
        i = find_byte(data, i, n, quote)
        return start, i, i + 1
    start = i
    while i < n and data[i] != 62 and not is_space(data[i]):
        i += 1
    return start, i, i


@njit_borrowing
def scan_attributes(data, i, n, spans):
    """Read the attributes of a tag from i, after its name, into spans[2 * attribute], -1 where absent; the
    last entry tells whether any is set.

    Returns (position after '>', whether the tag closes itself). A tag cut off by the end of the page ends at
    n.
    """
    if spans[-1] >= 0:  # the last tag had attributes
        for k in range(spans.size):
            spans[k] = -1
    closed = np.int64(0)
    while i < n:
        c = data[i]
        if c == 62:
            return i + 1, closed
        if c == 47 or is_space(c):
            closed = np.int64(1) if c == 47 else closed
            i += 1
            continue
        closed = np.int64(0)
        key, first = np.int64(T.FNV_START), i
        while i < n:
            c = np.int64(data[i])
            if c <= 62 and (c == 62 or c == 47 or is_space(c) or (c == 61 and i > first)):
                break
            key = wrapping_product(key ^ (c | 32 if 65 <= c <= 90 else c), T.FNV_PRIME)
            i += 1
        while i < n and is_space(data[i]):
            i += 1
        start = end = i
        if i < n and data[i] == 61:
            i += 1
            while i < n and is_space(data[i]):
                i += 1
            start = end = i
            if i < n and data[i] != 62:
                start, end, i = _value(data, i, n)
        known = lookup(_KEYS, _VALUES, key)
        if known >= 0 and spans[2 * known] < 0:
            spans[2 * known], spans[2 * known + 1], spans[-1] = start, end, 1
    return n, np.int64(0)


@njit_borrowing
def _keep(tokens, state, key):
    position = state[L.NUM_TOKENS]
    if position < tokens.size:
        tokens[position] = (key ^ (key >> 31)) & _TOKEN_MASK
        state[L.NUM_TOKENS] = position + 1


@njit_borrowing
def _tokens_of(data, start, end, seed, tokens, state, first):
    """Hash each name in a value, and the words it is made of (`post-body__text`, `postBody`), from the token
    `first` on."""
    name, part, part_length, num_parts, previous_lower = seed, seed, 0, 0, False
    i = start
    while i <= end and state[L.NUM_TOKENS] - first < L.MAX_ELEMENT_TOKENS:
        while i < end and 97 <= data[i] <= 122:
            c = np.int64(data[i])
            name, part = wrapping_product(name ^ c, T.FNV_PRIME), wrapping_product(part ^ c, T.FNV_PRIME)
            part_length += 1
            previous_lower = True
            i += 1
        c = np.int64(data[i]) if i < end else np.int64(32)
        i += 1
        upper, lower = 65 <= c <= 90, 97 <= c <= 122 or c >= 128
        space = is_space(c)
        if part_length > 0 and (not (upper or lower) or (upper and previous_lower)):
            num_parts += 1
            if part_length > 1 and not (space and num_parts == 1 and part == name):
                _keep(tokens, state, part)
            part, part_length = seed, 0
        if space:
            if name != seed:
                _keep(tokens, state, name)
            name, part, part_length, num_parts = seed, seed, 0, 0
        else:
            folded = c | 32 if upper else c
            name = wrapping_product(name ^ folded, T.FNV_PRIME)
            if upper or lower:
                part = wrapping_product(part ^ folded, T.FNV_PRIME)
                part_length += 1
        previous_lower = lower


@njit_borrowing
def collect_tokens(data, spans, tokens, state):
    """Append the tokens of a tag's class, id, itemprop, role and test names to `tokens`."""
    first = state[L.NUM_TOKENS]
    for k in range(_NAMING.shape[0]):
        at = 2 * _NAMING[k, 0]
        if spans[at] >= 0:
            _tokens_of(data, spans[at], spans[at + 1], _NAMING[k, 1], tokens, state, first)
    if spans[2 * T.ARIA_HIDDEN] >= 0 and spans[2 * T.ARIA_HIDDEN + 1] - spans[2 * T.ARIA_HIDDEN] == 4:
        _keep(tokens, state, _ARIA_HIDDEN_TOKEN)


@njit_borrowing
def _hides(data, start, end):
    """Tell whether a style value holds `display: none` or `visibility: hidden`."""
    i = start
    while i < end:
        if data[i] == 58:  # ':'
            j = i + 1
            while j < end and is_space(data[j]):
                j += 1
            k = j
            while k < end and 97 <= (data[k] | 32) <= 122:
                k += 1
            if (
                k - j == 4
                and i - start >= 7
                and hash_folded(data, j, k) == _NONE
                and (data[i - 1] | 32) == 121
            ):
                return True
            if (
                k - j == 6
                and i - start >= 10
                and hash_folded(data, j, k) == _HIDDEN
                and (data[i - 1] | 32) == 121
            ):
                return True
            i = k
        else:
            i += 1
    return False


@njit_borrowing
def context_of(data, tag, spans):
    """Return the context bits an element gives its content, from its name, role, itemprop and style."""
    context = T.CONTEXT[tag]
    if spans[2 * T.ROLE] >= 0:
        role = lookup(_ROLE_KEYS, _ROLE_VALUES, hash_folded(data, spans[2 * T.ROLE], spans[2 * T.ROLE + 1]))
        if role >= 0:
            context |= role
    if (
        spans[2 * T.ITEMPROP] >= 0
        and hash_folded(data, spans[2 * T.ITEMPROP], spans[2 * T.ITEMPROP + 1]) == _ARTICLE_BODY
    ):
        context |= T.ARTICLE_BODY
    if spans[2 * T.HIDDEN_ATTRIBUTE] >= 0 or (
        spans[2 * T.STYLE] >= 0 and _hides(data, spans[2 * T.STYLE], spans[2 * T.STYLE + 1])
    ):
        context |= T.HIDDEN
    if spans[2 * T.SHADOW] >= 0:  # a declarative shadow root is shown
        context &= ~T.SKIP
    return context


@njit_borrowing
def names_code(tokens, first, end):
    """Tell whether a tag's tokens hold a name that code goes by."""
    found = False
    for k in range(first, end):
        found |= T.CODE_TOKENS[tokens[k] & (T.CODE_TOKENS.size - 1)] == tokens[k]
    return found


@njit_borrowing
def holds_code(data, spans):
    """Tell whether a text area goes by a name of code: the first of its classes, its id or its name."""
    for attribute in (T.CLASS, T.IDENT, T.NAME):
        start, end = spans[2 * attribute], spans[2 * attribute + 1]
        i = start
        while i < end and not is_space(data[i]):
            i += 1
        if i > start:
            key = hash_folded(data, start, i)
            token = (key ^ (key >> 31)) & _TOKEN_MASK
            if T.CODE_TOKENS[token & (T.CODE_TOKENS.size - 1)] == token:
                return True
    return False


@njit_borrowing
def _draws(data, start, end):
    """Tell whether an image's address may be that of a formula: `tex` or `mat` is in it."""
    for i in range(start, end - 2):
        c = data[i] | 32
        if c == 116 and (data[i + 1] | 32) == 101 and (data[i + 2] | 32) == 120:
            return True
        if c == 109 and (data[i + 1] | 32) == 97 and (data[i + 2] | 32) == 116:
            return True
    return False


@njit_borrowing
def may_be_formula(data, what, spans):
    """Tell quickly of a start tag whether `formula_kind` is worth asking."""
    if what & T.DRAWS:
        return True
    if spans[-1] < 0:  # no attributes
        return False
    start = spans[2 * T.CLASS]
    return spans[2 * T.TEX] >= 0 or (
        start >= 0 and (data[start] | 32) in (107, 108, 109, 113)  # the names begin with k, l, m or q
    )


@njit_called
def formula_kind(data, tag, spans):
    """Return whether a start tag begins a formula, a copy of one (see `tags`), or neither: 0."""
    if tag in (_MATH, _M_MATH, _MML_MATH, _MJX) or spans[2 * T.TEX + 1] > spans[2 * T.TEX]:
        return T.IS_FORMULA
    start, end = spans[2 * T.CLASS], spans[2 * T.CLASS + 1]
    if start < end:
        i = start
        while i < end and not is_space(data[i]):
            i += 1
        kind = lookup(T.FORMULA_KEYS, T.FORMULA_VALUES, hash_folded(data, start, i))
        if kind == T.IS_FORMULA or kind == T.IS_COPY_OF_FORMULA or (kind > 0 and tag == _IMG):
            return kind
    if tag == _IMG and spans[2 * T.SRC] >= 0 and _draws(data, spans[2 * T.SRC], spans[2 * T.SRC + 1]):
        return T.IS_FORMULA_IMAGE
    return 0
