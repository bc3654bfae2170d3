"""Write the text of a page, character by character, into one buffer, and measure each block on the way."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

import numpy as np

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.compiled import (
    njit_borrowing,
    njit_called,
    skip_blanks,
    wrapping_product,
)
from gristmill.pipeline.extract.blocks.entities import character_reference
from gristmill.pipeline.extract.blocks.tags import FNV_PRIME, FNV_START

# Kinds of ASCII characters.
_SPACE, _CONTROL, _LETTER, _UPPER, _DIGIT, _PUNCTUATION, _COMMA, _END, _MARKUP, _REFERENCE = range(10)
_ASCII = np.full(128, _PUNCTUATION, dtype=np.uint8)
_ASCII[:32] = _CONTROL
_ASCII[127] = _CONTROL
_ASCII[[9, 10, 12, 13, 32]] = _SPACE
_ASCII[ord("a") : ord("z") + 1] = _LETTER
_ASCII[ord("A") : ord("Z") + 1] = _UPPER
_ASCII[ord("0") : ord("9") + 1] = _DIGIT
_ASCII[[ord(","), ord(";")]] = _COMMA
_ASCII[[ord("."), ord("!"), ord("?")]] = _END
_ASCII[ord("<")] = _MARKUP
_ASCII[ord("&")] = _REFERENCE

# PENDING: what must be written before the next visible character.
NOTHING, GAP, LINE = 0, 1, 2
_ROOM = 16  # bytes kept free for one more character
_HASH_MASK = 0x7FFFFFFF
_NUMBER = 0x0D161715  # every word with a digit in it is the same word


@njit_borrowing
def opens_markup(data, i, n):
    """Tell whether the '<' at i begins a tag or a comment rather than standing for itself."""
    if i + 1 >= n:
        return False
    c = data[i + 1]
    return 97 <= (c | 32) <= 122 or c == 47 or c == 33 or c == 63


@njit_borrowing
def end_word(b, blocks, words, state):
    """Close the word being written: add it to the block's hash, and keep its own while the block has room for
    more."""
    if state[L.IN_WORD] == 0:
        return
    key = state[L.WORD_HASH]
    state[L.IN_WORD], state[L.WORD_HASH] = 0, FNV_START
    if key == FNV_START:
        return
    folded = (key ^ (key >> 31)) & _HASH_MASK
    blocks[b, L.HASH] = (np.int64(blocks[b, L.HASH]) * 1000003 + folded) & _HASH_MASK
    position = state[L.NUM_WORDS]
    if position - blocks[b, L.WORD_START] < L.MAX_BLOCK_WORDS and position < words.size:
        words[position] = _NUMBER if state[L.NUMERIC] else folded
        state[L.NUM_WORDS] = position + 1
    state[L.NUMERIC] = 0


@njit_borrowing
def _code_point(data, i, n):
    """Decode the character at i, which lies beyond ASCII; returns (position after it, code point)."""
    c = np.int64(data[i])
    if c < 0xE0:
        length, value = 2, c & 0x1F
    elif c < 0xF0:
        length, value = 3, c & 0x0F
    else:
        length, value = 4, c & 0x07
    if i + length > n or c < 0xC0:
        return i + 1, 0xFFFD
    for k in range(1, length):
        value = (value << 6) | (np.int64(data[i + k]) & 0x3F)
    return i + length, value


@njit_borrowing
def _is_wide(cp):
    """Han and Kana characters, each of which counts as a word."""
    return (
        0x3040 <= cp <= 0x30FF or 0x3400 <= cp <= 0x9FFF or 0xF900 <= cp <= 0xFAFF or 0x20000 <= cp <= 0x3FFFF
    )


@njit_borrowing
def _is_space(cp):
    return (
        cp == 0xA0
        or cp == 0x3000
        or 0x2000 <= cp <= 0x200A
        or cp in (0x2028, 0x2029, 0x202F, 0x205F, 0x1680, 0x85)
    )


@njit_borrowing
def _is_nothing(cp):
    """Characters that only steer layout: soft hyphen, zero-width space, direction marks, byte order mark,
    controls."""
    return (
        cp in (0xAD, 0x200B, 0x2060, 0xFEFF, 0x200E, 0x200F)
        or 0x80 <= cp < 0xA0
        or cp < 32
        or cp == 127
        or (cp & 0xFFFE) == 0xFFFE
    )


@njit_borrowing
def _kind_beyond_ascii(cp):
    """Sort characters of other scripts into the same kinds."""
    if _is_space(cp):
        return _SPACE
    if _is_nothing(cp):
        return _CONTROL
    if cp in (0x3001, 0xFF0C, 0x060C, 0xFF1B, 0x061B):
        return _COMMA
    if cp in (0x3002, 0xFF01, 0xFF1F, 0x06D4, 0x061F, 0x0964, 0x2026):
        return _END
    if (
        0x2010 <= cp <= 0x205E
        or 0x3008 <= cp <= 0x301F
        or 0xFF01 <= cp <= 0xFF0F
        or 0xA1 <= cp <= 0xBF
        or cp == 0x30FB
    ):
        return _PUNCTUATION
    if 0xC0 <= cp <= 0xDE or 0x0400 <= cp <= 0x042F or 0x0391 <= cp <= 0x03AB:
        return _UPPER
    return _LETTER


@njit_borrowing
def put(text, out, cp):
    """Encode a code point at `out`; returns the position after it."""
    if cp < 0x80:
        text[out] = cp
        return out + 1
    if cp < 0x800:
        text[out] = 0xC0 | (cp >> 6)
        text[out + 1] = 0x80 | (cp & 0x3F)
        return out + 2
    if cp < 0x10000:
        text[out] = 0xE0 | (cp >> 12)
        text[out + 1] = 0x80 | ((cp >> 6) & 0x3F)
        text[out + 2] = 0x80 | (cp & 0x3F)
        return out + 3
    text[out] = 0xF0 | (cp >> 18)
    text[out + 1] = 0x80 | ((cp >> 12) & 0x3F)
    text[out + 2] = 0x80 | ((cp >> 6) & 0x3F)
    text[out + 3] = 0x80 | (cp & 0x3F)
    return out + 4


@njit_borrowing
def _next_character(data, i, n):
    """Read the character or reference at i; returns (position after it, code point, second code point or 0,
    its kind)."""
    cp, second = np.int64(data[i]), np.int64(0)
    if cp >= 128:
        i, cp = _code_point(data, i, n)
    elif cp == 38:
        i, cp, second = character_reference(data, i, n)
        if cp < 0:
            cp = np.int64(38)
    else:
        i += 1
    kind = np.int64(_ASCII[cp]) if cp < 128 else _kind_beyond_ascii(cp)
    if kind >= _MARKUP:  # these two stand for themselves here
        kind = _PUNCTUATION
    return i, cp, second, kind


@njit_borrowing
def _blank(cp, start, text, out):
    """Write preformatted white space; blank lines before the first character are dropped."""
    if out < text.size - _ROOM:
        if cp == 10 and start == out:
            return out
        if cp != 13:
            text[out] = cp if cp in (9, 10) else 32
            return out + 1
    return out


@njit_called
def insert(kind, start, end, b, text, blocks, words, inserts, state):
    """Put a byte into the text of block b that stands for markup of the page, and note which.

    A formula is a word; the others take no room.
    """
    out, number = state[L.OUT], state[L.NUM_INSERTS]
    if number >= inserts.shape[0] or out + _ROOM >= text.size:
        state[L.CAP] |= 16
        return
    if kind == L.FORMULA or kind == L.IMAGE:
        end_word(b, blocks, words, state)
        if state[L.PENDING] != NOTHING and out > blocks[b, L.START]:
            text[out] = 10 if state[L.PENDING] == LINE else 32
            out += 1
        state[L.PENDING] = NOTHING
    if kind == L.FORMULA:
        if blocks[b, L.WORDS] == 0:
            blocks[b, L.SOURCE_START] = start
        state[L.BREAK] = 0
        blocks[b, L.WORDS] += 1
        blocks[b, L.CHARS] += 1
        blocks[b, L.HASH] = (np.int64(blocks[b, L.HASH]) * 1000003 + end - start) & _HASH_MASK
        state[L.NUM_FORMULAS] += 1
    inserts[number, L.KIND], inserts[number, L.TEXT_AT] = kind, out
    inserts[number, L.INSERT_START], inserts[number, L.INSERT_END] = start, end
    text[out] = L.INSERT_BYTE
    state[L.OUT], state[L.NUM_INSERTS] = out + 1, number + 1


@njit_called
def write_run(data, i, n, preformatted, b, text, blocks, words, state):
    """Write the text from i up to the next markup into block b; returns the position of that markup or n.

    White space collapses unless preformatted. Every character is measured into the block's row.
    """
    out, key, in_word, start = (
        state[L.OUT],
        state[L.WORD_HASH],
        state[L.IN_WORD] == 1,
        np.int64(blocks[b, L.START]),
    )
    num_words = num_chars = num_wide = np.int64(0)
    counts = state[L.COUNTS :]
    for kind in range(_MARKUP):
        counts[kind] = 0
    last, pending = np.int64(blocks[b, L.LAST_CHAR]), state[L.PENDING]
    room = text.size - _ROOM
    while i < n:
        c = np.int64(data[i])
        if 97 <= c <= 122 and in_word and out < room:
            text[out] = c
            out += 1
            num_chars += 1
            key = wrapping_product(key ^ c, FNV_PRIME)
            last = c
            i += 1
            continue
        at, cp, second, kind = i, c, np.int64(0), np.int64(_ASCII[c]) if c < 128 else np.int64(_REFERENCE)
        if kind < _MARKUP:
            i += 1
        elif kind == _MARKUP and state[L.VERBATIM] == 0 and opens_markup(data, i, n):
            break
        else:
            i, cp, second, kind = _next_character(data, i, n)
        if kind == _SPACE:
            if in_word:
                state[L.IN_WORD], state[L.WORD_HASH] = 1, key
                end_word(b, blocks, words, state)
                key, in_word = FNV_START, False
            if preformatted:
                out = _blank(cp, start, text, out)
                continue
            pending = GAP if pending == NOTHING else pending
            if i < n and data[i] <= 32:
                i = skip_blanks(data, i, n)
            continue
        if kind == _CONTROL:
            continue
        if out >= room:
            state[L.CAP] |= 8
            state[L.DONE] = 1
            i = n
            break
        if num_chars == 0 and blocks[b, L.WORDS] == 0:
            blocks[b, L.SOURCE_START] = at
        if pending != NOTHING and out > start:
            text[out] = 10 if pending == LINE else 32
            out += 1
        pending, state[L.BREAK] = NOTHING, 0
        wide = cp >= 0x3040 and _is_wide(cp)
        if not in_word or wide:
            num_words += 1
            in_word = True
        out = put(text, out, cp)
        if second != 0:
            out = put(text, out, second)
        num_chars += 1
        last = cp
        counts[kind] += 1
        if kind <= _DIGIT:
            key = wrapping_product(key ^ (cp | 32 if kind == _UPPER and cp < 128 else cp), FNV_PRIME)
            if kind == _DIGIT:
                state[L.NUMERIC] = 1
        if wide:
            num_wide += 1
            state[L.IN_WORD], state[L.WORD_HASH] = 1, key
            end_word(b, blocks, words, state)
            key, in_word = FNV_START, False
    blocks[b, L.WORDS] += num_words
    blocks[b, L.CHARS] += num_chars
    blocks[b, L.WIDE] += num_wide
    blocks[b, L.LAST_CHAR] = last
    blocks[b, L.UPPER] += counts[_UPPER]
    blocks[b, L.DIGITS] += counts[_DIGIT]
    blocks[b, L.COMMAS] += counts[_COMMA]
    blocks[b, L.ENDS] += counts[_END]
    blocks[b, L.PUNCTUATION] += counts[_PUNCTUATION] + counts[_COMMA] + counts[_END]
    if state[L.LINK] > 0:
        blocks[b, L.LINK_WORDS] += num_words
        blocks[b, L.LINK_CHARS] += num_chars
    if state[L.BOLD] > 0:
        blocks[b, L.BOLD_CHARS] += num_chars
    state[L.OUT], state[L.WORD_HASH], state[L.IN_WORD] = out, key, 1 if in_word else 0
    state[L.PENDING] = pending
    return i
