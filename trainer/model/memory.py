"""What a run takes in memory, and what would fit when there is too little."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator

import torch

from gristmill.errors import StepFailed
from gristmill.trainer.config import Settings
from gristmill.trainer.model.architectures.table import architecture
from gristmill.trainer.model.decoder import Model, num_parameters
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks.parallel import Group, is_sharded

LEVELS = ("none", "selective", "full")
ALONE = Group(0, 1, torch.device("cpu"))
MARGIN = (
    0.5  # of what is free; the rest goes to gradients on their way, fragments, the loss and casts of weights
)


def peak_memory(device: torch.device) -> int:
    """Return the peak in bytes: of the device's allocator on CUDA, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free_memory(device: torch.device) -> int:
    """Return what a run may still take, in bytes: of the GPU, or of this machine under the process's own
    limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 40
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or not os.path.exists("/proc/self/statm"):  # noqa: PTH110
        return free
    with open("/proc/self/statm") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return min(free, limit - used)


def sample_bytes(config: ModelConfig, itemsize: int, recompute: str) -> int:
    """Return about what the activations of one sample take between forward and backward.

    Per token and layer: the residual stream twice, two normed copies, queries, keys and values before and
    after rotation, what attention returns and its projection; gate, up, their product and its parts.
    Recomputing keeps one stream a layer, selectively besides it what matrix products and attention give.
    """
    kv = config.num_kv_heads * config.head_dim
    passed = config.experts_per_token if config.num_experts else 1
    gated = architecture(config).traits.gated
    per_token = 9 * config.width + 4 * kv + (5 if gated else 2) * config.ffn * passed
    if recompute == "full":
        return config.context * itemsize * (config.num_layers * config.width + per_token)
    if recompute == "selective":
        kept = 5 * config.width + 2 * kv + (2 if gated else 1) * config.ffn * passed
        return config.context * itemsize * (config.num_layers * kept + per_token)
    return config.context * itemsize * config.num_layers * per_token


def state_bytes(settings: Settings, config: ModelConfig, group: Group, itemsize: int) -> int:
    """Return what weights, gradients and moments, and an average of weights, take on one rank, and what of
    others' it gathers.

    Sharded, a rank holds its part of all four, two layers and the embedding gathered in the type of the
    computation, and with `mesh.reduce: step` and several parts the whole gradient in fp32.
    """
    with torch.device("meta"):
        model = Model(config)
    count = num_parameters(model)
    outside = config.padded_vocab * config.width * (1 if config.tied else 2)
    whole_state = count * (16 + (4 if settings.optimizer.ema_decay else 0))
    if settings.optimizer.name == "muon":  # one moment of what lies in the blocks
        whole_state -= 4 * max(0, count - outside)
    if not is_sharded(model, settings, group):
        return whole_state
    gathered = (2 * (count - outside) // config.num_layers + outside) * itemsize
    rows = settings.batch // group.world
    parts = -(-rows // (settings.micro_batch or rows))
    whole = 4 * count if settings.mesh.reduce == "step" and parts > 1 else 0
    return whole_state // (settings.mesh.shard_ranks or group.world) + gathered + whole


@contextlib.contextmanager
def explain_out_of_memory(
    settings: Settings, config: ModelConfig, group: Group, itemsize: int
) -> Iterator[None]:
    """Turn an allocator's error into one that says what would fit."""
    free = free_memory(group.device)
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and not any(
            part in str(error) for part in ("not enough memory", "allocate memory")
        ):
            raise
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StepFailed(
            f"out of memory on {group.device}: {first_line}",
            where=settings.run,
            hint=advice(settings, config, free, itemsize, group),
        ) from error


def advice(settings: Settings, config: ModelConfig, free: int, itemsize: int, group: Group = ALONE) -> str:
    """Say what a run takes beside what is free, and the largest micro-batch that would fit."""
    state = state_bytes(settings, config, group, itemsize)
    one = sample_bytes(config, itemsize, settings.checkpointing)
    now = settings.micro_batch or max(1, settings.batch // group.world)
    fit = int((MARGIN * free - state) / one)
    where = "" if group.world == 1 else f" on each of {group.world} ranks"
    taken = (
        f"weights, gradients and moments take {state / 2**30:.2f} GiB{where}, a sample about"
        f" {one / 2**30:.3f}"
    )
    gib = f"{taken}, free were {free / 2**30:.2f}"
    if fit >= 1:
        return f"set micro_batch={min(fit, max(1, now // 2))} (now {now}; same result, accumulated): {gib}"
    if settings.mesh.reduce == "step" and group.world > 1 and settings.parallel != "ddp":
        return f"set mesh.reduce=part, which holds no whole gradients: {gib}"
    for level in LEVELS[LEVELS.index(settings.checkpointing) + 1 :]:
        if state < free and MARGIN * free >= state + sample_bytes(config, itemsize, level):
            return f"set checkpointing={level}: {gib}"
    if state < free and settings.checkpointing != "full":
        return f"set checkpointing=full or a shorter model.context (now {config.context}): {gib}"
    return f"a smaller model, or more GPUs with parallel=fsdp: {gib}"
