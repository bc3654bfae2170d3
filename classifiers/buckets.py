"""Head, middle and tail of each language by perplexity, as CCNet cuts them: exact over any number of
documents, in bounded memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.keep import upper_bits
from gristmill.classifiers.settings import BucketSettings

Bounds = dict[str, tuple[float, float]]
Read = Callable[[], Iterable[pa.Table]]  # tables of `perplexity` and `language`, the same ones at every call
_Values = npt.NDArray[np.float32]


def bucket_bounds(
    settings: BucketSettings, read: Read, sees: Callable[[str], bool] = lambda language: True
) -> Bounds:
    """Per language, the perplexities up to which a document is head, and above which it is tail.

    Everything is read twice: once to count values by their upper 16 bits, which says in which of those bins a
    third ends, and once to sort the values of these bins alone. Documents without words have no perplexity,
    and no say; languages that the model never saw (`sees`) have no bounds.
    """
    counts: dict[str, npt.NDArray[np.int64]] = defaultdict(lambda: np.zeros(1 << 16, np.int64))
    for language, values in _by_language(read(), sees):
        counts[language] += np.bincount(upper_bits(values), minlength=1 << 16)
    places = {
        language: [_place(own, size) for size in _sizes(settings, own)] for language, own in counts.items()
    }
    near: dict[tuple[str, int], list[_Values]] = {
        (language, which): [] for language, own in places.items() for which, _ in own
    }
    for language, values in _by_language(read(), sees):
        bins = upper_bits(values)
        for which in {which for which, _ in places[language]}:
            near[language, which].append(values[bins == which])
    ordered = {key: np.sort(np.concatenate([*parts, np.empty(0, np.float32)])) for key, parts in near.items()}

    def value(language: str, which: int, rank: int) -> float:
        # A part that holds no document ends below every perplexity, which is at least 1.
        return float(ordered[language, which][rank - 1]) if rank else 0.0

    bounds = {
        language: (value(language, *head), value(language, *middle))
        for language, (head, middle) in places.items()
    }
    return dict(sorted(bounds.items()))


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


def _sizes(settings: BucketSettings, counts: npt.NDArray[np.int64]) -> list[int]:
    """How many documents are head, and how many are head or middle."""
    total = int(counts.sum())
    head, tail = settings.fractions
    return [int(total * fraction + 1e-6) for fraction in (head, 1 - tail)]


def _place(counts: npt.NDArray[np.int64], size: int) -> tuple[int, int]:
    """The bin of the `size`-th smallest value, and its rank in there from 1; rank 0 where there is none."""
    if not size:
        return 0, 0
    ends = np.cumsum(counts)
    which = int(np.searchsorted(ends, size))
    return which, size - int(ends[which] - counts[which])
