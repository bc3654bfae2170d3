"""The model of a run: its shape, and its weights where they will stay, compiled and spread over the ranks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import nn

from gristmill.errors import InputError, UsageError
from gristmill.trainer.checkpoints.hf import load_weights, start_config
from gristmill.trainer.config import Settings
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks.devices import compute_dtype
from gristmill.trainer.ranks.parallel import Group, is_sharded, wrap


def model_config(settings: Settings, shards: ShardSet) -> ModelConfig:
    """Return the model's shape: as the settings or the folder to start from say, with the shards'
    vocabulary."""
    if shards.num_tokens == 0:
        raise InputError(
            "the shard set is empty: no tokens", where=settings.shards, hint="check what the mixture kept"
        )
    config = start_config(settings)[0] if settings.init else settings.model
    scaling = config.rope_scaling
    if scaling.kind in ("yarn", "llama3") and not scaling.original_context:
        raise UsageError(
            f"`model.rope_scaling` {scaling.kind} needs `original_context`: the context before",
            hint="say model.rope_scaling.original_context",
        )
    if config.vocab == 0:
        return dataclasses.replace(config, vocab=shards.vocab)
    if config.vocab < shards.vocab:
        raise UsageError(
            f"the model's vocabulary is {config.vocab}, the shards' {shards.vocab}:"
            " some ids would have no embedding",
            where=str(shards.folder), hint="leave model.vocab out: it is taken from the shards",
        )  # fmt: skip
    return config


def build(settings: Settings, config: ModelConfig, group: Group, drawn: bool) -> tuple[Model, nn.Module]:
    """Return the model and the module to call; weights are `drawn`, or read, once they lie where they will
    stay."""
    device = group.device
    with torch.device("meta"):
        model = Model(config)
    model.dtype, model.recompute = compute_dtype(settings.dtype, device), settings.checkpointing
    for block in model.blocks:
        block.selective = settings.checkpointing == "selective"  # type: ignore[assignment]
    sharded = is_sharded(model, settings, group)
    module = wrap(model, settings, group) if sharded else model
    model.to_empty(device=device)
    if drawn and settings.init:
        load_weights(Path(settings.init), model)
    elif drawn:
        init_weights(model, settings.seed, settings.optimizer.mup_base_width)
    # replicas copy rank 0's weights, so they are wrapped last
    return model, module if sharded else wrap(model, settings, group)
