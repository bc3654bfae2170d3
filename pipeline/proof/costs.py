"""What an ablation or a ladder will cost, said before it begins."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.manifest import finished_keys
from gristmill.pipeline.look.printing.figures import short
from gristmill.pipeline.proof.ablation import Asked, plan_of, prepare, train_settings, trial_keys
from gristmill.pipeline.proof.trials import FOLDER
from gristmill.pipeline.proof.variants import Variant
from gristmill.pipeline.run.narration.progress import spell_seconds
from gristmill.pipeline.run.runner import states
from gristmill.tokenize.settings import MixSettings, TokenizerSettings

EFFICIENCY = 0.3  # of a core's matrix products that training small models reaches (measured: .2 to .4)
_GPU_EFFICIENCY = 0.2


def training_flops(settings: Mapping[str, Any], vocab: int, tokens: float) -> tuple[int, float]:
    """The parameters of a model and the FLOPs of training it on so many tokens."""
    import torch

    from gristmill.trainer.config import Settings
    from gristmill.trainer.model.decoder import Model, flops_per_token, num_parameters

    given = Settings.from_dict({"shards": "-", "run": "-", **settings}).model
    with torch.device("meta"):
        model = Model(dataclasses.replace(given, vocab=given.vocab or vocab))
    return num_parameters(model), float(flops_per_token(model)) * tokens


def core_flops() -> float:
    """Measure what one core of this machine multiplies in a second, in a tenth of a second."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a = torch.from_numpy(np.ones((512, 512), np.float32))
        a @ a
        began, rounds = time.perf_counter(), 0
        while time.perf_counter() - began < 0.1:
            a @ a
            rounds += 1
        return 2 * 512**3 * rounds / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)


def tell_cost(
    what: str, count: int, done: int, flops: float, workers: int | None, device: str = "auto"
) -> str:
    """Spell the cost of the trainings that are still to run, `flops` being of all of these together."""
    left = count - done
    said = f"{what}: {count} trainings, {done} done, {left} to run"
    if not left:
        return said
    cpus = min(left, workers or os.cpu_count() or 1)
    from gristmill.trainer.ranks.parallel import torch_device

    if torch_device(device).type == "cuda":
        import torch

        from gristmill.trainer.ranks.devices import peak_flops

        peak = peak_flops(torch.cuda.get_device_name())
        seconds = flops / (peak * _GPU_EFFICIENCY) if peak else 0.0
        where = "on this GPU"
    else:
        seconds = flops / (core_flops() * EFFICIENCY * cpus)
        where = f"on {cpus} {'CPU' if cpus == 1 else 'CPUs'} as busy as now"
    about = f", about {spell_seconds(seconds)} {where}" if seconds else ""
    return f"{said}: {short(flops)}FLOPs{about}"


def costs(variants: Sequence[Variant], asked: Asked, out: Path, workers: int | None) -> Iterator[str]:
    """Say what an ablation will do: steps of data, shared ones counted once, and trainings."""
    merged = plan_of(variants, asked)
    found = states(merged.plan, out)
    left = [state for state in found if state.state != "done"]
    alone = sum(map(len, merged.names.values()))
    yield (
        f"{len(variants)} variants of {alone} steps in all; {len(found)} distinct ones,"
        f" {len(found) - len(left)} done, {len(left)} to run"
    )
    if not asked.train:
        return
    recipe = variants[0].recipe
    settings = train_settings(recipe)
    tokenizer, mix = recipe.section(TokenizerSettings), recipe.section(MixSettings)
    count, done, tokens = len(variants) * asked.seeds, 0, asked.tokens or (mix.tokens if mix else None)
    if not left:
        outcome = prepare(variants, merged, {s.step.name: s.manifest for s in found if s.manifest}, asked)
        keys = [key for key, _ in trial_keys(outcome, asked).values()]
        count, tokens = len(set(keys)), outcome.tokens
        done = len(finished_keys(out / FOLDER, "train") & set(keys))
    if tokens is None:
        yield f"{count} trainings of one pass of the recipe's mixture each, whose tokens are not counted yet"
        return
    parameters, flops = training_flops(settings, tokenizer.vocab_size if tokenizer else 0, tokens)
    said = f"models of {short(parameters)} parameters on {short(tokens)} tokens"
    yield tell_cost(said, count, done, flops * (count - done), workers, str(settings.get("device", "auto")))
