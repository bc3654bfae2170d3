"""One measurement of `train.py`, in a process of its own: loops over one model shape, taking turns on the
same batches.

python benchmarks/train_measure.py CASE          CASE as JSON; the answer is the last line, as JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from train_baselines import plain_step, transformers_step

from gristmill.trainer.config import LossSettings, Settings
from gristmill.trainer.model.attention import DocumentMasks, document_kernel
from gristmill.trainer.model.decoder import Model, flops_per_token, num_parameters
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.loss import chunked_loss
from gristmill.trainer.model.memory import peak_memory
from gristmill.trainer.model.presets import preset
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.optimizer import Optimizer
from gristmill.trainer.optimize.spikes import SpikeFilter
from gristmill.trainer.ranks.devices import compute_dtype
from gristmill.trainer.ranks.parallel import Group, torch_device, wrap

Batch = tuple[Tensor, Tensor, Tensor]  # inputs, targets, positions on the CPU
Step = Callable[[Batch], Tensor]

LOSS_TOKENS, LOSS_WIDTH = 1024, 64  # of the loss whose memory is measured


@dataclass(frozen=True)
class Case:
    """What to measure; `loops` maps a name to which loop it is and the trainer's settings that differ."""

    preset: str
    rows: int
    vocab: int
    context: int = 0  # 0: the preset's
    threads: int = 0
    rounds: int = 9
    steps: int = 1  # per round
    loops: dict[str, dict[str, Any]] = field(default_factory=dict)


def run_apart(asked: Case | dict[str, Any]) -> dict[str, Any]:
    """Measure a case, or the loss's memory (kind, vocab), in a process of its own; `{"error": ...}` when it
    ended badly."""
    question = json.dumps(asdict(asked) if isinstance(asked, Case) else asked)
    done = subprocess.run(
        [sys.executable, __file__, question], stdout=subprocess.PIPE, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    found: dict[str, Any] = (
        json.loads(lines[-1]) if done.returncode == 0 and lines else {"error": f"exit code {done.returncode}"}
    )
    return found


def measure(case: Case) -> dict[str, Any]:
    """Return facts of the model and, per loop, the seconds of each round (wall and CPU), the peak memory and
    the last loss."""
    device = torch_device("auto")
    if case.threads:
        torch.set_num_threads(case.threads)
        if hasattr(
            os, "sched_setaffinity"
        ):  # the last cores: systems prefer the first ones for what else they do
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-case.threads :])
    changes = {"vocab": case.vocab} | ({"context": case.context} if case.context else {})
    config = preset(case.preset, **changes)
    dtype = compute_dtype("auto", device)
    steps = {name: _step(config, device, dtype, dict(how)) for name, how in case.loops.items()}
    found: dict[str, Any] = {name: {"seconds": [], "cpu_seconds": []} for name in steps}
    draw = torch.Generator().manual_seed(0)
    names = list(steps)
    for turn in range(-2, case.rounds):  # the first two warm up
        batches = [_batch(config, case.rows, device, draw) for _ in range(case.steps)]
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = time.perf_counter(), time.process_time()
            losses = [steps[name](batch) for batch in batches]
            loss = float(losses[-1])  # waits for the device
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            found[name]["loss"] = loss
            if turn >= 0:
                found[name]["seconds"].append(wall)
                found[name]["cpu_seconds"].append(cpu)
    if len(names) == 1:
        found[names[0]]["peak_bytes"] = peak_memory(device)
    with torch.device("meta"):
        model = Model(config)
    return describe(device) | {
        "preset": case.preset, "dtype": str(dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
        "rows": case.rows, "context": config.context, "vocab": config.vocab, "steps": case.steps,
        "parameters": num_parameters(model), "flops_per_token": flops_per_token(model), "loops": found,
    }  # fmt: skip


def describe(device: torch.device) -> dict[str, Any]:
    """Name the hardware and, where it is known, its dense bf16 peak."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "peak_flops": Group(0, 1, device).peak_flops}
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            name = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        name = "CPU"
    return {"device": f"{name}, {torch.backends.cpu.get_cpu_capability()}", "peak_flops": None}


def _step(config: ModelConfig, device: torch.device, dtype: torch.dtype, how: dict[str, Any]) -> Step:
    loop, compiled = how.pop("loop"), how.pop("compiled")
    if loop == "gristmill":
        return ours_step(config, device, dtype, compiled, **how)
    build = plain_step if loop == "plain loop" else transformers_step
    step = build(config, device, dtype, compiled)
    return lambda batch: step(batch[0], batch[1])


def ours_step(
    config: ModelConfig,
    device: torch.device,
    dtype: torch.dtype,
    compiled: bool,
    *,
    compile_loss: bool = True,
    documents: bool = False,
    **changes: Any,
) -> Step:
    """Return the trainer's step, as `Training` takes it; `changes` are its settings."""
    settings = Settings.from_dict(
        {"compile": "on" if compiled else "off", "optimizer": {"lr": 1e-4}} | changes
    )
    with torch.device("meta"):
        model = Model(config)
    model.to_empty(device=device)
    init_weights(model, 0)
    model.dtype, model.recompute = dtype, settings.checkpointing
    for block in model.blocks:
        block.selective = settings.checkpointing == "selective"
    module = wrap(model, settings, Group(0, 1, device))
    model.fuse_loss = compiled and compile_loss
    optimizer = Optimizer(model, settings.optimizer, dtype)
    spikes = SpikeFilter(settings.spike_window, settings.spike_sigmas, device)
    masks = (
        DocumentMasks(document_kernel(settings.attention, device, dtype, config.head_dim), device)
        if documents
        else None
    )

    def step(batch: Batch) -> Tensor:
        inputs, targets, positions = batch
        mask = masks(positions) if masks else None
        places = positions.to(device, non_blocking=True) if masks else None
        loss = module(inputs, places, targets, mask=mask, scale=1 / targets.numel(), loss=settings.loss)
        loss.total.backward()
        mean, norm = loss.nll.detach() / targets.numel(), optimizer.grad_norm()
        optimizer.step(1.0, norm, spikes.judge(mean, norm))
        return mean

    return step


def _batch(config: ModelConfig, rows: int, device: torch.device, draw: torch.Generator) -> Batch:
    """Draw tokens, and documents whose lengths are spread evenly up to the context."""
    tokens = torch.randint(0, config.vocab, (rows, config.context + 1), generator=draw)
    begins = torch.rand(rows, config.context, generator=draw) < 2 / config.context
    begins[:, 0] = True
    place = torch.arange(config.context).expand(rows, -1)
    positions = place - torch.where(begins, place, 0).cummax(1).values
    return tokens[:, :-1].to(device), tokens[:, 1:].to(device), positions


def loss_memory(kind: str, vocab: int) -> dict[str, float]:
    """Return the bytes that the loss of 1,024 tokens adds to the process, forward and backward."""
    torch.set_num_threads(1)
    hidden = torch.randn(LOSS_TOKENS, LOSS_WIDTH).requires_grad_()
    weight = torch.randn(vocab, LOSS_WIDTH).mul_(0.02).requires_grad_()
    targets = torch.randint(0, vocab, (LOSS_TOKENS,))
    before = peak_memory(torch.device("cpu"))
    if kind == "chunked":
        chunked_loss(hidden, weight, targets, vocab, 1.0, LossSettings()).total.backward()
    else:
        torch.nn.functional.cross_entropy((hidden @ weight.t()).float(), targets, reduction="sum").backward()
    return {
        "bytes": max(0, peak_memory(torch.device("cpu")) - before - weight.nbytes)
    }  # its gradient is no cost of the loss


def main() -> None:
    asked = json.loads(sys.argv[1])
    try:
        found = loss_memory(**asked) if "kind" in asked else measure(Case(**asked))
    except torch.OutOfMemoryError:
        found = {"error": "out of memory"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
