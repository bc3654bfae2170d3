"""What is no text of the page: raw elements, comments, formulas, and what the page says of itself."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.attributes import formula_kind, hash_folded, holds_code, lookup
from gristmill.pipeline.extract.blocks.compiled import find_byte, is_space, njit_borrowing, njit_called
from gristmill.pipeline.extract.blocks.open_elements import flush
from gristmill.pipeline.extract.blocks.writing import insert, write_run

_META_KEYS, _META_VALUES = T.hash_table(L.META_NAMES, 256)
_IMG, _META, _LINK, _TIME, _HTML, _TITLE, _TEXTAREA, _SCRIPT, _STYLE, _XMP = (
    T.ID[name]
    for name in ("img", "meta", "link", "time", "html", "title", "textarea", "script", "style", "xmp")
)
_CANONICAL, _LD_JSON, _DATE_PUBLISHED, _MATH_TYPE = (
    T.name_hash(name) for name in ("canonical", "application/ld+json", "datepublished", "math/")
)


@njit_borrowing
def _mark(marks, state, kind, start, end):
    position = state[L.NUM_MARKS]
    if position < L.MAX_MARKS and start >= 0:
        marks[position, 0], marks[position, 1], marks[position, 2] = kind, start, end
        state[L.NUM_MARKS] = position + 1


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
def formula(data, i, n, tag, key, spans, text, blocks, words, inserts, state):
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
def raw_element(data, i, n, closed, tag, key, spans, text, blocks, elements, words, marks, inserts, state):
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
        flush(end, text, blocks, elements, words, state)
    return end


@njit_called
def comment(data, i, n, state):
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
def describe(data, i, tag, spans, marks, state):
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
