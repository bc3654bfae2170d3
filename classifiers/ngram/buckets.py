"""Head, middle and tail of each language by perplexity, as CCNet cuts them: exact over any number of
documents, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.quantiles import quantiles
from gristmill.classifiers.settings import BucketSettings

Bounds = dict[str, tuple[float, float]]
Read = Callable[[], Iterable[pa.Table]]  # tables of `perplexity` and `language`, the same ones at every call
_Values = npt.NDArray[np.float32]


def bucket_bounds(
    settings: BucketSettings, read: Read, sees: Callable[[str], bool] = lambda language: True
) -> Bounds:
    """Per language, the perplexities up to which a document is head, and above which it is tail.

    A part that holds no document ends below every perplexity, which is at least 1. Documents without words
    have no perplexity, and no say; languages that the model never saw (`sees`) have no bounds.
    """
    cuts = quantiles(lambda: _by_language(read(), sees), lambda total: _sizes(settings, total))
    return {language: (head, middle) for language, (head, middle) in cuts.items()}


def buckets(perplexities: pa.ChunkedArray, languages: pa.ChunkedArray, bounds: Bounds) -> pa.Array:
    """Name each document's bucket: `all` in a language without bounds, tail without words."""
    known = [bounds.get(language or "") for language in languages.to_pylist()]
    limits = np.array([each or (0.0, 0.0) for each in known]).reshape(-1, 2)
    values = pc.fill_null(perplexities, np.inf).to_numpy()
    named = np.where(values <= limits[:, 0], "head", np.where(values <= limits[:, 1], "middle", "tail"))
    unseen = np.array([each is None for each in known], np.bool_) & np.isfinite(values)
    return pa.array(np.where(unseen, "all", named).tolist(), pa.string())


def warnings(unseen: Mapping[str, int]) -> list[str]:
    """Say how many documents are in languages that the model never saw, and which are most."""
    if not unseen:
        return []
    largest = sorted(unseen, key=lambda language: (-unseen[language], language))[:8]
    named = ", ".join(f"{language or 'unknown'} ({unseen[language]:,})" for language in largest)
    return [
        f"{sum(unseen.values()):,} documents are in languages that the n-gram model never saw and go to"
        f" bucket `all`: {named}"
    ]


def _by_language(tables: Iterable[pa.Table], sees: Callable[[str], bool]) -> Iterator[tuple[str, _Values]]:
    for table in tables:
        table = table.filter(pc.is_valid(table["perplexity"]))
        names = pc.fill_null(table["language"], "").combine_chunks().dictionary_encode()
        codes, values = names.indices.to_numpy(), table["perplexity"].to_numpy()
        for code, language in enumerate(names.dictionary.to_pylist()):
            if sees(language):
                yield language, values[codes == code]


def _sizes(settings: BucketSettings, total: int) -> list[int]:
    """How many documents are head, and how many are head or middle."""
    head, tail = settings.fractions
    return [int(total * fraction + 1e-6) for fraction in (head, 1 - tail)]
