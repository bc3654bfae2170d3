"""What a run's steps read of its shards: every token and every place of a sample, counted by the plan alone.

    balance(BatchLoader(shards, 2048), num_samples=96_000)

Batches are a pure function of the sample number, so this reads document boundaries and no tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from gristmill.trainer.data.loader import BatchLoader

_AT_ONCE = 1 << 18  # samples


@dataclass(frozen=True)
class Balance:
    """Tokens, all of them: `places` = `in_steps` + `padded`, and `shards` = `seen` + `never_seen`.

    `places` are rows x context of all steps; `in_steps` counts targets of the loss, repetitions too. `padded`
    places hold no token: the loss is masked there, and nowhere else, so that `masked`, tokens in a step that
    the loss leaves out, is 0. `skipped` are targets of steps that were not taken (a spike). `seen` counts the
    tokens of the shards that were a target at least once.
    """

    shards: int
    places: int
    in_steps: int
    padded: int
    masked: int
    skipped: int
    seen: int
    never_seen: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def balance(loader: BatchLoader, num_samples: int, skipped: int = 0) -> Balance:
    """Account for the first `num_samples` samples of a loader; `skipped` is passed through.

    Whole epochs are counted as such; of the last, unfinished one of each part every sample is looked at, a
    stretch at a time.
    """
    by_part = [num_samples] if loader.blend is None else loader.blend.counts(num_samples).tolist()
    in_steps = seen = 0
    for part, order, taken in zip(loader.parts, loader.orders, by_part, strict=True):
        if not len(part):
            continue
        lengths = part.lengths(np.arange(len(part)))
        epochs, rest = divmod(taken, len(part))
        last = sum(
            int(lengths[order.many(epochs * len(part) + at, min(_AT_ONCE, rest - at))].sum())
            for at in range(0, rest, _AT_ONCE)
        )
        in_steps += epochs * int(lengths.sum()) + last
        seen += int(lengths.sum()) if epochs else last
    places, shards = num_samples * loader.context, loader.shards.num_tokens
    return Balance(shards, places, in_steps, places - in_steps, 0, skipped, seen, shards - seen)
