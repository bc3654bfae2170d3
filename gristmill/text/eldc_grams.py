"""The n-grams that eldc 0.4 finds in a piece of text: words of up to six bytes, stretches of longer ones.

A piece is put into a room of zeros in lower case first. Where its letters lie is told 64 bytes at a time;
only of pieces with characters that are words each, as of CJK, character by character.
"""

from __future__ import annotations

import numpy as np

from gristmill.text.kernel import part
from gristmill.text.lanes import (
    LANES,
    address_of,
    between,
    copy_bytes,
    first_bits,
    load,
    lower_lanes,
    lowest,
)

MOST_BYTES = 1000  # of a piece are looked at
MOST_GRAMS = 500
SET = 1024
BLOCKS = 17  # of 64 bytes
LOW = np.uint64(0xFFFFFFFF)
_BLANK = np.uint64(0x20)
_SIX = np.uint64(0xFFFFFFFFFFFF)


@part
def to_lower(data, first, length, lower, room):  # type: ignore[no-untyped-def]
    """Put a piece into the room in lower case; two capitals become bytes that are no UTF-8, as in eldc."""
    base = address_of(room)
    copy_bytes(address_of(data) + np.uint64(first), base, length)
    for i in range(length, (length | 63) + 65):
        room[i] = 0
    wide = np.uint64(0)
    for place in range(base, base + np.uint64(length), np.uint64(LANES)):
        wide |= lower_lanes(place)
    if not wide:
        return
    i = 0
    while i < length:
        lead = room[i]
        if lead < 0xC2 or i + 1 >= length:
            i += 1
        elif lead < 0xE0:
            point = (np.int64(lead) - 0xC2) << 6 | np.int64(room[i + 1]) & 0x3F
            small = np.int64(lower[point]) or point + 0x80
            room[i] = np.uint8((0xC0 | small >> 6) & 0xFF)
            room[i + 1] = np.uint8(0x80 | small & 0x3F)
            i += 2
        elif lead < 0xF0:
            if i + 2 < length:
                _lower_three(room, i)
            i += 3
        else:
            i += 4


@part
def _lower_three(room, i):  # type: ignore[no-untyped-def]
    lead, middle, last = np.int64(room[i]), np.int64(room[i + 1]), np.int64(room[i + 2])
    if lead == 0xE1:
        if middle == 0x82 and last >= 0xA0:
            room[i], room[i + 1], room[i + 2] = 0xE2, 0xB4, np.uint8(last - 0x20)
        elif middle == 0x83 and 0x80 <= last <= 0x85:
            room[i], room[i + 1], room[i + 2] = 0xE2, 0xB4, np.uint8(last + 0x20)
        elif 0xB8 <= middle <= 0xBB and not last & 1 and not (middle == 0xBA and last == 0x9E):
            room[i + 2] = np.uint8(last + 1)
    elif lead == 0xEF and middle == 0xBC and 0xA1 <= last <= 0xBA:
        room[i + 1], room[i + 2] = 0xBD, np.uint8(last - 0x20)


@part
def _wide(room, i, length, cjk, letters):  # type: ignore[no-untyped-def]
    """Return 8 times a wide character's width, plus 1 of a letter, 2 of CJK, 3 of an apostrophe."""
    lead, left = np.int64(room[i]), length - i
    if lead < 0xC2 or left < 2:
        return 8
    if lead < 0xE0:
        point = (lead & 0x1F) << 6 | np.int64(room[i + 1]) & 0x3F
        return 16 | np.int64(letters[point >> 3]) >> (point & 7) & 1
    if lead < 0xF0:
        if left < 3:
            return 8
        point = (lead & 0x0F) << 12 | (np.int64(room[i + 1]) & 0x3F) << 6 | np.int64(room[i + 2]) & 0x3F
        if point == 0x2019:
            return 27
        if 0x1100 <= point <= 0xFFDC and np.int64(cjk[point >> 3]) >> (point & 7) & 1:
            return 26
        return 24 | np.int64(letters[point >> 3]) >> (point & 7) & 1
    if left < 4:
        return 8 * left
    point = (lead & 7) << 18 | (np.int64(room[i + 1]) & 0x3F) << 12
    point |= (np.int64(room[i + 2]) & 0x3F) << 6 | np.int64(room[i + 3]) & 0x3F
    ideograph = (
        0x20000 <= point <= 0x2A6DF
        or 0x2A700 <= point <= 0x2CEAF
        or 0x2CEB0 <= point <= 0x2EBEF
        or 0x2F800 <= point <= 0x2FA1F
    )
    return 34 if ideograph else 32


@part
def _kind(room, i, length, cjk, letters):  # type: ignore[no-untyped-def]
    """Return 8 times the width of the character at i, plus what it is (`_wide`)."""
    byte = room[i]
    if byte < 0x80:
        if 0x61 <= byte <= 0x7A:
            return 9
        return 11 if byte == 0x27 or byte == 0x60 else 8
    return _wide(room, i, length, cjk, letters)


@part
def _put(gram, count, grams):  # type: ignore[no-untyped-def]
    grams[count] = gram
    return count + 1


@part
def _word(base, start, size, count, grams):  # type: ignore[no-untyped-def]
    """Note the n-grams of a word: all of a short one, else stretches of six bytes and its last six."""
    word = load(base + np.uint64(start))
    if size <= 6:
        own = word & first_bits(8 * size)
        return _put(_BLANK | own << np.uint64(8) | _BLANK << np.uint64(8 * size + 8), count, grams)
    count = _put(_BLANK | (word & _SIX) << np.uint64(8), count, grams)
    at = np.int64(6)
    while at + 6 < size:
        count = _put(load(base + np.uint64(start + at)) & _SIX, count, grams)
        at += 6
    last = load(base + np.uint64(start + size - 6)) & _SIX
    return _put(last | _BLANK << np.uint64(48), count, grams)


@part
def _by_character(room, length, cjk, letters, grams):  # type: ignore[no-untyped-def]
    """Note the n-grams of a room character by character; return how many there are."""
    base = address_of(room)
    count = np.int64(0)
    i = np.int64(0)
    while i < length:
        kind = _kind(room, i, length, cjk, letters)
        width = kind >> 3
        if kind & 7 == 2:
            own = load(base + np.uint64(i)) & first_bits(8 * width)
            count = _put(_BLANK | own << np.uint64(8) | _BLANK << np.uint64(8 * width + 8), count, grams)
        if kind & 7 != 1:
            i += width
            continue
        start = i
        i += width
        while i < length:
            kind = _kind(room, i, length, cjk, letters)
            if kind & 7 == 3:
                after = i + (kind >> 3)
                if after >= length or _kind(room, after, length, cjk, letters) & 7 != 1:
                    break
            elif kind & 7 != 1:
                break
            i += kind >> 3
        count = _word(base, start, i - start, count, grams)
    return count


@part
def _mark(marks, i, width):  # type: ignore[no-untyped-def]
    for j in range(i, i + width):
        marks[j >> 6] |= np.uint64(1) << np.uint64(j & 63)


@part
def _letters_of(room, length, cjk, letters, marks):  # type: ignore[no-untyped-def]
    """Mark the bytes of a room that belong to words; False where it has characters that are words each."""
    base = address_of(room)
    blocks = (length >> 6) + 1
    wide = np.uint64(0)
    for block in range(blocks):
        place = base + np.uint64(64 * block)
        marks[block] = between(place, 0x61, 0x7A)
        marks[BLOCKS + block] = between(place, 0x27, 0x27) | between(place, 0x60, 0x60)
        marks[2 * BLOCKS + block] = 0
        wide |= between(place, 0x80, 0xFF)
    if wide and not _wide_letters(room, length, cjk, letters, marks):
        return False
    before = np.uint64(0)
    for block in range(blocks):
        own = marks[block]
        after = marks[block + 1] if block + 1 < blocks else np.uint64(0)
        inside = (own << np.uint64(1) | before) & (own >> np.uint64(1) | after << np.uint64(63))
        before = own >> np.uint64(63)
        marks[2 * BLOCKS + block] |= own | marks[BLOCKS + block] & inside
    return True


@part
def _wide_letters(room, length, cjk, letters, marks):  # type: ignore[no-untyped-def]
    """Mark letters outside ASCII, and apostrophes between letters."""
    i = np.int64(0)
    while i < length:
        if room[i] < 0x80:
            i += 1
            continue
        kind = _wide(room, i, length, cjk, letters)
        width = kind >> 3
        if kind & 7 == 2 or room[i] > 0xF0:
            return False
        if kind & 7 == 1:
            _mark(marks, i, width)
        elif (
            kind & 7 == 3
            and 0 < i < length - 3
            and marks[(i - 1) >> 6] >> np.uint64((i - 1) & 63) & np.uint64(1)
            and _kind(room, i + 3, length, cjk, letters) & 7 == 1
        ):
            _mark(marks[2 * BLOCKS :], i, width)
        i += width
    return True


@part
def gather(room, length, cjk, letters, marks, grams):  # type: ignore[no-untyped-def]
    """Note the n-grams of the room; return how many there are."""
    if not _letters_of(room, length, cjk, letters, marks):
        return _by_character(room, length, cjk, letters, grams)
    base = address_of(room)
    count = np.int64(0)
    start = np.int64(-1)
    before = np.uint64(0)
    for block in range((length >> 6) + 1):
        own = marks[2 * BLOCKS + block]
        turns = own ^ (own << np.uint64(1) | before)
        before = own >> np.uint64(63)
        while turns:
            at = 64 * block + lowest(turns)
            turns &= turns - np.uint64(1)
            if start < 0:
                start = at
            else:
                count = _word(base, start, at - start, count, grams)
                start = np.int64(-1)
    return count


@part
def distinct(count, grams, seen):  # type: ignore[no-untyped-def]
    """Put hashes, by splitmix's first half, in the place of n-grams, each once; return how many are left."""
    for entry in range(SET):
        seen[entry] = 0
    left = np.int64(0)
    for i in range(count):
        gram = grams[i]
        h = gram ^ (gram >> np.uint64(30))
        h *= np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(27)
        place = np.int64((h & LOW) >> np.uint64(22))
        while seen[place] and grams[MOST_GRAMS + np.int64(seen[place])] != h:
            place = (place + 1) & (SET - 1)
        if not seen[place]:
            left += 1
            seen[place] = left
            grams[MOST_GRAMS + left] = h
    for i in range(left):
        grams[i] = grams[MOST_GRAMS + 1 + i]
    return left
