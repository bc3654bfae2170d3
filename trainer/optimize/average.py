"""Averages of weights, as a checkpoint that `generate`, `evaluate` and `export-hf` read.

The last k checkpoints of a run (Izmailov et al. 2018; LAWA, Kaddour 2022), or the exponential average that
training keeps with `optimizer.ema_decay` (Polyak and Juditsky 1992).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.tokenizer_files import Reading
from gristmill.trainer.checkpoints.checkpoint import Checkpoints, Meta, find, load
from gristmill.trainer.evaluation.tokenizer import copy_tokenizer, find_tokenizer
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.ranks.parallel import Group

ALONE = Group(0, 1, torch.device("cpu"))


def average(run: Path, out: Path, last: int = 0) -> Path:
    """Write the mean of a run's last checkpoints, or its exponential average, as a run folder `out`."""
    newest = find(run)
    meta = Meta.read(newest)
    chosen = sorted((run / "checkpoints").glob("step-*"))[-last:] if last else [newest]
    if last and len(chosen) < last:
        raise UsageError(
            f"the run keeps {len(chosen)} checkpoints, {last} were asked for",
            where=str(run), hint="keep more with `save_every` and `keep`",
        )  # fmt: skip
    if not last and not meta.settings.get("optimizer", {}).get("ema_decay"):
        raise UsageError(
            "the run keeps no exponential average", where=str(run),
            hint="train with `optimizer.ema_decay`, or average its last checkpoints with --last",
        )  # fmt: skip
    prefix = "model" if last else "optimizer.ema"
    weight = torch.ones(())
    if not last:
        load(newest, {"optimizer.ema_weight": weight})
    state: dict[str, Tensor] = {}
    for folder in chosen:
        model = Model(Meta.read(folder).model)
        load(folder, {f"{prefix}.{name}": tensor for name, tensor in model.named_parameters()})
        for name, tensor in model.named_parameters():
            part = tensor.detach().double() / (
                len(chosen) * weight.double()
            )  # in fp64, so that the mean of equals is itself
            state[name] = state[name] + part if name in state else part
    written = {f"model.{name}": tensor.float() for name, tensor in state.items()}
    folder = Checkpoints(out, ALONE).save(written, dataclasses.replace(meta, permanent=True))
    tokenizer = find_tokenizer(newest)
    if tokenizer is not None:
        copy_tokenizer(tokenizer, Reading.beside(tokenizer), out)
    return folder
