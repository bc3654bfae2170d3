"""How well near duplicates are found: on pairs that people labelled, and against brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.near.curve import candidate_probability
from gristmill.dedup.near.minhash import Bounds, band_keys, signatures
from gristmill.dedup.near.shingles import shingle_texts
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import Numbers, group_starts, sort_pairs
from gristmill.errors import InputError
from gristmill.files.disk import read_file
from gristmill.files.inside import parsed

_BATCH = 2048
_ROWS = 512  # documents compared with all others at a time


def evaluate_pairs(settings: FuzzySettings, path: Path) -> dict[str, Any]:
    """Return precision and recall of candidates and of verified pairs over JSON lines of {a, b,
    duplicate}."""
    pairs = list(_pairs(path))
    sets, ends = shingle_sets(settings, [text for a, b, _label in pairs for text in (a, b)])
    keys = band_keys(settings, signatures(settings, sets, ends), np.zeros(len(ends) - 1, np.uint64))
    label = np.array([duplicate for _a, _b, duplicate in pairs], bool)
    worded = np.diff(ends).reshape(-1, 2).all(axis=1)
    candidate = (keys[::2] == keys[1::2]).any(axis=1) & worded
    score = np.array([_score(settings, sets, ends, 2 * number) for number in range(len(pairs))])
    verified = candidate & (score >= settings.threshold)
    rows = {
        "candidates": candidate,
        "verified": verified,
        "score alone": (score >= settings.threshold) & worded,
    }
    return {
        "pairs": len(pairs),
        "duplicates": int(label.sum()),
        **{name: _rates(found, label) for name, found in rows.items()},
    }


def _pairs(path: Path) -> Iterator[tuple[str, str, bool]]:
    try:
        lines = read_file(path).split(b"\n")
    except OSError as error:
        raise InputError(f"the pairs `{path}` cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = parsed(line)
                yield str(row["a"]), str(row["b"]), bool(row["duplicate"])
            except (ValueError, KeyError, TypeError) as error:
                hint = 'a row is {"a": text, "b": text, "duplicate": true or false}'
                raise InputError(
                    f"no labelled pair: {error!r}", where=f"{path}:{number}", hint=hint
                ) from error


def _score(settings: FuzzySettings, sets: Numbers, ends: Bounds, first: int) -> float:
    a, b = (sets[ends[doc] : ends[doc + 1]] for doc in (first, first + 1))
    shared = len(np.intersect1d(a, b, assume_unique=True))
    if settings.verify == "containment":
        return shared / max(1, min(len(a), len(b)))
    return shared / max(1, len(a) + len(b) - shared)


def _rates(found: npt.NDArray[np.bool_], label: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    right = int((found & label).sum())
    return {
        "precision": right / int(found.sum()) if found.any() else None,
        "recall": right / int(label.sum()) if label.any() else None,
    }


def shingle_sets(settings: FuzzySettings, texts: Sequence[str | None]) -> tuple[Numbers, Bounds]:
    """Return every text's sorted distinct shingles, packed."""
    sets: list[Numbers] = []
    for start in range(0, len(texts), _BATCH):
        batch = pa.chunked_array([pa.array(texts[start : start + _BATCH], pa.large_string())])
        shingles, bounds = shingle_texts(settings, batch)
        sets += [np.unique(shingles[bounds[i] : bounds[i + 1]]) for i in range(len(batch))]
    ends = np.concatenate([[0], np.cumsum([len(values) for values in sets])]).astype(np.int64)
    return np.concatenate([*sets, np.empty(0, np.uint64)]), ends


def brute_force(
    settings: FuzzySettings, texts: Sequence[str | None], least: float
) -> npt.NDArray[np.float64]:
    """Return (a, b, exact Jaccard) of every pair of texts whose n-gram sets are at least so similar, a < b.

    All pairs that share an n-gram are counted, by multiplying the matrix of documents and n-grams with
    itself.
    """
    from scipy.sparse import csr_array

    sets, ends = shingle_sets(settings, texts)
    columns = np.unique(sets, return_inverse=True)[1]
    matrix = csr_array(
        (np.ones(len(sets), np.int32), columns, ends), shape=(len(texts), int(columns.max(initial=0)) + 1)
    )
    size = np.diff(ends)
    found = [np.empty((0, 3))]
    for start in range(0, len(texts), _ROWS):
        shared = (matrix[start : start + _ROWS] @ matrix.T).tocoo()
        a, b = shared.row + start, shared.col
        jaccard = shared.data / (size[a] + size[b] - shared.data)
        keep = (a < b) & (jaccard >= least)
        found.append(np.stack([a[keep], b[keep], jaccard[keep]], axis=1))
    return np.concatenate(found)


def candidate_pairs(settings: FuzzySettings, texts: Sequence[str | None]) -> set[tuple[int, int]]:
    """Return all pairs of texts that share a band key: for samples, since a common page makes a square of
    them."""
    sets, ends = shingle_sets(settings, texts)
    keys = band_keys(settings, signatures(settings, sets, ends), np.zeros(len(texts), np.uint64))[
        np.diff(ends) > 0
    ]
    docs = np.repeat(np.flatnonzero(np.diff(ends)).astype(np.uint64), settings.bands)
    key, doc = sort_pairs(keys.ravel(), docs)
    starts = group_starts(key)
    groups = (doc[start:stop].tolist() for start, stop in itertools.pairwise(starts) if stop - start > 1)
    return {(a, b) for group in groups for place, a in enumerate(group) for b in group[place + 1 :]}


def against_brute_force(settings: FuzzySettings, texts: Sequence[str | None]) -> dict[str, Any]:
    """Compare candidates with every pair of a sample at or above the threshold.

    `expected_recall` is what the bands' curve promises for the similarities that these pairs have.
    """
    pairs = brute_force(settings, texts, settings.threshold)
    candidates = candidate_pairs(settings, texts)
    found = [(int(a), int(b)) in candidates for a, b, _jaccard in pairs]
    expected = [candidate_probability(jaccard, settings.bands, settings.rows) for _a, _b, jaccard in pairs]
    return {
        "documents": len(texts),
        "pairs": len(pairs),
        "recall": float(np.mean(found)) if found else None,
        "expected_recall": float(np.mean(expected)) if expected else None,
        "candidates": len(candidates),
    }


def read_texts(path: Path, most: int) -> list[str]:
    """Return the distinct texts of labelled pairs, in order, at most so many."""
    texts = dict.fromkeys(text for a, b, _label in _pairs(path) for text in (a, b))
    return list(texts)[:most]


def read_documents(path: Path) -> list[str]:
    """Return the texts of JSON lines of {text}."""
    try:
        rows = [parsed(line) for line in read_file(path).split(b"\n") if line.strip()]
        return [str(row["text"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = 'documents are JSON lines of {"text": ...}'
        raise InputError(f"the documents `{path}` cannot be read: {error!r}", hint=hint) from error
