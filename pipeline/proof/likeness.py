"""The classifier's mean: how far a variant's documents are taken for those of a target.

A linear model of hashed words (GPT-3's features: classifiers/quality/hashing_tf.py) tells a target's
documents from the recipe's. It has learned from half of the recipe's documents, by digest; what is scored are
a variant's documents of the other half, so that no document is judged by a model that it taught. A document
costs -log2 p(target) bits; less is nearer. It sees which words there are and not their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gristmill.classifiers.quality.hashing_tf import HashingTF, train_hashing_tf
from gristmill.hashing import digest16
from gristmill.pipeline.proof.texts import Text, cut

FOLDS = 10  # the scored documents' shares by digest: a document is in the same one in each variant
_NUM_FEATURES = 1 << 18
_FEWEST = 10  # documents of a class, below which nothing is learned
_MOST_BITS = 20.0  # of one document: a long text's words add up to any certainty
_LABELS = ("target", "recipe")


def taught(texts: Sequence[Text], recipe: Sequence[str], num_bytes: int) -> HashingTF | None:
    """Learn to tell a target from the recipe's documents of the first half; None where either is too few."""
    negatives = [text for text in recipe if not _is_scored(text)][: max(len(texts), _FEWEST)]
    if min(len(texts), len(negatives)) < _FEWEST:
        return None
    lines = [_line(text, num_bytes) for _, text in texts], [_line(text, num_bytes) for text in negatives]
    return train_hashing_tf(*lines, _LABELS, _NUM_FEATURES)


def likeness(model: HashingTF, texts: Sequence[str], num_bytes: int) -> Mapping[str, float]:
    """Mean bits a document of each fold that has any, by the fold's name."""
    folds: dict[int, list[float]] = {}
    for text in dict.fromkeys(filter(_is_scored, texts)):  # each once: repeating says nothing of words
        bits = min(_MOST_BITS, -math.log2(max(model.score(_line(text, num_bytes)), 1e-300)))
        folds.setdefault(_digest(text)[1] % FOLDS, []).append(bits)
    return {f"fold {fold}": math.fsum(bits) / len(bits) for fold, bits in sorted(folds.items())}


def _line(text: str, num_bytes: int) -> str:
    return " ".join(cut(text, num_bytes).lower().split())


def _digest(text: str) -> bytes:
    return digest16(text)


def _is_scored(text: str) -> bool:
    return bool(_digest(text)[0] & 1)
