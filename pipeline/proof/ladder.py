"""A ladder: sizes by one rule, each with a sweep of tokens from one trunk, scored on targets.

WSD gives the sweep from one run a size (Hagele et al. 2024): a trunk of constant rate, and at each number of
tokens a branch that decays to 0. Width says the rest: layers width / 64, heads of 32, a feed-forward of
8/3 width; rate and batch follow the compute as DeepSeek-AI 2024 measured, lr ~ C^-0.125 and batch ~ C^0.327,
from the recipe's own values at the smallest size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.manifest import Manifest
from gristmill.pipeline.proof.ablation import Asked, plan_of, train_settings
from gristmill.pipeline.proof.laws import FLOPS_PER_TOKEN
from gristmill.pipeline.proof.scoring import Judged
from gristmill.pipeline.proof.texts import Targets
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
from gristmill.pipeline.run.engines import Engines
from gristmill.pipeline.run.job import Task
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.trainer.config import ModelConfig
from gristmill.trainer.data.shards import ShardSet

DECAY = 0.2  # of a run's steps (WSD)
_HEAD = 32
_ASPECT = 64  # width of a layer
_RATE_POWER, _BATCH_POWER = -0.125, 0.3271  # DeepSeek-AI 2024, section 3.2
LEAST_WIDTH = 32


@dataclass(frozen=True, slots=True)
class Rung:
    """One size: the trainer's settings of its trunk, counts of parameters, steps to the shortest branch."""

    width: int
    settings: Mapping[str, Any]
    parameters: int
    no_embedding: int
    matrices: int  # that a token is multiplied with: 6 N's N
    unit_steps: int
    step_tokens: int


def shape(width: int, context: int, vocab: int = 0) -> ModelConfig:
    """The shape of a width; raises UsageError for one that does not split into heads of 32."""
    if width < LEAST_WIDTH or width % _HEAD:
        raise UsageError(f"a width must be a multiple of {_HEAD}, at least {LEAST_WIDTH}; got {width}")
    ffn = -(-8 * width // 3 // 32) * 32
    layers = max(1, width // _ASPECT)
    return ModelConfig(
        vocab=vocab, num_layers=layers, width=width, num_heads=width // _HEAD, ffn=ffn, context=context
    )


def rungs(
    base: Mapping[str, Any], vocab: int, widths: Sequence[int], tokens: int, multiples: Sequence[int]
) -> list[Rung]:
    """The sizes of a ladder; `tokens` are those of the shortest branch, `multiples` the branches in it."""
    if sorted(multiples) != list(multiples) or multiples[0] < 1 or len(set(multiples)) < len(multiples):
        raise UsageError(f"`--multiples` must rise from 1, got {','.join(map(str, multiples))}")
    given = {key: value for key, value in base.items() if key not in ("model", "steps", "seed")}
    context = int(base.get("model", {}).get("context", 256))
    optimizer, batch = dict(base.get("optimizer", {})), int(base.get("batch", 4))
    rate, found, smallest = float(optimizer.get("lr", 1e-3)), list[Rung](), 0.0
    for width in sorted(widths):
        config = shape(width, context, vocab)
        whole, without, matrices = counts(config)
        flops = FLOPS_PER_TOKEN * matrices * tokens * multiples[-1]
        smallest = smallest or flops
        own_batch = max(1, round(batch * (flops / smallest) ** _BATCH_POWER))
        step_tokens = own_batch * context
        unit = max(1, round((1 - DECAY) * tokens / step_tokens))
        settings = {
            **given,
            "model": {
                k: v for k, v in dataclasses.asdict(config).items() if k not in ("vocab", "rope_scaling")
            },
            "optimizer": {
                **optimizer,
                "lr": rate * (flops / smallest) ** _RATE_POWER,
                "schedule": "constant",
                "warmup_steps": max(1, unit // 10),
            },
            "batch": own_batch,
            "steps": unit * multiples[-1],
            "save_every": unit,
            "ephemeral_every": 0,
        }
        found.append(Rung(width, settings, whole, without, matrices, unit, step_tokens))
    return found


def counts(config: ModelConfig) -> tuple[int, int, int]:
    """Parameters in all, without embeddings, and those that a token is multiplied with (head included)."""
    import torch

    from gristmill.trainer.model.decoder import Model, num_parameters

    with torch.device("meta"):
        model = Model(config)
    whole = num_parameters(model)
    table = config.vocab * config.width
    return whole, whole - table * (1 if config.tied else 2), whole - (0 if config.tied else table)


def climb(
    variant: Variant,
    asked: Asked,
    widths: Sequence[int],
    tokens: int,
    multiples: Sequence[int],
    out: Path,
    engine: EngineSettings | Engines,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Run all that is not done and return the ladder's rows: run, N, D, C, and bits per byte by target."""
    merged, out = plan_of([variant], asked), out.absolute()
    base = train_settings(variant.recipe)
    with one_engine(engine, out, progress) as engines:
        manifests = run_plan(merged.plan, out, engines, progress).manifests
        mix, targets = manifests["mix"], Targets.of(manifests, asked.targets, asked.amount)
        steps = rungs(base, ShardSet(mix.folder / "shards" / "train").vocab, widths, tokens, multiples)
        with open_trials(out, engines, progress, variant.recipe.seed) as trials:
            judged = _judged(trials, steps, multiples, mix, targets, base, asked.at_once)
    facts = mix.stated(MixFacts)
    unique = sum(facts.distinct_tokens.values()) or facts.tokens
    found = [
        _row(rung, multiple, judged[rung.width, multiple], unique) for rung in steps for multiple in multiples
    ]
    if told := repeating(found, unique):
        progress.note(told)
    return found


def repeating(found: Sequence[Mapping[str, Any]], unique: int) -> str | None:
    """Say where a ladder's D is not of new tokens alone, which the laws take it for."""
    most = max(row["epochs"] for row in found)
    if most <= 1:
        return None
    return (
        f"the longest branches go {most:.2f} times through the mixture's {unique:,} tokens: D counts"
        " repeated ones as if they were new"
    )


def _judged(
    trials: Trials,
    steps: Sequence[Rung],
    multiples: Sequence[int],
    mix: Manifest,
    targets: Targets,
    base: Mapping[str, Any],
    at_once: int | None,
) -> dict[tuple[int, int], Judged]:
    """Train trunks and branches and score these, by width and multiple."""
    train, heldout = (mix.folder / "shards" / split for split in ("train", "heldout"))
    takes = Takes.of(base)
    trunks, tasks = {}, {}
    for rung in steps:
        settings = {**rung.settings, "seed": 0}
        key = key_of(kind="trunk", settings=settings, shards=mix.content_digest)
        trunks[rung.width] = key
        tasks[key] = training(key, {**settings, "shards": str(train)})
    trials.run("trunk", tasks, takes, window=at_once, saves=True)
    branches, tasks = {}, {}
    for rung in steps:
        for multiple in multiples:
            key, task = _branch(trials, rung, trunks[rung.width], multiple, train)
            branches[rung.width, multiple], tasks[key] = key, task
    trials.run("branch", tasks, takes, window=at_once, saves=True)
    scored = {at: scoring(trials, key, base, str(heldout), targets) for at, key in branches.items()}
    records = trials.run("score", {task.key: task for task in scored.values()}, takes)
    return {at: records[task.key].stated(Judged) for at, task in scored.items()}


def _branch(trials: Trials, rung: Rung, trunk: str, multiple: int, shards: Path) -> tuple[str, Task]:
    at = rung.unit_steps * multiple
    decay = max(1, round(at * DECAY / (1 - DECAY)))
    key = key_of(kind="branch", trunk=trunk, step=at, steps=decay)
    settings = {
        "branch": f"{run_of(trials.out, trunk)}@{at}",
        "shards": str(shards),
        "steps": decay,
        "optimizer": {"schedule": "decay", "warmup_steps": 0},
        "save_every": 0,
    }
    return key, training(key, settings)


def _row(rung: Rung, multiple: int, judged: Judged, unique: int) -> dict[str, Any]:
    at = rung.unit_steps * multiple
    steps = at + max(1, round(at * DECAY / (1 - DECAY)))
    tokens = steps * rung.step_tokens
    row: dict[str, Any] = {
        "run": f"width-{rung.width}",
        "N": rung.parameters,
        "N_no_embedding": rung.no_embedding,
        "N_matrices": rung.matrices,
        "D": tokens,
        "C": FLOPS_PER_TOKEN * rung.matrices * tokens,
        "epochs": round(tokens / unique, 4),
    }
    losses = {one["target"]: sum(one["bits"]) / sum(one["bytes"]) for one in judged.targets}
    row["loss"] = sum(losses.values()) / len(losses) if losses else float("nan")
    return row | {f"loss_{name.replace(' ', '-')}": value for name, value in losses.items()}
