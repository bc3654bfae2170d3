"""A block measures a batch of texts: it knows its signals, the rules over them, and the edits it proposes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.filters.edits import Edits
from gristmill.filters.rules import Bound, Rule

if TYPE_CHECKING:  # who plans knows blocks and loads no kernel
    from gristmill.text.words import Int64s, Scratch, Words

# Signals of words and lines are measured on at most this much of a document, cut between characters: hash
# tables stay small. It is 20 times the page C4 takes and some 600,000 English words, 6 times the most that
# Gopher's rules keep.
MEASURED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """What a block found: one array per signal, and the edits it proposes."""

    signals: Mapping[str, Any]
    edits: Edits | None = None


class Batch:
    """Texts of one version with the columns of their documents; what several blocks need is computed once.

    A scratch is shared by successive batches; what a batch measured is read before the next one measures.
    """

    def __init__(self, documents: pa.Table, scratch: Scratch | None = None) -> None:
        from gristmill.text.words import Scratch, text_spans

        self.documents = documents
        self.scratch = scratch or Scratch()
        self.starts, self.stops, self.data = text_spans(documents.column("text"))
        self.memo: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def strings(self) -> list[str]:
        return [text or "" for text in self.documents.column("text").to_pylist()]

    @cached_property
    def measured_stops(self) -> Int64s:
        stops = self.stops.copy()
        for row in np.flatnonzero(self.stops - self.starts > MEASURED_BYTES):
            stop = int(self.starts[row]) + MEASURED_BYTES
            while self.data[stop] & 0xC0 == 0x80:
                stop -= 1
            stops[row] = stop
        return stops

    @cached_property
    def words(self) -> Words:
        from gristmill.text.words import scan

        return scan(self.starts, self.measured_stops, self.data, self.scratch, fold=False)

    @cached_property
    def num_words(self) -> Int64s:
        """The words of each text, counted only where no block has had them found."""
        if "words" in self.__dict__:
            return np.diff(self.words.rows)
        from gristmill.text.word_counts import num_words

        return num_words(self.starts, self.measured_stops, self.data)

    @cached_property
    def characters(self) -> Int64s:
        """Code points of each whole text."""
        lengths = pc.fill_null(pc.utf8_length(self.documents.column("text")), 0)
        return np.asarray(lengths.cast(pa.int64()))


@dataclass(frozen=True, slots=True)
class Measurement:
    """A way to measure texts, as the module with its kernels declares it: its signals, those of them that are
    no counts, and the edits it proposes."""

    measure: Callable[[Batch, Mapping[str, Any]], Measured]
    signals: tuple[str, ...]
    edits: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """One preset or filter, ready to run.

    `signals` maps each signal to its Arrow type; names are without the version. `languages`: of documents in
    another known language, this block's rules and edits are left off; None applies to all.
    """

    name: str
    signals: Mapping[str, pa.DataType]
    rules: tuple[Rule, ...]
    measure: Callable[[Batch], Measured]
    edits: tuple[str, ...] = ()
    languages: tuple[str, ...] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""  # what decides signals and edits, as canonical JSON: equal recipes measure the same
    # Bounds of rules that are others for documents of a language; the signal `spoken` says which it is.
    by_language: Mapping[str, Mapping[str, Bound]] = field(default_factory=dict)
    spoken: str = ""
    detail: str | None = None  # a signal with words that say why, joined to the name of the rule that removes

    def applies(self, batch: Batch) -> npt.NDArray[np.bool_] | None:
        if self.languages is None:
            return None
        key = ("applies", self.languages)
        if key not in batch.memo:
            language = batch.documents.column("language")
            known = pc.or_(pc.is_null(language), pc.is_in(language, pa.array(self.languages)))
            batch.memo[key] = np.asarray(known).astype(bool)
        applies: npt.NDArray[np.bool_] = batch.memo[key]
        return applies
