"""Texts written so that an original and ours read the same words in them, and the peers' signatures in the
place of ours: what then differs is in the rules.

`corpora.py` uses it. Where a text's words are what a comparison is of, each is written as a name of its own
(`w17`), apart by single blanks: no splitter, no punctuation and no case can tell them apart any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.below.split import pieces_of
from gristmill.dedup.settings.parts import ParagraphSettings
from gristmill.filters.published.source_code import as_regex_reads
from gristmill.text.cores import cores_of


def named_words(texts: Sequence[str]) -> list[str]:
    """Each text as the names of its words, in our definition, the same for the same word of all texts."""
    hashes, rows = cores_of(pa.chunked_array([pa.array(texts, pa.large_string())]))
    names = np.unique(hashes, return_inverse=True)[1]
    return [
        " ".join(f"w{name}" for name in names[low:high])
        for low, high in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)
    ]


def of_plain_characters(texts: Sequence[str]) -> list[str]:
    """The texts without the characters that the package `regex` takes for another kind than Python's `re`."""
    table = as_regex_reads()
    return [text.translate(table) for text in texts]


def by_keys(texts: Sequence[str], settings: ParagraphSettings) -> list[str]:
    """Each text with its lines as the keys by which ours compares them."""
    pieces = pieces_of(settings, pa.chunked_array([list(texts)]))
    return ["\n".join(piece.key for piece in own) for own in pieces]


@contextlib.contextmanager
def signatures_of(texts: Sequence[str], matrix: npt.NDArray[np.uint64]) -> Iterator[None]:
    """Give our stage the signatures of another tool: it cuts them into bands and finds the clusters."""
    rows = {text: row for row, text in enumerate(texts)}

    def shingles(settings: object, column: pa.ChunkedArray) -> tuple[npt.NDArray, npt.NDArray]:
        found = np.array([rows[text] for text in column.to_pylist()], np.uint64)
        return found, np.arange(len(found) + 1)

    def signed(settings: object, found: npt.NDArray, bounds: npt.NDArray) -> npt.NDArray:
        return np.ascontiguousarray(matrix[found.astype(np.int64)])

    with (
        mock.patch("gristmill.dedup.near.fuzzy.shingle_texts", shingles),
        mock.patch("gristmill.dedup.near.fuzzy.signatures", signed),
    ):
        yield
