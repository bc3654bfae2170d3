"""Whether a file is a whole fastText model, told before its library reads it.

The library believes every size that a file states and never asks whether a read succeeded: a model that was
cut off in its weights answers from what memory held, one cut off in its words eats all memory, and a false
number of rows ends the process. So the sizes are added up here, as `FastText::loadModel` (0.9.2) reads them:

    head                 magic, version; 12 numbers and a float of settings
    words and labels     3 sizes, tokens, kept n-grams; for each a name, a zero, its count and type; n-grams
    input and output     whether it is quantised; rows, columns, and what they hold
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.files.disk import named
from gristmill.text.kernel import BYTES, kernel

_MAGIC, _VERSIONS = (793_712_314).to_bytes(4, "little"), (11, 12)
_SUPERVISED, _LOSSES = 3, range(1, 5)
_HEAD = struct.Struct("<ii12id")
_SIZES = struct.Struct("<iiiqq")  # entries, words, labels, tokens, kept n-grams (-1: all)
_MATRIX = struct.Struct("<?qq")  # quantised, rows, columns
_QUANTISED = struct.Struct("<??qqi")  # quantised, whether norms are apart, rows, columns, bytes of codes
_CENTROIDS = struct.Struct("<iiii")  # columns, parts, columns of a part, of the last part
_NUM_CENTROIDS = 256
_ENTRY_BYTES = 9  # of count and type, behind a name
_MOST_GRAM = 64  # letters of a subword, words of an n-gram: each is hashed at each place of a text
_MOST_COUNTS = 10**15  # of labels together: more than the library's tree of labels takes

Data = npt.NDArray[np.uint8]


@kernel(types.int64(BYTES, types.int64, types.int64, types.int64))
def _end_of_entries(data, at, num_words, num_labels):  # type: ignore[no-untyped-def]
    """Return where so many words and, behind them, labels end; -1 where the file does before, -2 where one
    has another type."""
    for number in range(num_words + num_labels):
        while at < len(data) and data[at] != 0:
            at += 1
        at += 1 + 9
        if at > len(data):
            return -1
        if data[at - 1] != (number >= num_words):
            return -2
    return at


class _Settings(NamedTuple):
    dim: int
    ws: int
    epoch: int
    min_count: int
    neg: int
    word_ngrams: int
    loss: int
    model: int
    bucket: int
    minn: int
    maxn: int
    lr_update_rate: int
    t: float


class _Reader:
    """The bytes of a model and how far they are understood."""

    def __init__(self, data: Data) -> None:
        self.data, self.at = data, 0

    def unpack(self, form: struct.Struct, what: str) -> tuple[int, ...]:
        start = self.at
        self.skip(form.size, what)
        return form.unpack(self.data[start : self.at].tobytes())

    def skip(self, num_bytes: int, what: str) -> None:
        if num_bytes > len(self.data) - self.at:
            raise ValueError(f"it is cut off in its {what}: {len(self.data):,} bytes are not all")
        self.at += num_bytes


def check_fasttext(path: Path) -> None:
    """Raise ValueError, saying what is wrong, for a file that is no whole classifier of fastText."""
    with named(path), path.open("rb") as begun:
        if begun.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it has wrong file format: no model of fastText begins so")
    file = _Reader(np.asarray(np.memmap(path, np.uint8, "r")))
    _, version, *values = file.unpack(_HEAD, "head")
    settings = _Settings(*values)
    if version not in _VERSIONS:
        raise ValueError(f"its format is {version}, and fastText 0.9 reads {_VERSIONS[0]} and {_VERSIONS[1]}")
    _check_settings(settings)
    num_words, num_labels, num_kept = _check_entries(file)
    is_quantised = _check_matrix(
        file, "input", num_words + (settings.bucket if num_kept < 0 else num_kept), settings.dim
    )
    if num_kept >= 0 and not is_quantised:
        raise ValueError("it keeps a part of its n-grams, and is not quantised")
    _check_matrix(file, "output", num_labels, settings.dim, may_be_quantised=is_quantised)
    if file.at != len(file.data):
        raise ValueError(f"it ends at byte {file.at:,}, and has {len(file.data):,}")


def _check_settings(settings: _Settings) -> None:
    if settings.model != _SUPERVISED:
        raise ValueError("it is no classifier: it was trained for vectors of words")
    hashes = settings.maxn > 0 or settings.word_ngrams > 1
    wrong = (
        ("dim", settings.dim, settings.dim < 1),
        ("loss", settings.loss, settings.loss not in _LOSSES),
        ("wordNgrams", settings.word_ngrams, settings.word_ngrams > _MOST_GRAM),
        ("maxn", settings.maxn, settings.maxn > _MOST_GRAM),
        ("bucket", settings.bucket, settings.bucket < (1 if hashes else 0)),
    )
    for name, value, is_wrong in wrong:
        if is_wrong:
            raise ValueError(f"its head says {name} {value:,}")


def _check_entries(file: _Reader) -> tuple[int, int, int]:
    """Check the words and labels; return how many there are of each, and how many n-grams are kept."""
    size, num_words, num_labels, _, num_kept = file.unpack(_SIZES, "head")
    if num_words < 0 or num_labels < 1 or num_words + num_labels != size or num_kept < -1:
        raise ValueError(
            f"its head says {size:,} entries, {num_words:,} words, {num_labels:,} labels and"
            f" {num_kept:,} kept n-grams"
        )
    first_label = int(_end_of_entries(file.data, file.at, num_words, 0))
    end = int(_end_of_entries(file.data, first_label, 0, num_labels)) if first_label >= 0 else first_label
    if end == -1:
        raise ValueError(f"it is cut off in its words: {len(file.data):,} bytes are not all")
    if end == -2:
        raise ValueError("its words and labels are not in their order")
    _check_counts(file.data[first_label:end].tobytes(), num_labels)
    file.at = end
    if num_kept > 0:
        file.skip(8 * num_kept, "n-grams")
        kept = file.data[end : file.at].view("<i4").reshape(-1, 2)
        if int(kept[:, 1].min()) < 0 or int(kept[:, 1].max()) >= num_kept:
            raise ValueError(f"it keeps {num_kept:,} n-grams, and names one beyond them")
    return num_words, num_labels, num_kept


def _check_counts(labels: bytes, num_labels: int) -> None:
    """The library builds a tree, or a table, of the counts of labels."""
    at = total = 0
    for _ in range(num_labels):
        at = labels.index(0, at) + 1
        count = int.from_bytes(labels[at : at + 8], "little", signed=True)
        at += _ENTRY_BYTES
        total += count
        if count < 0 or total >= _MOST_COUNTS:
            raise ValueError(f"it says that a label was seen {count:,} times")


def _check_matrix(
    file: _Reader, what: str, rows: int, columns: int, *, may_be_quantised: bool = True
) -> bool:
    """Check that a matrix has so many rows and columns, and is there; say whether it is quantised."""
    start = file.at
    is_quantised, *shape = file.unpack(_MATRIX, f"{what} matrix")
    if is_quantised and may_be_quantised:
        file.at = start
        _, has_norms, *shape, num_codes = file.unpack(_QUANTISED, f"{what} matrix")
        file.skip(max(num_codes, 0), f"{what} matrix")
        num_parts = _check_centroids(file, what, columns)
        if num_codes != rows * num_parts:
            raise ValueError(f"its {what} matrix has {num_codes:,} codes for {rows:,} rows")
        if has_norms:
            file.skip(rows, f"{what} matrix")
            _check_centroids(file, what, 1)
    else:
        file.skip(4 * rows * columns, f"{what} matrix")
    if shape != [rows, columns]:
        stated = " x ".join(f"{number:,}" for number in shape)
        raise ValueError(f"its {what} matrix is {stated}, and its head says {rows:,} x {columns:,}")
    return bool(is_quantised)


def _check_centroids(file: _Reader, what: str, columns: int) -> int:
    dim, parts, width, last = file.unpack(_CENTROIDS, f"{what} matrix")
    file.skip(4 * _NUM_CENTROIDS * columns, f"{what} matrix")
    if (
        dim != columns
        or not width > 0
        or parts != -(-columns // width)
        or last != columns - (parts - 1) * width
    ):
        raise ValueError(f"its {what} matrix is cut into {parts:,} parts of {width:,} and {last:,} columns")
    return parts
