"""Score texts with an n-gram table: bits and perplexity per word, by Stupid Backoff or by Kneser and Ney.

Stupid Backoff: S(w | context) = count(context w) / count(context) where it was seen, else backoff x
S(w | shorter context); a word never seen has one count in all words. Scores do not sum to one, so bits per
byte from them rank texts; they bound no entropy. Kneser-Ney's are probabilities (see `kneser_ney`), of words:
a word never seen costs no spelling.
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

from gristmill.classifiers import ngram_kernel
from gristmill.classifiers.kenlm_model import KenlmModel
from gristmill.classifiers.kneser_ney import BEGIN
from gristmill.classifiers.ngrams import (
    CARD,
    CODES,
    KEYS,
    STARTS,
    code_values,
    index_of,
    words_with_core,
)
from gristmill.classifiers.settings import KenlmSettings
from gristmill.errors import UsageError
from gristmill.storage import cut_by_bytes

Floats = npt.NDArray[np.float64]
_BATCH_BYTES = 4 << 20  # of text, scored at once
_BLOCK_WORDS = 2048  # looked up together: what the kernel holds of them stays in cache


class NgramModel:
    """A table opened for scoring; its pages are mapped and shared between processes."""

    def __init__(self, folder: Path) -> None:
        if not (folder / CARD).is_file():
            raise UsageError(
                f"there is no n-gram model in `{folder}`",
                hint="make one with `gristmill ngram train`, or name a KenLM model's file",
            )
        self.card: dict[str, Any] = json.loads((folder / CARD).read_text())
        self.keys: npt.NDArray[np.uint64] = self._mapped(folder / KEYS, "<u8")
        self.codes: npt.NDArray[np.uint8] = self._mapped(folder / CODES, "u1")
        # Tables of before had no index.
        self.starts = (
            self._mapped(folder / STARTS, "<u8") if (folder / STARTS).is_file() else index_of(self.keys)
        )
        self.is_kneser_ney = self.card.get("smoothing") == "kneser_ney"
        self.values = code_values()

    @staticmethod
    def _mapped(path: Path, kind: str) -> Any:
        return np.asarray(np.memmap(path, kind, "r")) if path.stat().st_size else np.empty(0, kind)

    def sees(self, language: str, min_words: int) -> bool:
        """Whether the model counted words of a language; of a model that does not know what it counted, or
        hardly, every language may be in it."""
        languages = self.card.get("languages")
        if languages is None or 2 * languages.get("", 0) > sum(languages.values()):
            return True
        return bool(languages.get(language, 0) >= max(min_words, 1))

    def log2_scores(self, hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64]) -> Floats:
        """The score of every word given the words before it in its text, in bits (log2, at most 0)."""
        order = int(self.card["order"])
        out = np.empty(len(hashes))
        states, places = (np.zeros((order + 1, _BLOCK_WORDS + 1), kind) for kind in (np.uint64, np.int64))
        first = np.zeros(len(hashes), np.bool_)
        first[rows[:-1][np.diff(rows) > 0]] = True
        shift = np.uint64(64 - (len(self.starts) - 2).bit_length())
        table = first, np.ascontiguousarray(hashes), self.keys, self.starts
        if self.is_kneser_ney:
            card = self.card
            counts = self.codes, order, self.values
            sums = np.array(card["discounts"]), max(float(card["total"]), 1.0), float(card["types"])
            ngram_kernel.kneser_ney(*table, shift, *counts, *sums, BEGIN, states, places, out)
            np.log2(out, out=out)
        else:
            backoff = float(np.log2(self.card["backoff"]))
            words = float(np.log2(max(float(self.card["words"]), 1.0)))
            ngram_kernel.stupid_backoff(*table, shift, self.codes, order, backoff, words, states, places, out)
        return out

    def score(self, documents: pa.Table) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Return per document its bits under the model and its number of words."""
        hashes, rows = words_with_core(documents["text"])
        totals = np.concatenate(([0.0], np.cumsum(self.log2_scores(hashes, rows))))
        return totals[rows[:-1]] - totals[rows[1:]], np.diff(rows)

    def perplexity(self, documents: pa.Table) -> pa.Array:
        """Perplexity per word, in float32; null for a document without words."""
        bits, words = self.score(documents)
        return pa.array(np.exp2(bits / np.maximum(words, 1)), pa.float32(), mask=words == 0)


def open_scorer(
    path: Path, kenlm: KenlmSettings | None = None, languages: tuple[str, ...] = ()
) -> NgramModel | KenlmModel:
    """Open a folder that gristmill wrote, or a KenLM model's file."""
    if path.is_file():
        return KenlmModel(path, kenlm or KenlmSettings(), languages)
    return NgramModel(path)


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
