"""What generated text degenerates into, and how far probabilities can be believed.

measures([[3, 4, 3, 4], ...])   # repetition, diversity, Zipf, overlap, entropy of generated token ids
calibration(model, rows)        # is the likeliest token right as often as its probability says
Memory(shards).share(rows)      # which generated stretches of 50 tokens stand in the training shards
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from gristmill.trainer.data.shards import ShardSet, Stream
from gristmill.trainer.evaluation.generate import Sampling
from gristmill.trainer.model.decoder import Model

Ids = Sequence[int]
MEMORY_TOKENS = 50  # Carlini et al. 2023
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, of the rolling hash
_BINS = 15  # of calibration (Guo et al. 2017)

# Decoding as papers set it: Holtzman et al. 2020, Meister et al. 2023, Nguyen et al. 2024, Su et al. 2022.
STRATEGIES: Mapping[str, Mapping[str, float]] = {
    "greedy": {},
    "beam": {"num_beams": 4},
    "sampling": {"temperature": 1.0},
    "top-k": {"temperature": 1.0, "top_k": 40},
    "nucleus": {"temperature": 1.0, "top_p": 0.95},
    "typical": {"temperature": 1.0, "typical_p": 0.95},
    "min-p": {"temperature": 1.0, "min_p": 0.1},
    "contrastive": {"top_k": 4, "contrastive": 0.6},
}


def sampling_of(strategy: str, max_tokens: int, seed: int = 0) -> Sampling:
    whole = {key: int(v) if key in ("num_beams", "top_k") else v for key, v in STRATEGIES[strategy].items()}
    return Sampling(max_tokens=max_tokens, seed=seed, **whole)  # type: ignore[arg-type]


def measures(texts: Sequence[Ids]) -> dict[str, float]:
    """Return the measures of generated texts (token ids); shares lie in 0..1, entropy is in bits.

    rep-n: share of a text's n-grams that it had before (Welleck et al. 2020), mean of texts. distinct-n: of
    all n-grams of all texts the share that differ (Li et al. 2016). self_overlap: share of a text's 4-grams
    that another text has. zipf: exponent of frequency over rank (human prose: about 1).
    """
    texts = [list(text) for text in texts if len(text)]
    found: dict[str, float] = {"texts": float(len(texts)), "tokens": float(sum(map(len, texts)))}
    for n in (1, 2, 3, 4):
        found[f"rep_{n}"] = _mean(
            [1 - len(set(grams)) / len(grams) for t in texts if (grams := _grams(t, n))]
        )
    for n in (1, 2, 3):
        every = [gram for text in texts for gram in _grams(text, n)]
        found[f"distinct_{n}"] = len(set(every)) / len(every) if every else 0.0
    counts = Counter(token for text in texts for token in text)
    total = sum(counts.values())
    found["entropy"] = -sum(c / total * math.log2(c / total) for c in counts.values()) if total else 0.0
    found["zipf"] = zipf(counts)
    found["self_overlap"] = _self_overlap(texts)
    return found


def zipf(counts: Mapping[int, int]) -> float:
    """The exponent of Zipf's law, by least squares of logarithms over the ranks that were seen twice."""
    often = np.array(sorted((count for count in counts.values() if count > 1), reverse=True), float)
    if len(often) < 3:
        return 0.0
    return float(-np.polyfit(np.log(np.arange(1, len(often) + 1)), np.log(often), 1)[0])


def _self_overlap(texts: Sequence[Ids]) -> float:
    own = [set(_grams(text, 4)) for text in texts]
    holders = Counter(gram for grams in own for gram in grams)
    return _mean([sum(holders[gram] > 1 for gram in grams) / len(grams) for grams in own if grams])


def _grams(text: Ids, n: int) -> list[tuple[int, ...]]:
    return [tuple(text[at : at + n]) for at in range(len(text) - n + 1)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error over bins of the likeliest token's probability, and the bins: mean
    probability, share right, tokens."""

    error: float
    accuracy: float
    entropy: float  # of the predictions, bits
    bins: list[tuple[float, float, int]]


@torch.no_grad()
def calibration(model: Model, rows: Sequence[Ids]) -> Calibration:
    """Measure next-token predictions on rows of ids (each at most context + 1 long)."""
    sure: list[float] = []
    right: list[bool] = []
    entropy = 0.0
    device = model.embed.weight.device
    for row in rows:
        ids = torch.tensor([list(row)[: model.config.context + 1]], device=device)
        p = model(ids[:, :-1]).float().softmax(-1)[0]
        top = p.max(-1)
        sure += top.values.tolist()
        right += (top.indices == ids[0, 1:]).tolist()
        entropy += float(-(p * p.clamp(min=1e-30).log2()).sum())
    if not sure:
        return Calibration(0.0, 0.0, 0.0, [])
    values, hits = np.array(sure), np.array(right, float)
    place = np.minimum((values * _BINS).astype(int), _BINS - 1)
    bins = [
        (
            float(values[place == number].mean()),
            float(hits[place == number].mean()),
            int((place == number).sum()),
        )
        for number in range(_BINS)
        if (place == number).any()
    ]
    error = sum(count / len(values) * abs(said - was) for said, was, count in bins)
    return Calibration(float(error), float(hits.mean()), entropy / len(values), bins)


class Memory:
    """The stretches of 50 tokens in a shard set, by hash: 8 bytes a token of memory."""

    def __init__(self, shards: ShardSet, length: int = MEMORY_TOKENS) -> None:
        self.length = length
        stream = Stream.whole(shards)
        self.known = np.unique(rolling(stream.read(0, stream.num_tokens), length))

    def share(self, texts: Sequence[Ids]) -> tuple[float, int]:
        """Return which share of generated stretches stand in the shards word for word, and of how many."""
        hashes = [rolling(np.asarray(text, np.int64), self.length) for text in texts]
        every = np.concatenate([np.empty(0, np.uint64), *hashes])
        return (float(np.isin(every, self.known).mean()), len(every)) if len(every) else (0.0, 0)


def rolling(tokens: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.uint64]:
    """Hash every stretch of `length` tokens: a polynomial in 64 bits."""
    count = len(tokens) - length + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    values = tokens.astype(np.uint64) + np.uint64(1)
    found = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for at in range(length):
            found = found * _BASE + values[at : at + count]
    return found
