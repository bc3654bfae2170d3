"""Ablate a recipe: prepare every variant's data in one plan, train and score, lay the scores side by side.

Variants share every step that they have in common; all models see the same number of tokens, in one
tokenizer; targets are sets that no variant trains on, and the documents that all variants hold out. What was
done is found by its key: a second call with one more variant runs only that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.manifest import Manifest, TaskRecord
from gristmill.pipeline.proof.merging import Merged, merge
from gristmill.pipeline.proof.scoring import PROXIES, Judged, find_leaks, score_proxies
from gristmill.pipeline.proof.texts import PREFIX, Amount, Targets
from gristmill.pipeline.proof.trials import (
    Takes,
    Trials,
    key_of,
    one_engine,
    open_trials,
    run_of,
    scoring,
    training,
)
from gristmill.pipeline.proof.variants import Variant
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.engines import Engines
from gristmill.pipeline.run.job import Task
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.trainer.config import Settings

SMALL_MODEL: dict[str, Any] = {  # about 2 M parameters at 8,192 pieces: minutes on one core
    "model": {"num_layers": 3, "width": 192, "num_heads": 6, "ffn": 512, "context": 256},
    "optimizer": {"name": "muon", "lr": 0.006},
    "batch": 4,
}
PROXY_FRACTION = 0.5  # of the reference's tokens, in each of a proxy's draws
PROXY_TOKENS = 300_000  # at most: about a second
_PLACEBO_SEEDS = 1000  # added to a placebo's: never another variant's


@dataclass(frozen=True, slots=True)
class Asked:
    """What an ablation is to measure, and how much of it."""

    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by name, paths
    seeds: int = 3
    tokens: int | None = None  # None: as the recipe's training says, else one pass of the recipe's mixture
    proxies: bool = True
    train: bool = True
    at_once: int | None = None
    amount: Amount = field(default_factory=Amount)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A variant's data: its steps by their own names, the mixture, and how often a training repeats it."""

    variant: Variant
    steps: Mapping[str, Manifest]
    tokens: int
    epochs: float

    @property
    def mix(self) -> Manifest:
        return self.steps["mix"]

    def shards(self, split: str) -> str:
        return str(self.mix.folder / "shards" / split)

    def seeds(self, count: int) -> list[int]:
        first = _PLACEBO_SEEDS if self.variant.is_placebo else 0
        return [first + number for number in range(count)]


@dataclass(slots=True)
class Outcome:
    """All that was measured: for each measure and variant one Judged a seed, and each trial's run folder."""

    prepared: list[Prepared]
    tokens: int
    judged: dict[str, dict[str, list[list[dict[str, Any]]]]] = field(default_factory=dict)
    runs: dict[str, list[Path]] = field(default_factory=dict)
    leaked: set[str] = field(default_factory=set)
    parameters: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


def plan_of(variants: Sequence[Variant], asked: Asked) -> Merged:
    """The data steps of all variants and targets as one plan; lists inputs, reads none.

    Raises UsageError for a target that a variant trains on by its path, and for a mixture that the trainer
    would repeat by its own caps.
    """
    _check_targets(variants, asked)
    for variant in variants:
        if getattr(variant.recipe, "mix").kind != "mixed":  # noqa: B009  # a field of the made model
            raise UsageError(f"`{variant.name}`: an ablation needs `mix.kind: mixed`", hint="leave it out")
    return merge(variants, _target_recipes(variants[0].recipe, asked), f"{variants[0].recipe.name}-ablation")


def measure(
    variants: Sequence[Variant],
    asked: Asked,
    out: Path,
    engine: EngineSettings | Engines,
    progress: Progress,
) -> Outcome:
    """Run all that is not done: data, proxies, trainings, scores. Raises what `run_plan` raises."""
    merged, out = plan_of(variants, asked), out.absolute()
    with one_engine(engine, out, progress) as engines:
        result = run_plan(merged.plan, out, engines, progress)
        targets = Targets.of(result.manifests, asked.targets, asked.amount)
        found = prepare(variants, merged, result.manifests, asked)
        with open_trials(out, engines, progress, variants[0].recipe.seed) as trials:
            _leaks(trials, found, targets)
            if asked.proxies:
                _proxies(trials, found, targets, asked)
            if asked.train:
                _train(trials, found, targets, asked)
    return found


def prepare(
    variants: Sequence[Variant], merged: Merged, manifests: Mapping[str, Manifest], asked: Asked
) -> Outcome:
    """Find each variant's own steps, and the tokens that all are trained on."""
    steps = {
        variant.name: {own: manifests[name] for own, name in merged.names[variant.name].items()}
        for variant in variants
    }
    settings = Settings.from_dict({"shards": "-", "run": "-", **train_settings(variants[0].recipe)})
    step_tokens = settings.batch * settings.model.context
    reference = steps[variants[0].name]["mix"].stated(MixFacts).tokens
    tokens = asked.tokens or (settings.steps * step_tokens if settings.steps else reference)
    tokens = max(1, round(tokens / step_tokens)) * step_tokens
    prepared = []
    for variant in variants:
        own = steps[variant.name]["mix"].stated(MixFacts).tokens
        if not own:
            raise UsageError(f"the variant `{variant.name}` keeps no token to train on")
        prepared.append(Prepared(variant, steps[variant.name], own, tokens / own))
    return Outcome(prepared, tokens, settings=train_settings(variants[0].recipe))


def train_settings(recipe: Recipe) -> dict[str, Any]:
    """The trainer's settings of a recipe; the small model's where it says none."""
    given = getattr(recipe, "train", None)
    settings = dict(given) if given is not None else dict(SMALL_MODEL)
    if settings.get("device", "auto") != "cuda":
        settings.setdefault("threads", 1)
    return settings


def trials_of(found: Outcome, asked: Asked) -> Iterator[tuple[Prepared, int]]:
    """Every variant with each of its seeds, in the order of the tables."""
    for one in found.prepared:
        for seed in one.seeds(asked.seeds):
            yield one, seed


def _trial(prepared: Prepared, seed: int, tokens: int) -> tuple[str, dict[str, Any]]:
    settings = train_settings(prepared.variant.recipe)
    whole = Settings.from_dict({"shards": "-", "run": "-", **settings})
    steps = max(1, round(tokens / (whole.batch * whole.model.context)))
    settings = {**settings, "seed": seed, "steps": steps}
    key = key_of(kind="train", settings=settings, shards=prepared.mix.content_digest)
    return key, {**settings, "shards": prepared.shards("train")}


def trial_keys(found: Outcome, asked: Asked) -> dict[tuple[str, int], tuple[str, dict[str, Any]]]:
    """The key and the trainer's settings of every training, by variant and seed."""
    return {
        (one.variant.name, seed): _trial(one, seed, found.tokens) for one, seed in trials_of(found, asked)
    }


def _train(trials: Trials, found: Outcome, targets: Targets, asked: Asked) -> None:
    keys = trial_keys(found, asked)
    tasks = {key: training(key, settings) for key, settings in keys.values()}
    takes = Takes.of(found.settings)
    records = trials.run("train", tasks, takes, window=asked.at_once, saves=True)
    found.parameters = int(next(iter(records.values())).extra["parameters"])
    scores: dict[str, Task] = {}
    named: dict[tuple[str, int], str] = {}
    for one, seed in trials_of(found, asked):
        key, settings = keys[one.variant.name, seed]
        found.runs.setdefault(one.variant.name, []).append(run_of(trials.out, key))
        score = scoring(trials, key, settings, one.shards("heldout"), targets)
        scores[score.key], named[one.variant.name, seed] = score, score.key
    judged = trials.run("score", scores, takes)
    _keep(found, "trained", named, judged, lambda record: record.stated(Judged).targets)


def _proxies(trials: Trials, found: Outcome, targets: Targets, asked: Asked) -> None:
    reference = found.prepared[0]
    tokens = min(PROXY_TOKENS, max(1, int(PROXY_FRACTION * reference.tokens)))
    tasks: dict[str, Task] = {}
    named: dict[tuple[str, int], str] = {}
    for one, seed in trials_of(found, asked):
        facts = {"tokens": tokens, "draw": seed, **targets.amount.as_arguments()}
        key = key_of(
            kind="proxy",
            shards=one.mix.content_digest,
            reference=reference.mix.content_digest,
            targets=targets.digests,
            **facts,
        )
        arguments = {
            "shards": one.shards("train"),
            "reference": reference.shards("train"),
            "heldout": one.shards("heldout"),
            "targets": targets.paths,
            **facts,
        }
        tasks[key], named[one.variant.name, seed] = Task(key, score_proxies, arguments), key
    records = trials.run("proxy", tasks)
    for name in PROXIES:
        _keep(found, name, named, records, functools.partial(_measured, name))


def _measured(name: str, record: TaskRecord) -> list[dict[str, Any]]:
    return record.stated(Judged).measures[name]


def _leaks(trials: Trials, found: Outcome, targets: Targets) -> None:
    tasks = {}
    facts = targets.amount.as_arguments()
    for one in found.prepared:
        key = key_of(kind="leaks", shards=one.mix.content_digest, targets=targets.digests, **facts)
        arguments = {"shards": one.shards("train"), "targets": targets.paths, **facts}
        tasks[key] = Task(key, find_leaks, arguments)
    for record in trials.run("leaks", tasks).values():
        found.leaked |= set(record.stated(Judged).leaked)


def _keep(
    found: Outcome,
    measure_name: str,
    named: Mapping[tuple[str, int], str],
    records: Mapping[str, TaskRecord],
    rows: Any,
) -> None:
    table: dict[str, list[list[dict[str, Any]]]] = {}
    for (variant, _), key in named.items():
        table.setdefault(variant, []).append(rows(records[key]))
    found.judged[measure_name] = table


def _target_recipes(reference: Recipe, asked: Asked) -> list[Recipe]:
    return [
        make_recipe(
            {
                "name": reference.name,
                "seed": reference.seed,
                "sources": {f"{PREFIX}{name}": {"inputs": list(paths), "filter": False}},
            }
        )
        for name, paths in asked.targets.items()
    ]


def _check_targets(variants: Sequence[Variant], asked: Asked) -> None:
    for name in asked.targets:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"a target's name may hold letters, digits, - and _, got `{name}`")
    for variant in variants:
        inputs = {path for source in variant.recipe.sources.values() for path in source.inputs}
        for name, paths in asked.targets.items():
            both = sorted(inputs & set(paths))
            if both:
                raise UsageError(
                    f"the target `{name}` is `{both[0]}`, which the variant `{variant.name}` trains on",
                    hint="name a set that no variant reads",
                )
