"""Score texts with an n-gram table: bits and perplexity per word, by Stupid Backoff or by Kneser and Ney.

Stupid Backoff: S(w | context) = count(context w) / count(context) where it was seen, else backoff x
S(w | shorter context); a word never seen has one count in all words. Scores do not sum to one, so bits per
byte from them rank texts; they bound no entropy. Kneser-Ney's are probabilities (see `kneser_ney`), of words:
a word never seen costs no spelling.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.cards import damaged_card, is_number, is_whole, number, whole_number
from gristmill.classifiers.ngram import kernel as ngram_kernel
from gristmill.classifiers.ngram.counting import CARD, FORMAT, LINES, MOST_WORDS, code_values
from gristmill.classifiers.ngram.kenlm_model import KenlmModel
from gristmill.classifiers.ngram.kneser_ney import BEGIN
from gristmill.classifiers.ngram.table_lines import open_lines
from gristmill.classifiers.settings import KenlmSettings
from gristmill.errors import UsageError
from gristmill.files.inside import read_object
from gristmill.files.storage import cut_by_bytes
from gristmill.text.cores import cores_of
from gristmill.text.words import Scratch

Floats = npt.NDArray[np.float64]
_BATCH_BYTES = 4 << 20  # of text, scored at once
_BLOCK_WORDS = 512  # looked up together: what the kernel holds of them stays in cache


class NgramModel:
    """A table opened for scoring; its pages are mapped and shared between processes."""

    def __init__(self, folder: Path) -> None:
        if not (folder / CARD).is_file():
            raise UsageError(
                f"there is no n-gram model in `{folder}`",
                hint="make one with `gristmill ngram train`, or name a KenLM model's file",
            )
        self.card: dict[str, Any] = read_object(folder / CARD)
        if self.card.get("format") != FORMAT:
            raise UsageError(
                f"the n-gram model in `{folder}` is of format {self.card.get('format', 1)},"
                f" this version reads {FORMAT}",
                hint="count it again: `gristmill ngram train`",
            )
        self.is_kneser_ney = self.card.get("smoothing") == "kneser_ney"
        order = whole_number(self.card, "order", folder / CARD, 1, MOST_WORDS)
        num_lines = whole_number(self.card, "lines", folder / CARD, 1)
        self._check_languages(folder / CARD)
        self.lines = open_lines(folder / LINES, num_lines, self._num_codes)
        self._block = ngram_kernel.Block.of(_BLOCK_WORDS, order)
        self._scratch = Scratch()
        self._constants = (self._of_kneser_ney if self.is_kneser_ney else self._of_backoff)(folder / CARD)

    @property
    def _num_codes(self) -> int:
        return 3 if self.is_kneser_ney else 1

    def _check_languages(self, path: Path) -> None:
        languages = self.card.get("languages")
        counts = languages.values() if isinstance(languages, dict) else () if languages is None else [None]
        if not all(is_whole(count, 0) for count in counts):
            raise damaged_card(path, "`languages` must be numbers of words", languages)

    def _of_backoff(self, path: Path) -> tuple[Any, ...]:
        words = max(number(self.card, "words", path, 0), 1.0)
        backoff = number(self.card, "backoff", path, 1e-30, 1)
        return float(np.log2(backoff)), float(np.log2(words))

    def _of_kneser_ney(self, path: Path) -> tuple[Any, ...]:
        """What the terms of the estimate are for each code of a count, so that scoring divides nothing."""
        values, order, found = code_values(), int(self.card["order"]), self.card.get("discounts")
        if not isinstance(found, list) or len(found) != order or not all(map(_is_discount, found)):
            raise damaged_card(path, f"`discounts` must be {order} numbers from 0 to 1", found)
        discounts = np.array(found, np.float64)
        total, num_types = (number(self.card, name, path, 0) for name in ("total", "types"))
        total = max(total, 1.0)
        # What the unigrams' discount leaves is shared by all words, and by one that was never seen.
        rest = float(discounts[0] * num_types / total / (num_types + 1.0))
        gains = np.zeros((len(discounts) + 1, len(values)))  # row L is of n-grams of L words
        gains[1:] = np.where(values > 0, np.maximum(values - discounts[:, None], 0.0), 0.0)
        offs = np.concatenate(([values], discounts[:, None] * values))
        inverse = np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0)
        return rest, gains[1] / total, inverse, gains, offs

    def sees(self, language: str, min_words: int) -> bool:
        """Whether the model counted words of a language; of a model that does not know what it counted, or
        hardly, every language may be in it."""
        languages = self.card.get("languages")
        if languages is None or 2 * languages.get("", 0) > sum(languages.values()):
            return True
        return bool(languages.get(language, 0) >= max(min_words, 1))

    def knows(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Whether each word was counted."""
        out = np.empty(len(hashes), np.bool_)
        words = np.ascontiguousarray(hashes)
        ngram_kernel.known_words(words, self.lines, int(self.card["lines"]), self._num_codes, out)
        return out

    def log2_scores(self, hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64]) -> Floats:
        """The score of every word given the words before it in its text, in bits (log2, at most 0).

        It lasts until the next call.
        """
        out: Floats = self._scratch.empty("scores", len(hashes) + 1, np.float64)
        texts = np.ascontiguousarray(hashes), np.ascontiguousarray(rows, np.int64), BEGIN
        table = self.lines, int(self.card["lines"]), int(self.card["order"])
        score = ngram_kernel.kneser_ney if self.is_kneser_ney else ngram_kernel.stupid_backoff
        score(*texts, *table, *self._constants, *self._block, out)
        scores = out[:-1]
        return np.log2(np.minimum(scores, 1.0, out=scores), out=scores) if self.is_kneser_ney else scores

    def score(self, documents: pa.Table) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Return per document its bits under the model and its number of words."""
        bits, words = [np.empty(0)], [np.empty(0, np.int64)]
        for batch in cut_by_bytes(documents, _BATCH_BYTES):
            hashes, rows = cores_of(batch["text"], self._scratch)
            totals = np.concatenate(([0.0], np.cumsum(self.log2_scores(hashes, rows))))
            bits.append(totals[rows[:-1]] - totals[rows[1:]])
            words.append(np.diff(rows))
        return np.concatenate(bits), np.concatenate(words)

    def perplexity(self, documents: pa.Table) -> pa.Array:
        """Perplexity per word, in float32; null for a document without words."""
        bits, words = self.score(documents)
        return pa.array(np.exp2(bits / np.maximum(words, 1)), pa.float32(), mask=words == 0)


def _is_discount(value: object) -> bool:
    return is_number(value) and 0 <= value <= 1  # type: ignore[operator]  # a number, as asked


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
        bits, words = model.score(documents)
        self.docs += documents.num_rows
        self.words += int(words.sum())
        self.bytes += int(pc.sum(pc.binary_length(documents["text"])).as_py() or 0)
        self.bits += float(bits.sum())

    def row(self, source: str) -> dict[str, Any]:
        """Bits per byte and perplexity per word, in the form of the transformer's evaluation rows."""
        return {
            "source": source,
            **asdict(self),
            "bits_per_byte": self.bits / self.bytes if self.bytes else None,
            "perplexity": float(np.exp2(self.bits / self.words)) if self.words else None,
        }
