"""The classifier's mean: documents like the target's cost fewer bits; what taught is not judged."""

from __future__ import annotations

import random

from gristmill.pipeline.proof.likeness import FOLDS, likeness, taught
from gristmill.pipeline.proof.texts import Text

PROSE = [
    "water", "river", "mill", "wheel", "stone", "bread", "meadow", "evening", "garden", "morning", "field",
    "bridge", "lantern",
]  # fmt: skip
CODE = [
    "import", "return", "self", "lambda", "yield", "class", "array", "index", "buffer", "offset", "parse",
    "assert", "module",
]  # fmt: skip


def _documents(words: list[str], count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(words, k=30)) for _ in range(count)]


def _mean(model: object, texts: list[str]) -> float:
    found = likeness(model, texts, 4000)  # type: ignore[arg-type]
    assert set(found) <= {f"fold {fold}" for fold in range(FOLDS)}
    return sum(found.values()) / len(found)


def test_documents_like_the_target_cost_fewer_bits() -> None:
    target = [Text(str(number), text) for number, text in enumerate(_documents(PROSE, 60, 1))]
    prose, code = _documents(PROSE, 200, 2), _documents(CODE, 200, 3)
    model = taught(target, [text for pair in zip(prose, code, strict=True) for text in pair], 4000)
    assert model is not None
    assert _mean(model, prose) + 1 < _mean(model, prose + code) < _mean(model, code)
    shuffled = random.Random(4).sample(prose, len(prose))
    assert likeness(model, shuffled, 4000).keys() == likeness(model, prose, 4000).keys()


def test_a_document_has_one_fold_whatever_stands_beside_it_and_counts_once() -> None:
    target = [Text(str(number), text) for number, text in enumerate(_documents(PROSE, 60, 1))]
    texts = _documents(PROSE + CODE, 120, 5)
    model = taught(target, texts, 4000)
    assert model is not None
    one = likeness(model, texts, 4000)
    assert likeness(model, texts + texts[:40], 4000) == one


def test_what_taught_is_not_judged_and_too_few_teach_nothing() -> None:
    texts = _documents(PROSE, 100, 6)
    target = [Text(str(number), text) for number, text in enumerate(texts)]
    model = taught(target, texts, 4000)
    assert model is not None
    scored = [text for text in texts if likeness(model, [text], 4000)]
    taught_by = [text for text in texts if text not in scored]
    assert 20 < len(scored) < 80 and taught(target, scored, 4000) is None
    assert taught(target, taught_by, 4000) is not None
    assert taught(target[:5], texts, 4000) is None
