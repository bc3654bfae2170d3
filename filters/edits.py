"""Edits: spans of the original bytes that are deleted or replaced; `apply.py` has the kernel that does it.

A removed line can so be shown in place, and the ledger counts edits in bytes. Edits of one document are
sorted and do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]

EDIT = pa.struct(
    [("start", pa.int64()), ("end", pa.int64()), ("rule", pa.uint16()), ("replacement", pa.string())],
)


@dataclass(frozen=True, slots=True)
class Edits:
    """Edits of a batch, sorted by (document, start): start and end are byte offsets into the document's text.

    `rule` indexes the names its maker declares; `text` indexes `texts`, whose first is empty: a deletion.
    """

    document: Int64s
    start: Int64s
    end: Int64s
    rule: Int64s
    text: Int64s
    texts: tuple[bytes, ...] = (b"",)

    def __len__(self) -> int:
        return len(self.document)

    @classmethod
    def none(cls) -> Edits:
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, empty, empty)

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, int, bytes]]) -> Edits:
        """Build from (document, start, end, rule, replacement) in any order."""
        texts: dict[bytes, int] = {b"": 0}
        places = [
            (*row[:4], texts.setdefault(row[4], len(texts))) for row in sorted(rows, key=lambda row: row[:2])
        ]
        return cls.from_rows(np.array(places, np.int64).reshape(-1, 5), tuple(texts))

    @classmethod
    def from_rows(cls, rows: Int64s, texts: tuple[bytes, ...]) -> Edits:
        """Build from a sorted array whose five columns are document, start, end, rule and text."""
        document, start, end, rule, text = (np.ascontiguousarray(rows[:, column]) for column in range(5))
        return cls(document, start, end, rule, text, texts)

    def select(self, mask: npt.NDArray[np.bool_]) -> Edits:
        """Keep the edits of the documents in a mask; documents keep their numbers."""
        kept = mask[self.document]
        return Edits(
            self.document[kept],
            self.start[kept],
            self.end[kept],
            self.rule[kept],
            self.text[kept],
            self.texts,
        )

    def moved(self, rows: int) -> Edits:
        return replace(self, document=self.document + rows)

    @classmethod
    def concat(cls, parts: Sequence[Edits]) -> Edits:
        """Join the edits of successive documents."""
        texts: dict[bytes, int] = {b"": 0}
        numbers = [
            np.array([texts.setdefault(text, len(texts)) for text in part.texts], np.int64)[part.text]
            for part in parts
        ]
        columns = [
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("document", "start", "end", "rule")
        ]
        return cls.from_rows(np.stack([*columns, np.concatenate(numbers)], axis=1), tuple(texts))

    @property
    def deleted_bytes(self) -> Int64s:
        return self.end - self.start

    @property
    def inserted_bytes(self) -> Int64s:
        return np.array([len(text) for text in self.texts], np.int64)[self.text]


def edit_column(num_rows: int, edits: Sequence[Edits]) -> pa.Array:
    """Build the ledger's list<EDIT> column from the edits of successive versions, whose rules are global
    numbers."""
    edits = [Edits.none(), *edits]
    total = [
        np.concatenate([getattr(part, name) for part in edits])
        for name in ("document", "start", "end", "rule")
    ]
    first = np.cumsum([0, *(len(part.texts) for part in edits)])
    texts = np.concatenate([part.text + before for part, before in zip(edits, first, strict=False)])
    version = np.concatenate([np.full(len(part), number) for number, part in enumerate(edits)])
    order = np.lexsort((total[1], version, total[0]))
    known = pa.array([text.decode() for part in edits for text in part.texts], pa.string())
    columns = [
        total[1][order].astype(np.int64),
        total[2][order].astype(np.int64),
        total[3][order].astype(np.uint16),
    ]
    values = pa.StructArray.from_arrays(
        [*map(pa.array, columns), known.take(pa.array(texts[order]))], fields=list(EDIT)
    )
    counts = np.bincount(total[0].astype(np.int64), minlength=num_rows)
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()), values)


def difference(row: int, before: bytes, after: bytes) -> tuple[int, int, int, int, bytes]:
    """Return one edit that turns a text into another: what lies between their common start and their common
    end."""
    shorter = min(len(before), len(after))
    first, second = (np.frombuffer(text, np.uint8) for text in (before, after))
    start = _common(first[:shorter], second[:shorter])
    while start and start < len(before) and before[start] & 0xC0 == 0x80:
        start -= 1
    left = shorter - start
    tail = _common(first[len(before) - left :][::-1], second[len(after) - left :][::-1])
    while tail and before[len(before) - tail] & 0xC0 == 0x80:
        tail -= 1
    return row, start, len(before) - tail, 0, after[start : len(after) - tail]


def _common(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> int:
    """How many bytes at their starts two arrays of one length share."""
    other = first != second
    return int(other.argmax()) if other.any() else len(first)
