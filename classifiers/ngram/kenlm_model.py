"""KenLM models by path (ARPA or binary), asked as CCNet asks its own: line by line, each with its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.classifiers.settings import KenlmSettings
from gristmill.errors import UsageError

_LOG2_10 = float(np.log2(10.0))


class KenlmModel:
    """A KenLM model opened for scoring; needs the package `kenlm`."""

    def __init__(self, path: Path, settings: KenlmSettings, languages: tuple[str, ...]) -> None:
        try:
            import kenlm
        except ImportError:
            raise UsageError(
                f"`{path}` is a file, so a KenLM model, and the package `kenlm` is not installed",
                hint="pip install kenlm; a model of gristmill is a folder with ngrams.json",
            ) from None
        try:
            self._model: Any = kenlm.Model(str(path))
        except (OSError, RuntimeError) as error:
            raise UsageError(f"`{path}` is not a KenLM model: {str(error).splitlines()[0]}") from None
        self._settings, self._languages = settings, languages
        self._pieces: Any = None
        if settings.pieces:
            from sentencepiece import SentencePieceProcessor

            self._pieces = SentencePieceProcessor(model_file=settings.pieces)

    def sees(self, language: str, min_words: int) -> bool:
        """Whether the model is of a language: those that the recipe names, all where it names none."""
        return not self._languages or language in self._languages

    def score(self, documents: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Return per document its bits under the model, and its words with one end for each line."""
        bits, words = np.zeros(documents.num_rows), np.zeros(documents.num_rows, np.int64)
        for row, text in enumerate(documents["text"].to_pylist()):
            for line in (text or "").split("\n"):
                if tokens := self._tokens(line):
                    bits[row] -= self._model.score(" ".join(tokens)) * _LOG2_10
                    words[row] += len(tokens) + 1
        return bits, words

    def perplexity(self, documents: pa.Table) -> pa.Array:
        """Perplexity per word and line end, in float32; null for a document without words."""
        bits, words = self.score(documents)
        return pa.array(np.exp2(bits / np.maximum(words, 1)), pa.float32(), mask=words == 0)

    def _tokens(self, line: str) -> list[str]:
        line = line.lower() if self._settings.lower else line
        return list(self._pieces.encode(line, out_type=str)) if self._pieces else line.split()
