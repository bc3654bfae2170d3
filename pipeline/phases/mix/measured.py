"""Measure encoded sources, and find how far into each source's order its tokens reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.arrays import read_array
from gristmill.cells import Cells, add_cells
from gristmill.facts import Facts
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.job import Attempt, Job, Phase, Task
from gristmill.pipeline.stages.mix import MixSlice
from gristmill.tokenize.mixing import mix as mixing
from gristmill.tokenize.mixing.cell_weights import Weights, weigh_cells
from gristmill.tokenize.mixing.gates import SIZES_SHAPE, gates_of
from gristmill.tokenize.mixing.plan import MixPlan, Size, SourcePlan
from gristmill.tokenize.mixing.weights import CellWeights
from gristmill.tokenize.settings import CellWeight, MixSettings


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """One encoded file: its payload, its index, and whose documents it holds."""

    payload: str
    index: str
    source: str


@dataclass(frozen=True, slots=True)
class Measured(Facts):
    """Documents, tokens and bytes of one encoded file, by split; what may be trained on by cell."""

    train: dict[str, int]
    heldout: dict[str, int]
    cells: Cells | None = None


@dataclass(frozen=True, slots=True)
class Gates(Facts):
    """The sizes up to which a source's documents are taken, by level."""

    gates: list[int]


@dataclass(frozen=True, slots=True)
class FoundBound(Facts):
    """The fields of a `CutOff`; its levels as text, since they need more bits than JSON readers promise."""

    bound: dict[str, Any]


def encoded_files(job: Job[MixSlice]) -> list[EncodedFile]:
    """Pair every payload with its index, in the order of the inputs."""
    pairs = zip(job.files("tokens"), job.files("token-index"), strict=True)
    return [
        EncodedFile(str(payload), str(index), entry.source or "") for (payload, entry), (index, _) in pairs
    ]


def over_files(name: str, function: Any, encoded: Sequence[EncodedFile], **common: Any) -> Phase:
    return Phase(
        name, [Task(f"{number:05d}", function, {"part": part}) for number, part in enumerate(encoded)], common
    )


def measure_file(task: Attempt[MixSlice], part: EncodedFile) -> None:
    path = task.scratch / "sizes.u64"
    found = mixing.measure(Path(part.index), task.settings.mix, task.seed, path)
    task.record.state(Measured(asdict(found.training), asdict(found.heldout), found.cells))
    task.publish(path, "sizes", source=part.source)


def weights_of_cells(
    settings: MixSettings, plan: MixPlan, measured: Sequence[TaskRecord], encoded: Sequence[EncodedFile]
) -> dict[str, Weights]:
    """The weights of the cells of each source that a curve weighs."""
    found = {}
    for row in plan.rows:
        weight = settings.weight_of(row.source)
        if isinstance(weight, CellWeight):
            stated = [record.stated(Measured) for record, _ in of_source(measured, encoded, row.source)]
            cells = add_cells(one.cells for one in stated if one.cells)
            found[row.source] = weigh_cells(weight, cells, row.tokens, row.source)
    return found


def gates_task(
    job: Job[MixSlice], row: SourcePlan, measured: Sequence[TaskRecord], encoded: Sequence[EncodedFile]
) -> Task:
    sizes = [str(job.folder / record.files[0].path) for record, _ in of_source(measured, encoded, row.source)]
    return Task(row.source, gate_source, {"sizes": sizes, "mean_tokens": row.size.tokens / row.size.docs})


def gate_source(task: Attempt[MixSlice], sizes: Sequence[str], mean_tokens: float) -> None:
    total = sum(read_array(path, "<u8").reshape(SIZES_SHAPE) for path in sizes)
    task.record.state(Gates(gates_of(np.asarray(total, np.uint64), mean_tokens)))


def level_file(
    task: Attempt[MixSlice],
    part: EncodedFile,
    gates: Mapping[str, Sequence[int]],
    cells: Mapping[str, CellWeights],
) -> None:
    path = task.scratch / "levels.run"
    of_source = gates.get(part.source, ()), path, cells.get(part.source)
    mixing.levels(Path(part.index), task.settings.mix, part.source, task.seed, *of_source)
    task.publish(path, "levels", source=part.source)


def bound_task(
    job: Job[MixSlice],
    row: SourcePlan,
    levelled: Sequence[TaskRecord],
    encoded: Sequence[EncodedFile],
    settings: MixSettings,
) -> Task:
    levels = [
        str(job.folder / record.files[0].path) for record, part in of_source(levelled, encoded, row.source)
    ]
    once = settings.kind == "sources"  # the trainer repeats and blends
    arguments = {
        "levels": levels,
        "tokens": row.size.tokens if once else row.tokens,
        "available": row.size.tokens,
        "weighted": row.source in settings.weights and not once,
        "split": settings.split_documents,
    }
    return Task(row.source, bound_source, arguments)


def bound_source(
    task: Attempt[MixSlice], levels: Sequence[str], tokens: int, available: int, weighted: bool, split: bool
) -> None:
    paths = [Path(path) for path in levels]
    bound = mixing.find_bound(paths, tokens, available, weighted=weighted, split=split)
    # Levels need more bits than JSON readers promise.
    levels_ = {"level": str(bound.level), "cut_level": str(bound.cut_level)}
    task.record.state(FoundBound({**asdict(bound), **levels_}))


def bound_of(record: TaskRecord) -> mixing.CutOff:
    bound = record.stated(FoundBound).bound
    levels = {name: int(bound[name]) for name in ("level", "cut_level")}
    return mixing.CutOff(**{**bound, **levels})


def size_of(measured: Sequence[TaskRecord], encoded: Sequence[EncodedFile], name: str, split: str) -> Size:
    found = [getattr(record.stated(Measured), split) for record, _ in of_source(measured, encoded, name)]
    return Size(*(sum(part[key] for part in found) for key in ("docs", "tokens", "bytes")))


def of_source(
    records: Sequence[TaskRecord], encoded: Sequence[EncodedFile], source: str
) -> list[tuple[TaskRecord, EncodedFile]]:
    return [(record, part) for record, part in zip(records, encoded, strict=True) if part.source == source]
