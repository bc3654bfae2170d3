"""What C4's rules ask of one line: where it ends, its citations, its runs and sentences, the phrases it
holds."""

from __future__ import annotations

import numpy as np

from gristmill.filters.published.constants import LOREM_IPSUM, POLICY_PHRASES
from gristmill.text.kernel import part
from gristmill.text.lanes import (
    CLOSES,
    ENDS,
    LANES,
    ONE,
    SPACES,
    ZERO,
    above,
    between,
    breaks_in,
    classify,
    first_bits,
    letter,
    lowest,
    ones,
    window,
    with_sight,
)
from gristmill.text.points import ASCII_CLASS, ASCII_LOWER, read
from gristmill.text.tables import CLOSE, CORE, DIGIT, END, SPACE, UNIT, WIDE_END

LONG_WORD, NO_END_MARK, FEW_WORDS, JAVASCRIPT, POLICY = range(5)  # why a line is dropped

_PHRASES = (LOREM_IPSUM, "javascript", *POLICY_PHRASES)
_NEEDLES = np.frombuffer("".join(_PHRASES).encode(), np.uint8)
_NEEDLE_BOUNDS = np.cumsum([0, *map(len, _PHRASES)])
_NEEDLE_FLAGS = np.array([1, 2] + [8] * len(POLICY_PHRASES))
_BRACKETED = (np.frombuffer(b"[edit]", np.uint8), np.frombuffer(b"[citation needed]", np.uint8))
_EDIT, _NEEDED = _BRACKETED
_OPEN, _CLOSE_BRACKET, _CURLY, _NEWLINE, _RETURN = 0x5B, 0x5D, 0x7B, 0x0A, 0x0D
_HIGHEST = np.uint64(1 << 63)


@part
def next_line(data, i, stop, room):  # type: ignore[no-untyped-def]
    """Return (end of the line's content, start of the next line, whether it has a square bracket)."""
    brackets = ZERO
    while i < stop:
        place = window(data, i, stop, room)
        size = with_sight(stop - i, 2)
        ends = (between(place, _NEWLINE, _NEWLINE) | breaks_in(place)) & first_bits(size)
        brackets |= between(place, _OPEN, _OPEN) & (~ends & (ends - ONE)) & first_bits(size)
        if ends:
            i += lowest(ends)
            _, width, _ = read(data, i, stop)
            if data[i] == _RETURN and i + 1 < stop and data[i + 1] == _NEWLINE:
                width = 2
            return i, i + width, brackets != ZERO
        i += size
    return stop, stop, brackets != ZERO


@part
def has_long_word(data, start, stop, limit):  # type: ignore[no-untyped-def]
    """Tell whether a run is of more than so many characters."""
    i = start
    while i + limit < stop:  # hardly ever: as many bytes without a space of ASCII
        j = i + limit
        while j >= i and (data[j] >= 0x80 or not ASCII_CLASS[data[j]] & SPACE):
            j -= 1
        if j < i:
            return _longest_run(data, start, stop) > limit
        i = j + 1
    return False


@part
def _longest_run(data, i, stop):  # type: ignore[no-untyped-def]
    longest = run = 0
    while i < stop:
        _, width, bits = read(data, i, stop)
        run = 0 if bits & SPACE else run + 1
        longest = max(longest, run)
        i += width
    return longest


@part
def _same(data, i, stop, wanted):  # type: ignore[no-untyped-def]
    if i + len(wanted) > stop:
        return False
    for j in range(len(wanted)):  # noqa: SIM110  numba has no generators
        if data[i + j] != wanted[j]:
            return False
    return True


@part
def citation_at(data, i, stop):  # type: ignore[no-untyped-def]
    r"""Return where a match of \[\d*\]|\[edit\]|\[citation needed\] at i ends, or i."""
    j = i + 1
    while j < stop:
        if data[j] == _CLOSE_BRACKET:
            return j + 1
        _, width, bits = read(data, j, stop)
        if not bits & DIGIT:
            break
        j += width
    if _same(data, i, stop, _EDIT):
        return i + len(_EDIT)
    if _same(data, i, stop, _NEEDED):
        return i + len(_NEEDED)
    return i


@part
def _phrase_at(data, i, stop, first, last):  # type: ignore[no-untyped-def]
    """Compare with a phrase in lower case; U+212A, the only character outside ASCII whose lower case is
    inside, is a k."""
    for j in range(first, last):
        if i >= stop:
            return False
        byte = data[i]
        if byte < 0x80:
            if ASCII_LOWER[byte] != _NEEDLES[j]:
                return False
            i += 1
        elif (
            _NEEDLES[j] == 0x6B
            and i + 2 < stop
            and byte == 0xE2
            and data[i + 1] == 0x84
            and data[i + 2] == 0xAA
        ):
            i += 3
        else:
            return False
    return True


@part
def _phrases(data, i, stop, room):  # type: ignore[no-untyped-def]
    """Return which phrases occur: 1 lorem ipsum, 2 javascript, 4 a curly bracket, 8 a policy phrase."""
    found = 0
    while i < stop:
        place = window(data, i, stop, room)
        size = with_sight(stop - i, 2)
        inside = first_bits(size)
        if inside & between(place, _CURLY, _CURLY):
            found |= 4
        begun = inside & _begun(place)
        while begun:
            at = i + lowest(begun)
            begun &= begun - ONE
            for needle in range(len(_NEEDLE_FLAGS)):
                if _phrase_at(data, at, stop, _NEEDLE_BOUNDS[needle], _NEEDLE_BOUNDS[needle + 1]):
                    found |= _NEEDLE_FLAGS[needle]
        i += size
    return found


@part
def _begun(place):  # type: ignore[no-untyped-def]
    """Return where the first three letters of a phrase stand; a K for a k comes later in every phrase."""
    o, r, e, s = letter(place, 0x6F), letter(place, 0x72), letter(place, 0x65), letter(place, 0x73)
    second, third = ONE, np.uint64(2)
    lorem = letter(place, 0x6C) & (o >> second) & (r >> third)
    java = letter(place, 0x6A) & (letter(place, 0x61) >> second) & (letter(place, 0x76) >> third)
    terms = letter(place, 0x74) & (e >> second) & (r >> third)
    privacy = letter(place, 0x70) & (r >> second) & (letter(place, 0x69) >> third)
    cookie = letter(place, 0x63) & (o >> second) & (o >> third)
    use = letter(place, 0x75) & (s >> second) & (e >> third)
    return lorem | java | terms | privacy | cookie | use


@part
def _runs_and_sentences(data, i, stop, room):  # type: ignore[no-untyped-def]
    """Count runs between white space, and sentences as the word pass numbers them, of one line.

    Windows end behind a space. A line with a longer run, or with a character that is a word by itself, goes
    by character.
    """
    start = i
    runs = sentences = 0
    unfinished = False  # words since the last sentence's end
    while i < stop:
        size = classify(data, i, stop, room)
        spaces = room[SPACES]
        if i + size < stop:
            size = above(spaces & first_bits(size))
            if size == 0:
                return _by_character(data, start, stop)
        inside = first_bits(size)
        words, ends, closes = inside & ~spaces, inside & room[ENDS], inside & room[CLOSES]
        after = spaces | ~inside
        marks = ends & ((after >> ONE) | _HIGHEST)
        behind = closes + (
            (ends << ONE) & closes
        )  # a carry runs from the closing mark after an end mark to what follows it
        quoted = behind & ~closes & after
        over = behind < closes
        runs += ones(words & ~(words << ONE))
        sentences += ones(marks) + ones(quoted) + over
        if words:
            last = np.uint64(above(words))
            unfinished = not (marks >> (last - ONE) & ONE or over or (last < LANES and quoted >> last & ONE))
        i += size
    return runs, sentences + unfinished


@part
def _by_character(data, i, stop):  # type: ignore[no-untyped-def]
    """Count runs between white space, and sentences as the word pass numbers them, of one line."""
    runs = sentences = mark = 0
    inside = unit = unfinished = (
        False  # of a run; the last character is a word by itself; words since the last sentence end
    )
    while True:
        if i < stop and data[i] < 0x80:
            width, bits = 1, np.int64(ASCII_CLASS[data[i]])
            if bits & CORE and not unit:
                runs += not inside
                inside = unfinished = True
                mark = 0
                i += 1
                while i < stop and data[i] < 0x80 and ASCII_CLASS[data[i]] & CORE:
                    i += 1
                continue
            if bits & SPACE:
                if mark:
                    sentences += 1
                    unfinished = False
                    mark = 0
                inside = unit = False
                i += 1
                continue
        elif i < stop:
            _, width, bits = read(data, i, stop)
        else:
            width, bits = 0, np.int64(SPACE)
        space = bits & SPACE != 0
        if inside and (space or unit or bits & UNIT):  # a word ends here
            if mark == 2 or (mark == 1 and space):
                sentences += 1
                unfinished = False
            mark = 0
        if space:
            inside = unit = False
            if i >= stop:
                break
        else:
            if not inside:
                runs += 1
                inside = True
            unfinished = True
            unit = bits & UNIT != 0
            if bits & END:
                mark = 2 if bits & WIDE_END else 1
            elif not bits & CLOSE:
                mark = 0
        i += width
    return runs, sentences + unfinished


@part
def _ends_well(data, start, stop):  # type: ignore[no-untyped-def]
    if stop == start:
        return False
    last = data[stop - 1]
    if last != 0x2E and last != 0x3F and last != 0x21 and last != 0x22:
        return False
    return not (stop - start >= 3 and last == 0x2E and data[stop - 2] == 0x2E and data[stop - 3] == 0x2E)


@part
def judge(text, a, b, min_words, end_mark, room, row):  # type: ignore[no-untyped-def]
    """Return why a line is dropped, or -1; counts what it says about the page."""
    if end_mark and not _ends_well(text, a, b):
        return NO_END_MARK
    runs, sentences = _runs_and_sentences(text, a, b, room)
    if runs < min_words:
        return FEW_WORDS
    found = _phrases(text, a, b, room)
    row[0] += found & 1
    if found & 2:
        return JAVASCRIPT
    row[1] += found >> 2 & 1
    if found & 8:
        return POLICY
    row[2] += sentences
    row[3] += 1
    return -1
