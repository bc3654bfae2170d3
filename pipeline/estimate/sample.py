"""What of a recipe's input is milled to tell what all of it takes: ranges chosen by hash, in a few tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.hashing import digest16
from gristmill.pipeline.recipe.making import PreflightSample
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.sources.plan import plan_shards

SAMPLE_FRACTION = 0.01
MIN_SAMPLE_BYTES = (
    16 << 20
)  # stored; some eight hundred pages, whose keep rates are known to about three points
_RANGES = 400  # a source is cut into about this many ranges to sample from
_MIN_RANGE_BYTES = 256 << 10
_TASKS = 16  # that the ranges of a sample are spread over; a spread needs several
_EMPTY_TASKS = 4


@dataclass(frozen=True, slots=True)
class Sampled:
    """How much of a source the sample holds, in how many tasks of which the first are empty, and the sizes of
    the shards of the whole."""

    source: str
    sample_bytes: int
    num_tasks: int
    shards: tuple[int, ...]
    num_empty: int = _EMPTY_TASKS

    @property
    def total_bytes(self) -> int:
        return sum(self.shards)

    @property
    def has_work(self) -> list[bool]:
        return [number >= self.num_empty for number in range(self.num_tasks)]


def choose_samples(recipe: Recipe) -> tuple[dict[str, PreflightSample], dict[str, Sampled]]:
    """Choose what to mill of every source, those within an output folder one by one."""
    samples: dict[str, PreflightSample] = {}
    sampled: dict[str, Sampled] = {}
    for name, source in recipe.sources.items():
        folders = recipe.outputs(source)
        if not folders:
            samples[name], sampled[name] = choose_sample(recipe, name)
            continue
        from gristmill.pipeline.phases.adopt import adoptable

        for part in adoptable(folders[0], partial=source.partial):
            sizes = [entry.bytes for _, entry in part.files]
            chosen, num_bytes = _by_hash(recipe, part.source, sizes)
            samples[part.source] = PreflightSample(0, tuple((number,) for number in chosen))
            sampled[part.source] = Sampled(part.source, num_bytes, len(chosen), tuple(sizes), 0)
    return samples, sampled


def choose_sample(recipe: Recipe, name: str) -> tuple[PreflightSample, Sampled]:
    """Choose a source's ranges to mill and spread them over tasks of one format each; the first tasks hold
    none."""
    settings = recipe.sources[name].reading()
    whole = plan_shards(settings, recipe.shard_bytes)
    total = sum(shard.num_bytes for shard in whole)
    range_bytes = max(_MIN_RANGE_BYTES, total // _RANGES)
    shards = plan_shards(settings, range_bytes)
    chosen, sample_bytes = _by_hash(recipe, name, [shard.num_bytes for shard in shards])
    by_format: dict[str, list[int]] = {}
    for number in chosen:
        by_format.setdefault(shards[number].format, []).append(number)
    per_task = -(-len(chosen) // _TASKS)
    groups = [
        tuple(part[at : at + per_task]) for part in by_format.values() for at in range(0, len(part), per_task)
    ]
    groups = [*[()] * _EMPTY_TASKS, *groups]
    return PreflightSample(range_bytes, tuple(groups)), Sampled(
        name, sample_bytes, len(groups), tuple(shard.num_bytes for shard in whole)
    )


def _by_hash(recipe: Recipe, name: str, sizes: Sequence[int]) -> tuple[list[int], int]:
    """The numbers of the pieces that make a sample, ascending, and their bytes."""
    total, chosen, num_bytes = sum(sizes), list[int](), 0
    wanted = max(SAMPLE_FRACTION * total, min(total, MIN_SAMPLE_BYTES))
    for number in sorted(
        range(len(sizes)), key=lambda number: digest16(str(recipe.seed), "estimate", name, str(number))
    ):
        if num_bytes >= wanted:
            break
        chosen.append(number)
        num_bytes += sizes[number]
    return sorted(chosen), num_bytes
