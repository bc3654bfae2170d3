"""Score texts with an n-gram table: Stupid Backoff, perplexity per word, head, middle and tail per language.

S(w | context) = count(context w) / count(context) where it was seen, else backoff x S(w | shorter context); a
word never seen has one count in all words. Scores do not sum to one, so bits per byte from them rank texts;
they bound no entropy.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.ngrams import CARD, CODES, KEYS, code_values, keys_by_length
from gristmill.errors import UsageError
from gristmill.storage import cut_by_bytes
from gristmill.text.words import words_of

Floats = npt.NDArray[np.float64]
_BATCH_BYTES = 4 << 20  # of text, scored at once


class NgramModel:
    """A table opened for scoring; its pages are mapped and shared between processes."""

    def __init__(self, folder: Path) -> None:
        if not (folder / CARD).is_file():
            raise UsageError(
                f"there is no n-gram model in `{folder}`", hint="make one with `gristmill ngram train`"
            )
        self.card: dict[str, Any] = json.loads((folder / CARD).read_text())
        size = self.card["ngrams"]
        self.keys: npt.NDArray[np.uint64] = (
            np.memmap(folder / KEYS, "<u8", "r") if size else np.empty(0, "<u8")
        )
        self.codes: npt.NDArray[np.uint8] = (
            np.memmap(folder / CODES, "u1", "r") if size else np.empty(0, "u1")
        )
        self.values = code_values()

    def counts(self, keys: npt.NDArray[np.uint64]) -> Floats:
        """Look keys up: the counts as quantised, 0 for n-grams that are not in the table."""
        found = np.zeros(len(keys))
        if not len(self.keys):
            return found
        order = np.argsort(keys)  # in order, neighbours are found on the same pages
        ordered = keys[order]
        place = np.minimum(np.searchsorted(self.keys, ordered), len(self.keys) - 1)
        found[order] = np.where(self.keys[place] == ordered, self.values[self.codes[place]], 0.0)
        return found

    def log2_scores(self, hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64]) -> Floats:
        """The score of every word given the words before it in its text, in bits (log2, at most 0)."""
        order, backoff = int(self.card["order"]), float(np.log2(self.card["backoff"]))
        begins = np.repeat(rows[:-1], np.diff(rows))
        words = np.arange(len(hashes))
        counts = [self.counts(keys) for keys in keys_by_length(hashes, rows, order)]
        # Row i of `counts[n - 1]` is the i-th word from which an n-gram starts; spread them over all words.
        ends = np.repeat(rows[1:], np.diff(rows))
        at = [np.zeros(len(hashes)) for _ in counts]
        for length, found in enumerate(counts, start=1):
            at[length - 1][words + length <= ends] = found
        total = max(float(self.card["words"]), 1.0)
        scores = np.log2(np.maximum(at[0], 1.0) / total) if len(at[0]) else np.empty(0)
        for length in range(2, order + 1):
            has_context = words - begins >= length - 1
            start = np.where(has_context, words - length + 1, 0)
            whole, context = at[length - 1][start], at[length - 2][start]
            seen = has_context & (whole > 0) & (context > 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                better = np.minimum(np.log2(whole / context), 0.0)
            scores = np.where(seen, better, np.where(has_context, scores + backoff, scores))
        return scores

    def score(self, documents: pa.Table) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Return per document its bits under the model and its number of words."""
        words = words_of(documents["text"])
        scores = self.log2_scores(words.hash_folded, words.rows)
        totals = np.concatenate(([0.0], np.cumsum(scores)))
        return totals[words.rows[:-1]] - totals[words.rows[1:]], np.diff(words.rows)

    def perplexity(self, documents: pa.Table) -> pa.Array:
        """Perplexity per word, in float32; null for a document without words."""
        bits, words = self.score(documents)
        return pa.array(np.exp2(bits / np.maximum(words, 1)), pa.float32(), mask=words == 0)


@dataclass(slots=True)
class Tally:
    """What a model says of some documents, in sums that add up over files."""

    docs: int = 0
    words: int = 0
    bytes: int = 0
    bits: float = 0.0

    def add(self, model: NgramModel, documents: pa.Table) -> None:
        for batch in cut_by_bytes(documents, _BATCH_BYTES):
            bits, words = model.score(batch)
            self.docs += batch.num_rows
            self.words += int(words.sum())
            self.bytes += int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)
            self.bits += float(bits.sum())

    def row(self, source: str) -> dict[str, Any]:
        """Bits per byte and perplexity per word, in the form of the transformer's evaluation rows."""
        return {
            "source": source,
            **asdict(self),
            "bits_per_byte": self.bits / self.bytes if self.bytes else None,
            "perplexity": float(np.exp2(self.bits / self.words)) if self.words else None,
        }
