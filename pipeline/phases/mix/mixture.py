"""Mix encoded sources into shuffled shards: measure, plan, bound, assign (map), write (reduce), and the
manifests last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gristmill.cells import add_cells
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.encode import tokenizer_facts
from gristmill.pipeline.phases.mix.measured import (
    Gates,
    bound_of,
    bound_task,
    encoded_files,
    gates_task,
    level_file,
    measure_file,
    of_source,
    over_files,
    size_of,
    weights_of_cells,
)
from gristmill.pipeline.phases.mix.placed import SPLITS, Assigned, CutDocument, TakenCells, assign_file
from gristmill.pipeline.phases.mix.written import (
    check_tokens,
    entries_of,
    realised,
    write_manifest,
    write_phase,
)
from gristmill.pipeline.run.job import Job, Phase, Stage, Task
from gristmill.pipeline.stages.mix import MixFacts, MixSlice
from gristmill.token_shards import token_dtype
from gristmill.tokenize.encoding.tokenizers import resolved
from gristmill.tokenize.mixing import mix as mixing
from gristmill.tokenize.mixing.cell_weights import Weights
from gristmill.tokenize.mixing.places import Take
from gristmill.tokenize.mixing.plan import MixPlan, Size, make_plan
from gristmill.tokenize.mixing.realised import add_realised, misses
from gristmill.tokenize.settings import MixSettings

FEW_DOCUMENTS = 10  # of a source with fewer, none held out is no surprise


def mix(job: Job[MixSlice]) -> Stage:
    settings = job.settings.mix
    encoded, (tokenizer,) = encoded_files(job), job.paths("tokenizer")
    names = list(dict.fromkeys(part.source for part in encoded))
    measured = yield over_files("measure", measure_file, encoded)
    sizes = {split: {name: size_of(measured, encoded, name, split) for name in names} for split in SPLITS}
    plan = make_plan(settings, sizes["train"])
    cells = weights_of_cells(settings, plan, measured, encoded)
    gated = yield Phase("gates", [gates_task(job, row, measured, encoded) for row in plan.rows])
    gates = {row.source: record.stated(Gates).gates for row, record in zip(plan.rows, gated, strict=True)}
    levelled = yield over_files("levels", level_file, encoded, gates=gates, cells=cells)
    bounded = yield Phase("bound", [bound_task(job, row, levelled, encoded, settings) for row in plan.rows])
    bounds = {row.source: bound_of(record) for row, record in zip(plan.rows, bounded, strict=True)}
    takes = plan_takes(settings, plan, bounds, gates, sizes["heldout"], names, cells)
    facts = tokenizer_facts(job)  # what its file says: to open it here would hold up all workers
    tokenizer_settings = resolved(job.settings.tokenizer, facts.as_json())
    dtype = token_dtype(facts.vocab).str
    spelling = {"tokenizer": str(tokenizer), "tokenizer_settings": tokenizer_settings}
    assigned = yield over_files(
        "assign", assign_file, encoded, dtype=dtype, takes=takes, eos_id=facts.eos_id, **spelling
    )
    written = {}
    for split in SPLITS:
        written[split] = yield write_phase(split, encoded, assigned, takes[split], dtype)
    check_tokens(assigned, written["train"])
    tables = {split: realised(split, names, sizes[split], written[split], plan, settings) for split in SPLITS}
    if settings.kind == "mixed":  # else the trainer takes what its weights say
        reasons = {name: bound.reason for name, bound in bounds.items()}
        shares = {row.source: row.proportion for row in plan.rows}
        add_realised(tables["train"], shares, {row.source: row.tokens for row in plan.rows}, reasons)
    arguments = {**spelling, "dtype": dtype}
    tasks = [
        Task(
            split,
            write_manifest,
            {**arguments, "split": split, "table": tables[split], "shards": entries_of(written[split])},
        )
        for split in SPLITS
    ]
    yield Phase("manifests", tasks)
    passing = [entry.path for record in (*measured, *levelled, *assigned) for entry in record.files]
    job.left.discard(job.folder, [job.folder / path for path in passing])
    pairs = zip(encoded, assigned, strict=True)
    cuts = {part.source: cut for part, record in pairs if (cut := record.stated(CutDocument).cut)}
    return MixFacts(
        notes=heldout_notes(settings.heldout_fraction, sizes) or None,
        planned=plan.table(),
        table=tables["train"],
        heldout=tables["heldout"],
        tokens=plan.tokens,
        misses=misses(tables["train"]),
        sizes={name: size.tokens for name, size in sizes["train"].items()},
        distinct_tokens={
            name: Assigned.total(record for record, _ in of_source(assigned, encoded, name)).distinct_tokens
            for name in names
        },
        cut=cuts,
        places={
            split: {
                name: [take.first_shard, take.num_shards, take.copies] for name, take in takes[split].items()
            }
            for split in SPLITS
        },
        cells={
            name: _taken(weights, [record for record, _ in of_source(assigned, encoded, name)])
            for name, weights in cells.items()
        },
        replaced_files=passing,
    )


def _taken(weights: Weights, assigned: Sequence[TaskRecord]) -> dict[str, dict[str, dict[str, float]]]:
    """The weight of each cell of a source, and the tokens of it that training shards hold."""
    taken = add_cells(record.stated(TakenCells).taken_cells or {} for record in assigned)
    return {
        topic: {
            bucket: {"weight": weight, "taken": taken.get(topic, {}).get(bucket, [0, 0])[1]}
            for bucket, weight in buckets.items()
        }
        for topic, buckets in weights.items()
    }


def heldout_notes(fraction: float, sizes: Mapping[str, Mapping[str, Size]]) -> list[str]:
    """Name the sources of which nothing is held out, though they have ten documents or more."""
    notes = []
    for name, held in sizes["heldout"].items():
        docs = sizes["train"][name].docs
        if fraction and not held.docs and docs >= FEW_DOCUMENTS:
            enough = min(0.5, 3 / docs)  # of which 95 % of draws hold one out at least
            notes.append(
                f"`{name}`: none of {docs:,} documents is held out at `mix.heldout_fraction` {fraction:g}, so"
                f" no loss is measured on it; {max(enough, 2 * fraction):.2g} would hold some out"
            )
    return notes


def plan_takes(
    settings: MixSettings,
    plan: MixPlan,
    bounds: Mapping[str, mixing.CutOff],
    gates: Mapping[str, Sequence[int]],
    heldout: Mapping[str, Size],
    names: Sequence[str],
    cells: Mapping[str, Weights],
) -> dict[str, dict[str, Take]]:
    """What each split takes of each source, and over which shards; sources the mixture leaves out take
    nothing.

    All sources share all shards, but in the training split of kind `sources`: there each has shards of its
    own.
    """
    total = {"train": plan.tokens, "heldout": sum(size.tokens for size in heldout.values())}
    held = {row.source: row.size.tokens for row in plan.rows}
    takes: dict[str, dict[str, Take]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        apart, first = split == "train" and settings.kind == "sources", 0
        for number, name in enumerate(names):
            tokens = held.get(name, 0) if apart else total[split]
            count = max(1, -(-tokens // settings.shard_tokens))
            bound = bounds.get(name, mixing.CutOff(-1))
            copies = mixing.most_copies(settings, name, bound) if split == "train" else 1
            takes[split][name] = Take(
                name, number, split, first, count, bound.level, copies,
                tuple(gates.get(name, ())), bound.cut_level, bound.cut_tokens,
                cells.get(name) if split == "train" else None,
            )  # fmt: skip
            first += count if apart else 0
    return takes
