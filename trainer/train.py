"""Train a model on token shards; resume it to the bit.

    python -m gristmill.trainer.train --shards mix --out train/a --set model.preset=llama-15m --set steps=200
    torchrun --nproc-per-node 8 -m gristmill.trainer.train --shards mix --out train/a

From Python, in a process of its own (the trainer imports torch and numpy only):

    from gristmill.trainer.train import run
    summary = run({"shards": "mix", "run": "train/a", "model": {"preset": "llama-15m"}, "steps": 200})

It writes `log.jsonl`, `checkpoints/`, `summary.json` and the tokenizer into the run folder. SIGTERM and
SIGINT finish the step, save a checkpoint and raise Interrupted (exit 143 or 130); the same call continues. An
ended run is not redone.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.trainer.checkpoints.branch import with_trunk
from gristmill.trainer.checkpoints.hf import start_config
from gristmill.trainer.checkpoints.keeping import Keeper
from gristmill.trainer.config import Settings
from gristmill.trainer.data.batch import TokenBatch
from gristmill.trainer.data.course import Course
from gristmill.trainer.data.loader import BatchLoader, prefetch
from gristmill.trainer.data.remote import open_shards
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.during import Evaluations
from gristmill.trainer.logs.log import Log
from gristmill.trainer.logs.meter import Meter
from gristmill.trainer.logs.profiling import Profiler, memory_snapshot
from gristmill.trainer.logs.progress import Progress, StepResult
from gristmill.trainer.logs.sinks import open_sinks
from gristmill.trainer.logs.summary import ended_run, write_summary
from gristmill.trainer.model.build import build, model_config
from gristmill.trainer.model.decoder import num_parameters
from gristmill.trainer.model.forward import Forward
from gristmill.trainer.model.memory import explain_out_of_memory
from gristmill.trainer.model.moe import shares
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.optimizer import Optimizer
from gristmill.trainer.optimize.schedule import check_schedule, lr_factor
from gristmill.trainer.optimize.scheduled import share_at, with_own_inputs
from gristmill.trainer.optimize.spikes import SpikeFilter
from gristmill.trainer.ranks.devices import compute_dtype
from gristmill.trainer.ranks.parallel import Group, accumulate, determinism, process_group, settle
from gristmill.trainer.stopping import Signals, Votes, only_run


def run(settings: Settings | dict[str, Any]) -> dict[str, Any]:
    """Train as the settings say and return a summary; raises Interrupted when a signal stopped it,
    resumably."""
    settings = settings if isinstance(settings, Settings) else Settings.from_dict(with_trunk(settings))
    if not settings.shards or not settings.run:
        raise UsageError(
            "`shards` and `run` must be given",
            hint="name the shard folder to read (--shards) and the run folder to write (--out)",
        )
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with (
        process_group(settings.device, settings.mesh.timeout_seconds) as group,
        only_run(Path(settings.run), group),
    ):
        shards = open_shards(settings.shards, settings.data, Path(settings.run))
        config = model_config(settings, shards)
        itemsize = compute_dtype(settings.dtype, group.device).itemsize
        profile = Path(settings.run) / "profile"
        with (
            determinism(settings.deterministic),
            explain_out_of_memory(settings, config, group, itemsize),
            memory_snapshot(group.device, profile, group.rank, settings.memory_history),
        ):
            return Training(settings, group, shards, config).train()


class Training:
    """One run, and the loop over its steps."""

    def __init__(self, settings: Settings, group: Group, shards: ShardSet, config: ModelConfig) -> None:
        self.settings, self.group, self.config = settings, group, config
        self.folder = Path(settings.run)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.loader = BatchLoader(shards, config.context, settings.seed, settings.data)
        self.keeper = Keeper(settings, group, shards, config)
        self.course = Course.of(settings, self.loader, group.world, self.keeper.trunk)
        check_schedule(self.course.steps, settings.optimizer, self.course.step_tokens)
        self.evaluations = Evaluations(settings, shards, config.context, group)
        self.model, self.module = build(settings, config, group, drawn=self.keeper.is_new)
        self.forward = Forward(self.module, settings, config, group.device, self.model.dtype)
        self.optimizer = Optimizer(self.model, settings.optimizer, self.model.dtype)
        self.spikes = SpikeFilter(settings.spike_window, settings.spike_sigmas, group.device)
        self.signals, self.votes, self.meter = Signals(), Votes(group), Meter(group)
        self.step = self.keeper.resume(self.course, self.optimizer, self.spikes)
        self.log = Log(self.folder / "log.jsonl", group.rank == 0, self.step or None)
        self.progress = Progress(
            settings, group, self.model, self.loader, self.course, self.spikes, self.log, self.meter
        )
        self.profiler = Profiler(settings.profile, self.folder / "profile", group.rank)

    def train(self) -> dict[str, Any]:
        """Run the remaining steps, save, evaluate, and return the summary."""
        began, first, steps = time.perf_counter(), self.step, self.course.steps
        ended = None
        if self.group.rank == 0 and self.step >= steps:
            ended = ended_run(self.folder, steps, self.evaluations.heldout is not None)
        if self.group.any(ended is not None):
            return ended or {}
        self._begin()
        with Signals() as self.signals:
            if self.step < steps and self.evaluations.due(self.step, steps, self.log):
                self._evaluate()  # also one that a signal cut short
            self._settle()
            data = self.settings.data
            threads = 1 if "://" in self.settings.shards else data.threads
            for batch in prefetch(self._batch, range(self.step, steps), data.prefetch, threads):
                self.profiler.before(self.step + 1)
                self._train_step(batch)
                if (trace := self.profiler.after(self.step)) is not None:
                    self.log.say(f"train: a trace is in {trace}")
                self._after_step(self.signals)
            self._save(permanent=True)
            self.keeper.checkpoints.wait()  # what was trained is safe before it is scored
            if self.evaluations.due(self.step, steps, self.log):
                self._evaluate()
        summary = self.progress.summary(self.step, self.step - first, time.perf_counter() - began)
        summary["checkpoint"] = str(self.keeper.checkpoints.newest())
        summary |= {"trunk": self.keeper.trunk} if self.keeper.trunk else {}
        if self.group.rank == 0:
            write_summary(self.folder, summary)
        return summary

    def _begin(self) -> None:
        """Tell what is trained, on what, and where it comes from."""
        how, log = self.settings, self.log
        if self.group.rank == 0:
            log.sinks = open_sinks(
                self.folder, how.tensorboard, how.wandb, dataclasses.asdict(how), self.step
            )
        log.say(
            f"train: {num_parameters(self.model):,} parameters, {self.model.dtype}, {self.course.steps} steps"
            f" of {how.batch} x {self.config.context} tokens on {self.group.world} x {self.group.device.type}"
        )
        if how.init and self.step == 0:
            for said in start_config(how)[1]:
                log.say(f"train: {how.init}: {said}")
        self.keeper.say_origin(self.step, log)
        if how.data.packing == "bestfit":
            log.say(
                f"packing: {self.loader.pad_fraction:.2%} padding, nothing cropped, {self.loader.num_cut:,}"
                " documents cut"
            )

    def _settle(self) -> None:
        if self.step < self.course.steps and self.group.world > 1:
            part = self._batch(self.step).rows(0, self.course.micro)
            settle(self.module, lambda: self.forward(part, scale=0.0, loss=self.settings.loss).total)

    def _batch(self, step: int) -> TokenBatch:
        """Return this rank's rows of a step, in pinned memory for a GPU; called by the loader's threads."""
        first, group = self.course.sample(step), self.group
        made = self.loader.batch(first, self.course.batch, group.rank, group.world)
        return made.pinned() if group.device.type == "cuda" else made

    def _train_step(self, batch: TokenBatch) -> None:
        """Forward and backward over the parts of the batch, then one update; nothing here waits for the
        device."""
        started = time.perf_counter()
        settings, group, course = self.settings, self.group, self.course
        num_targets = self.loader.num_targets(course.sample(self.step), course.batch)
        # gradients are averaged over ranks, so each is scaled up by their number
        scale = group.world / max(1, num_targets)
        nats = torch.zeros((), device=group.device)
        how = {"scale": scale, "loss": settings.loss, "expert_shares": self._expert_shares(batch)}
        for start in range(0, course.rows, course.micro):
            part = self._with_own_inputs(batch.rows(start, start + course.micro), start)
            last = start + course.micro >= course.rows
            with accumulate(self.module, last, settings.mesh.reduce == "part"):
                loss = self.forward(part, **how)
                loss.total.backward()
            nats += loss.nll.detach()
        # whether a rank was told to stop travels with the loss: each step agrees on it, none waits for it
        told = torch.full_like(nats, float(self.signals.received is not None))
        sums = group.sum(torch.stack([nats, told]))
        self.votes.cast(sums[1])
        loss_mean = sums[0] / max(1, num_targets)
        norm = self.optimizer.grad_norm()
        take = self.spikes.judge(loss_mean, norm)
        begin = self.keeper.trunk.get("begin")
        factor = lr_factor(self.step, course.steps, settings.optimizer, course.step_tokens, begin)
        self.optimizer.step(factor, norm, take)
        self.step += 1
        lr = settings.optimizer.lr * factor
        self.progress.note(self.step, StepResult(loss_mean, norm, take, lr, num_targets, started))

    def _with_own_inputs(self, batch: TokenBatch, start: int) -> TokenBatch:
        """Scheduled sampling: a share of inputs are what the model foretells, drawn by sample."""
        most = self.settings.loss.scheduled_sampling
        if not most:
            return batch
        first = self.course.sample(self.step) + self.group.rank + self.group.world * start
        samples = range(first, first + self.group.world * len(batch), self.group.world)
        share = share_at(self.step, self.course.steps, most)
        return with_own_inputs(batch, self.forward.likeliest, share, self.settings.seed, samples)

    @torch.no_grad()
    def _expert_shares(self, batch: TokenBatch) -> Tensor | None:
        """Count which experts the whole step uses, in a pass before the others where it has several parts."""
        rows, micro = self.course.rows, self.course.micro
        if not self.config.num_experts or rows <= micro:
            return None  # one part counts itself
        total = torch.zeros(self.config.num_layers, self.config.num_experts, device=self.group.device)
        for start in range(0, rows, micro):
            total += self.forward(batch.rows(start, start + micro), count_copies=True)
        return shares(self.group.sum(total))

    def _after_step(self, signals: Signals) -> None:
        """Log, evaluate, stop and save, each when due."""
        settings, step, steps = self.settings, self.step, self.course.steps
        if step % settings.log_every == 0 or step == steps or step == 1:
            self.progress.log_step(step)
        if settings.eval_every and step % settings.eval_every == 0 and step < steps:
            self._evaluate()
        if self.votes.carried(signals.received is not None):
            self._stop()
        if step < steps:
            if settings.save_every and step % settings.save_every == 0:
                self._save(permanent=True)
            elif settings.ephemeral_every and step % settings.ephemeral_every == 0:
                self._save(permanent=False)

    def _evaluate(self) -> None:
        """Score held-out text and tasks; a signal meanwhile stops the run, and they are scored again."""

        def told() -> bool:
            return self.group.any(self.signals.received is not None)

        if not self.evaluations.score(self.step, self.course, self.forward, self.log, self.meter, told):
            self._stop()

    def _save(self, permanent: bool) -> None:
        if not self.keeper.has(self.step, permanent):
            self.progress.log_skipped()
            with self.meter.pause():
                self.keeper.save(self.step, permanent)

    def _stop(self) -> None:
        self._save(permanent=False)
        self.keeper.checkpoints.wait()
        raise self.signals.interrupted(self.step, self.course.steps, str(self.folder))


if __name__ == "__main__":
    from gristmill.trainer.command import main

    main(run)
