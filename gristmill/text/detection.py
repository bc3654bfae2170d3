"""The language of a text: eldc where it is sure, Compact Language Detector 2 where it is not.

eldc 0.4 makes fewer mistakes among the 60 languages that it knows, in a fifth of the time, and its scores say
when a text is in none of them; CLD2 knows more languages. docs/sources.md has both by language. Where eldc is
not installed CLD2 tells, and where that is not either, resiliparse's detector.

    codes, shares = detect_batch(pa.array(["Das Wasser lief.", "..."], pa.large_string()))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gristmill.text.languages import language_code

if TYPE_CHECKING:  # the extractor's process starts without them
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from gristmill.text.eldc_kernel import Told as ToldPieces
    from gristmill.text.eldc_tables import Tables

try:
    import eldc

    eldc.init()
except ImportError:  # no wheel for this Python or platform
    eldc = None
try:
    import pycld2
except ImportError:
    pycld2 = None

_PIECE_BYTES = 512
_NUM_PIECES = 8  # from all over a long text: all of it would take as long as a fast extractor
# The first, the middle and the last piece decide where they are in one language for sure; all are asked else.
_NUM_DECIDING = 3
# Its score above which nothing else is asked: 99 of 100 texts of the language have more. Languages that it
# does not know score far less, but for the relatives of these: Galician, Afrikaans, Nynorsk.
_SURE = 0.7
_SURE_OF = {"es": 0.835, "pt": 0.845, "nl": 0.845, "no": 0.86}
# Taken by it for a language that it knows: CLD2 is asked, and believed where it names one of these.
_SIBLINGS = {
    "ms": frozenset(("id", "ms", "jv", "su")),
    "hr": frozenset(("sr",)),
    "sr": frozenset(("mk",)),
    "bg": frozenset(("mk",)),
    "fa": frozenset(("ps",)),
    "am": frozenset(("ti",)),
    "is": frozenset(("fo",)),
}
# What CLD2 refuses: controls, DEL and non-characters (surrogates cannot occur in valid text).
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff\U0002fffe-\U0010ffff]"
)

Found = tuple[str | None, float | None]
Told = tuple[str | None, float]
_NOT_TOLD: Told = (None, 0.0)
_ROUNDING = 1e-9  # of sums in another order
# What must be told alike by eldc and by a kernel that reads its tables, before the kernel is believed.
_PROBES = (
    "The mill by the river ground wheat for the whole valley; it's still THERE.",
    "Die Mühle am Fluss mahlte Weizen für das ganze Tal. ÜBER ALLE BERGE!",
    "Мельница у реки молола пшеницу и РОЖЬ для всей долины",
    "河边的水车为整个山谷磨小麦 and some more",
    "नदी के किनारे की चक्की पूरी घाटी के लिए",
    "l’eau de la rivière, aujourd'hui, n’est plus à 12 °C",
    "0 1 2",
)


def detect(text: str) -> Found:
    """Return the main language (ISO 639-1 where there is one) and its share of the text; (None, None) where
    none is recognised."""
    pieces = _pieces(memoryview(text.encode()))
    if eldc is None or len(pieces) <= _NUM_DECIDING:
        return _of_pieces(pieces)
    deciding = [pieces[place] for place in (0, len(pieces) // 2, len(pieces) - 1)]
    code = _decided([_told(piece) for piece in deciding], [len(piece) for piece in deciding])
    return _of_pieces(pieces) if code is None else (language_code(code), 1.0)


def _decided(told: Sequence[Told], sizes: Sequence[int]) -> str | None:
    """The language that all of these pieces are told for sure to be in (`_agreed`, of one text)."""
    code = told[0][0]
    if code is None or code in _SIBLINGS or any(other != code for other, _ in told):
        return None
    mean = sum(size * score for (_, score), size in zip(told, sizes, strict=True)) / sum(sizes)
    return code if mean > _SURE_OF.get(code, _SURE) + _ROUNDING else None


def detect_batch(texts: pa.LargeStringArray) -> tuple[list[str | None], npt.NDArray[np.float64]]:
    """Return what `detect` does for each of an array's texts, reading their bytes in place: codes, and shares
    (NaN where there is none)."""
    import numpy as np

    from gristmill.text.pieces import cut_pieces  # a kernel: detecting one text needs none
    from gristmill.text.words import text_spans

    starts, stops, whole = text_spans(texts)
    places = (np.ascontiguousarray(starts), np.ascontiguousarray(stops))
    firsts, lasts, ends = cut_pieces(whole, *places, _PIECE_BYTES, _NUM_PIECES)
    counts = np.diff(ends)
    found: list[Found] = [(None, None)] * len(texts)
    left = np.arange(len(texts))
    if eldc is not None:
        deciding = np.flatnonzero(counts > _NUM_DECIDING)
        own, num = ends[deciding], counts[deciding]
        asked = np.stack([own, own + num // 2, own + num - 1], axis=1).ravel()
        told = _told_all(whole, firsts[asked], lasts[asked])
        left = np.setdiff1d(left, _decide(found, deciding, told, np.full(len(deciding), _NUM_DECIDING)))

    bounds = np.concatenate([[0], np.cumsum(counts[left])])
    asked = np.arange(bounds[-1]) + np.repeat(ends[left] - bounds[:-1], counts[left])
    firsts, lasts, data = firsts[asked], lasts[asked], whole.data

    asked_all = None if eldc is None else _told_all(whole, firsts, lasts)
    done = set() if asked_all is None else set(_decide(found, left, asked_all, counts[left]).tolist())
    for row, (first, last) in zip(left.tolist(), pairwise(bounds.tolist()), strict=True):
        if row in done:
            continue
        ends_of = zip(firsts[first:last].tolist(), lasts[first:last].tolist(), strict=True)
        pieces = [str(data[start:stop], "utf-8") for start, stop in ends_of]
        named: list[Told] = []
        if asked_all is not None:
            codes, scores = asked_all.codes[first:last].tolist(), asked_all.scores[first:last].tolist()
            each = zip(codes, scores, strict=True)
            named = [(eldc.LANGUAGES[code], score) if code >= 0 else _NOT_TOLD for code, score in each]
        found[row] = _of_pieces(pieces, named)
    shares = np.array([np.nan if share is None else share for _, share in found], np.float64)
    return [code for code, _ in found], shares


def _decide(
    found: list[Found], rows: npt.NDArray[np.int64], told: ToldPieces, counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Enter the languages of the texts that `told` decides, so many pieces of each; return their rows."""
    agreed = _agreed(told, counts)
    for row, code in zip(rows.tolist(), agreed, strict=True):
        if code is not None:
            found[row] = (language_code(code), 1.0)
    return rows[[code is not None for code in agreed]]


def _told_all(
    data: npt.NDArray[np.uint8], firsts: npt.NDArray[np.int64], lasts: npt.NDArray[np.int64]
) -> ToldPieces:
    """What eldc says of each piece, by a kernel where its tables can be read."""
    from gristmill.text.eldc_kernel import tell

    tables = _tables()
    return _asked(data, firsts, lasts) if tables is None else tell(data, firsts, lasts, tables)


def _asked(
    data: npt.NDArray[np.uint8], firsts: npt.NDArray[np.int64], lasts: npt.NDArray[np.int64]
) -> ToldPieces:
    """What eldc itself says of each piece."""
    import numpy as np

    from gristmill.text.eldc_kernel import Told as ToldPieces

    numbers = {code: number for number, code in enumerate(eldc.LANGUAGES)} | {None: -1}
    bounds = zip(firsts.tolist(), lasts.tolist(), strict=True)
    pieces = [str(data.data[first:last], "utf-8") for first, last in bounds]
    told = [_told(piece) for piece in pieces]
    return ToldPieces(
        np.array([numbers[code] for code, _ in told], np.int64),
        np.array([score for _, score in told], np.float32),
        np.array([len(piece) for piece in pieces], np.int64),
    )


@cache
def _tables() -> Tables | None:
    """The tables of the eldc installed here, where a kernel tells by them what eldc tells."""
    import numpy as np

    from gristmill.text.eldc_kernel import tell
    from gristmill.text.eldc_tables import open_tables

    tables = open_tables(eldc)
    if tables is None:
        return None
    texts = [text.encode() for text in _PROBES]
    ends = np.cumsum([0, *map(len, texts)])
    probes = np.frombuffer(b"".join(texts), np.uint8), ends[:-1].copy(), ends[1:].copy()
    mine, its = tell(*probes, tables), _asked(*probes)
    is_alike = np.array_equal(mine.codes, its.codes) and np.array_equal(mine.scores, its.scores)
    return tables if is_alike and np.array_equal(mine.chars, its.chars) else None


def _agreed(told: ToldPieces, counts: npt.NDArray[np.int64]) -> list[str | None]:
    """Return for each text the language that all its pieces are told for sure to be in, None for other texts:
    most are decided so, without a count of votes each.

    `counts` are the numbers of pieces of the texts.
    """
    import numpy as np

    agreed: list[str | None] = [None] * len(counts)
    some = np.flatnonzero(counts)
    if not len(some):
        return agreed
    sizes = told.chars.astype(np.float64)
    votes = told.scores.astype(np.float64) * sizes
    starts = (np.cumsum(counts) - counts)[some]
    first = told.codes[starts]
    is_one = np.logical_and.reduceat(told.codes == np.repeat(first, counts[some]), starts)
    names: list[str | None] = [*eldc.LANGUAGES, None]  # the last one is of pieces of which nothing is told
    least = np.array(
        [np.inf if name is None or name in _SIBLINGS else _SURE_OF.get(name, _SURE) for name in names]
    )
    mean = np.add.reduceat(votes, starts) / np.add.reduceat(sizes, starts)
    is_sure = is_one & (mean > least[first] + _ROUNDING)
    for text, number in zip(some[is_sure].tolist(), first[is_sure].tolist(), strict=True):
        agreed[text] = names[number]
    return agreed


def detect_markup(html: str) -> Found:
    """Return the main language of a page's markup and all, by CLD2, which leaves tags out."""
    return _by_cld2(html, is_plain=False) if pycld2 is not None else _by_resiliparse(html)


def _pieces(data: memoryview) -> list[str]:
    """Return a short text cut into pieces, of a long one equal pieces from its start, its end and between;
    characters that a cut would split are left out."""
    size = len(data)
    if size <= _PIECE_BYTES * _NUM_PIECES:
        count = max(1, size // _PIECE_BYTES)
        edges = [size * number // count for number in range(count + 1)]
        for number in range(1, count):
            while edges[number] < size and 0x80 <= data[edges[number]] < 0xC0:
                edges[number] += 1
        return [str(data[start:end], "utf-8") for start, end in pairwise(edges) if end > start]
    step = (size - _PIECE_BYTES) // (_NUM_PIECES - 1)
    return [
        str(data[number * step : number * step + _PIECE_BYTES], "utf-8", "ignore")
        for number in range(_NUM_PIECES)
    ]


def _told(piece: str) -> Told:
    """What eldc says of a piece: the language and its score, no language where it is not reliable."""
    result = eldc.detect_details(piece)
    if not result.reliable:
        return _NOT_TOLD
    code = result.language
    return code, result.scores[code]


def _of_pieces(pieces: list[str], told: Sequence[Told] = ()) -> Found:
    """Tell a text's language by its pieces; `told` is what eldc says of each, where it was asked already."""
    if eldc is None:
        text = "".join(pieces)
        return _by_cld2(text, is_plain=True) if pycld2 is not None else _by_resiliparse(text)
    votes: dict[str, float] = {}
    characters: dict[str, int] = {}
    for piece, (code, score) in zip(pieces, told or map(_told, pieces), strict=True):
        if code is not None:
            size = len(piece)
            characters[code] = characters.get(code, 0) + size
            votes[code] = votes.get(code, 0.0) + size * score
    if not characters:
        return _by_cld2("\n".join(pieces), is_plain=True) if pycld2 is not None else (None, None)
    if len(characters) == 1:
        ((code, num_told),) = characters.items()
    else:
        code = max(characters, key=lambda key: (characters[key], key))
        num_told = sum(characters.values())
    share = characters[code] / num_told
    is_sure = votes[code] >= _SURE_OF.get(code, _SURE) * characters[code] and 2 * num_told >= sum(
        map(len, pieces)
    )
    siblings = _SIBLINGS.get(code)
    if pycld2 is None or (is_sure and siblings is None):
        return language_code(code), share
    other, other_share = _by_cld2("\n".join(pieces), is_plain=True)
    if other is None or (is_sure and siblings is not None and other not in siblings):
        return language_code(code), share
    return other, other_share


def _by_cld2(text: str, is_plain: bool) -> Found:
    try:
        return _best(pycld2.detect(text, isPlainText=is_plain))
    except (pycld2.error, ValueError):
        pass  # it refuses the whole text for one such character
    try:
        return _best(pycld2.detect(_REFUSED.sub(" ", text), isPlainText=is_plain))
    except (pycld2.error, ValueError):
        return None, None


def _best(found: Any) -> Found:
    _, code, percent, _ = found[2][0]
    one = language_code(code)
    return (one, percent / 100) if one else (None, None)


def _by_resiliparse(text: str) -> Found:
    """resiliparse returns a rank (0 is certain, 1,200 a guess) instead of a share."""
    from resiliparse.parse.lang import detect_fast

    code, rank = detect_fast(text)
    one = language_code(code)
    return (one, max(0.0, 1.0 - rank / 1200)) if one else (None, None)
