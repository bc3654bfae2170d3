"""The S-curve of banded MinHash: which pairs become candidates, and which bands and rows suit a threshold."""

from __future__ import annotations

from functools import lru_cache


def candidate_probability(similarity: float, bands: int, rows: int) -> float:
    """Return the chance that two documents of this Jaccard similarity share a band key."""
    return float(1 - (1 - similarity**rows) ** bands)


@lru_cache(maxsize=16)
def optimal_bands(threshold: float, num_hashes: int) -> tuple[int, int]:
    """Return (bands, rows) for a wished threshold: least area of false positives plus false negatives, as
    datasketch does."""
    from scipy.integrate import quad

    best, choice = float("inf"), (1, 1)
    for bands in range(1, num_hashes + 1):
        for rows in range(1, num_hashes // bands + 1):
            false_positive = quad(candidate_probability, 0.0, threshold, args=(bands, rows))[0]
            candidates = quad(candidate_probability, threshold, 1.0, args=(bands, rows))[0]
            error = false_positive + (1 - threshold - candidates)
            if error < best:
                best, choice = error, (bands, rows)
    return choice
