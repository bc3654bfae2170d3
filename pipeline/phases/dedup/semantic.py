"""Near duplicates by vectors of their words, learned from the corpus: sample, model, clusters, who stays."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.dedup.near import semantic
from gristmill.dedup.settings.near import SemanticSettings
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.applied import check_alarm
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards
from gristmill.pipeline.phases.dedup.samples import Decided, Largest
from gristmill.pipeline.run.job import Job, Stage
from gristmill.pipeline.stages.dedup import SemanticFacts, SemanticSlice

_ONE_TASK = 1 << 62


@dataclass(frozen=True, slots=True)
class Sampled(Counts):
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class Learned(Counts):
    """Documents that the model is learned from, and the clusters it has centroids of."""

    learned_from: int = 0
    centroids: int = 0


@dataclass(frozen=True, slots=True)
class Embedded(Counts):
    vectors: int = 0


@dataclass(frozen=True, slots=True)
class ComparedVectors(Counts):
    """Pairs of vectors compared, and documents of clusters that were compared in parts."""

    compared: int = 0
    uncompared: int = 0


FRAME = Frame(
    f"{__name__}:FRAME",
    "semantic",
    (
        OverShards("sample", semantic.map_sample, (Sampled,), rows="sampled", tells_documents=True),
        OverRanges("learn", semantic.learn_model, (Learned,), _ONE_TASK, rows="centroids", kind="model"),
        OverShards("vectors", semantic.map_vectors, (Embedded,), rows="vectors"),
        OverRanges(
            "decide",
            semantic.decide,
            (Largest, Decided, ComparedVectors),
            semantic.part_records,
            rows="clusters",
            kind="clusters",
            doubling=True,
        ),
    ),
    semantic.apply_semantic,
    semantic.SCORES,
)


def semantic_stage(job: Job[SemanticSlice]) -> Stage:
    settings = job.settings.semantic
    done = yield from FRAME.over(job)
    sampled, learned, _vectors, decided = done.passes
    check_alarm(settings, done.shards, done.applied, decided)
    total, compared, model = Decided.total(decided), ComparedVectors.total(decided), Learned.total(learned)
    return SemanticFacts(
        clusters=total.clusters,
        removed=total.removed,
        compared=compared.compared,
        uncompared=compared.uncompared,
        learned_from=model.learned_from,
        centroids=model.centroids,
        warnings=warnings(settings, compared.uncompared, Sampled.total(sampled).sampled - model.learned_from),
        replaced_files=done.replaced_files,
    )


def warnings(settings: SemanticSettings, uncompared: int, left_out: int) -> list[str]:
    """Say which bounds were hit, for the terminal and the report."""
    said = []
    if uncompared:
        said.append(
            f"{uncompared:,} documents lie in clusters of more than {settings.max_cluster_documents:,}, which"
            " were compared in parts: raise `max_cluster_documents`, or lower `cluster_documents`"
        )
    if left_out:
        said.append(
            f"{left_out:,} documents of the sample were left out, as `memory_bytes`"
            f" ({settings.memory_bytes:,}) does not hold their words"
        )
    return said
