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
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gristmill.errors import Interrupted, UsageError
from gristmill.trainer.checkpoints.branch import fork, with_trunk
from gristmill.trainer.checkpoints.checkpoint import Checkpoints, Meta, load
from gristmill.trainer.checkpoints.hf import start_config
from gristmill.trainer.checkpoints.resume import (
    branch_command,
    changes,
    held_by,
    rate_jump,
    refuse_other,
    spell_average,
)
from gristmill.trainer.config import Settings
from gristmill.trainer.data.balance import Balance, balance
from gristmill.trainer.data.documents import documents
from gristmill.trainer.data.loader import BatchLoader, TokenBatch, prefetch
from gristmill.trainer.data.remote import open_shards
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.evaluate import LOGITS_AT_ONCE, Scorer
from gristmill.trainer.evaluation.heldout import HeldOut
from gristmill.trainer.evaluation.tasks import open_tasks, spell_task
from gristmill.trainer.evaluation.tokenizer import copy_tokenizer
from gristmill.trainer.logs.log import Log
from gristmill.trainer.logs.meter import Meter, give_up, spell_row
from gristmill.trainer.logs.profiling import Profiler, memory_snapshot
from gristmill.trainer.logs.sinks import open_sinks
from gristmill.trainer.logs.summary import by_step, ended_run, of_log, write_summary
from gristmill.trainer.model.attention import DocumentMasks, document_kernel
from gristmill.trainer.model.build import build, model_config
from gristmill.trainer.model.decoder import flops_per_token, num_parameters
from gristmill.trainer.model.memory import explain_out_of_memory, peak_memory
from gristmill.trainer.model.moe import shares
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.optimizer import Optimizer
from gristmill.trainer.optimize.schedule import check_schedule, lr_factor
from gristmill.trainer.optimize.scheduled import share_at, with_own_inputs
from gristmill.trainer.optimize.spikes import SpikeFilter
from gristmill.trainer.ranks.devices import compute_dtype
from gristmill.trainer.ranks.parallel import (
    Group,
    accumulate,
    determinism,
    is_compiled,
    process_group,
    reshard,
    settle,
)
from gristmill.trainer.stopping import Signals, only_run


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
    """One run: model, optimizer, loader and log, and the loop over steps."""

    def __init__(self, settings: Settings, group: Group, shards: ShardSet, config: ModelConfig) -> None:
        self.settings, self.group, self.shards, self.config = settings, group, shards, config
        self.folder = Path(settings.run)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.loader = BatchLoader(self.shards, self.config.context, settings.seed, settings.data)
        self.steps = settings.steps or max(1, self.loader.num_samples // settings.batch)
        background = settings.async_save and group.device.type == "cuda"
        self.checkpoints = Checkpoints(self.folder, group, background)
        self.newest = self.checkpoints.newest() if settings.resume else None
        self.trunk = self._trunk()
        self.loader.check_caps(self._sample(self.steps))
        check_schedule(self.steps, settings.optimizer, self.step_tokens)
        heldout = open_shards(settings.heldout, settings.data, self.folder) if settings.heldout else None
        self.heldout = None
        if heldout is not None and heldout.num_tokens:
            _refuse_other_tokenizer(self.shards, heldout)
            self.heldout = HeldOut(heldout, self.config.context, settings.eval_tokens)
        self.tasks = open_tasks(settings.tasks, self.shards)
        if settings.batch % group.world:
            raise UsageError(
                f"`batch` {settings.batch} does not divide among {group.world} ranks",
                hint="make it a multiple of the ranks",
            )
        self.rows = settings.batch // group.world
        self.micro = min(settings.micro_batch or self.rows, self.rows)
        drawn = self.newest is None and not self.trunk  # what a checkpoint holds is neither drawn nor read
        self.model, self.module = build(settings, config, group, drawn)
        capped = self.config.attention_softcap > 0
        kernel = document_kernel(
            settings.attention, group.device, self.model.dtype, self.config.head_dim, capped
        )
        self.masks = DocumentMasks(kernel, group.device, self.config.windows)
        self.special_scores = capped or self.config.windows != (0,)
        self.optimizer = Optimizer(self.model, settings.optimizer, self.model.dtype)
        self.spikes = SpikeFilter(settings.spike_window, settings.spike_sigmas, group.device)
        self.saved, self.signals = (-1, False), Signals()
        self.judged: list[tuple[int, Tensor]] = []
        self.meter = Meter(group)
        self.votes: list[Callable[[], float]] = []
        self.changed: dict[str, list[Any]] = {}
        self.jump: tuple[float, float] | None = None
        self.step = self._resume()
        self.log = Log(self.folder / "log.jsonl", group.rank == 0, self.step if self.step else None)
        self.profiler = Profiler(settings.profile, self.folder / "profile", group.rank)

    def train(self) -> dict[str, Any]:
        """Run the remaining steps, evaluate, save, and return the summary."""
        began, first = time.perf_counter(), self.step
        ended = self._ended()
        if self.group.any(ended is not None):
            return ended or {}
        how = self.settings
        if self.group.rank == 0:
            self.log.sinks = open_sinks(
                self.folder, how.tensorboard, how.wandb, dataclasses.asdict(how), self.step
            )
        self.log.say(
            f"train: {num_parameters(self.model):,} parameters, {self.model.dtype}, {self.steps} steps of"
            f" {self.settings.batch} x {self.config.context} tokens on {self.group.world} x"
            f" {self.group.device.type}"
        )
        if self.settings.init and self.step == 0:
            for said in start_config(self.settings)[1]:
                self.log.say(f"train: {self.settings.init}: {said}")
        if self.trunk:
            rate = self.settings.optimizer.lr * self.trunk["begin"]
            self.log.say(f"train: a branch of {self.trunk['checkpoint']}, whose learning rate was {rate:.3g}")
        self._say_changes()
        if self.settings.data.packing == "bestfit":
            self.log.say(
                f"packing: {self.loader.pad_fraction:.2%} padding, nothing cropped, {self.loader.num_cut:,}"
                " documents cut"
            )
        with Signals() as self.signals:
            if self.step < self.steps and self._evaluation_due():  # also one that a signal cut short
                self._evaluate()
            self._settle()
            data = self.settings.data
            threads = 1 if "://" in self.settings.shards else data.threads
            for batch in prefetch(self._batch, range(self.step, self.steps), data.prefetch, threads):
                self.profiler.before(self.step + 1)
                self._train_step(batch)
                if (trace := self.profiler.after(self.step)) is not None:
                    self.log.say(f"train: a trace is in {trace}")
                self._after_step(self.signals)
            self._save(permanent=True)
            self.checkpoints.wait()  # what was trained is safe before it is scored
            if self._evaluation_due():
                self._evaluate()
        return self._summary(time.perf_counter() - began, self.step - first)

    def _settle(self) -> None:
        if self.step < self.steps and self.group.world > 1:
            part = self._batch(self.step).rows(0, self.micro)
            settle(self.module, lambda: self._forward(part, scale=0.0, loss=self.settings.loss).total)

    def _train_step(self, batch: TokenBatch) -> None:
        """Forward and backward over the parts of the batch, then one update; nothing here waits for the
        device."""
        started = time.perf_counter()
        settings, group = self.settings, self.group
        num_targets = self.loader.num_targets(self._sample(self.step), settings.batch)
        scale = group.world / max(
            1, num_targets
        )  # gradients are averaged over ranks, so each is scaled up by their number
        nats = torch.zeros((), device=group.device)
        how = {"scale": scale, "loss": settings.loss, "expert_shares": self._expert_shares(batch)}
        for start in range(0, self.rows, self.micro):
            part = self._with_own_inputs(batch.rows(start, start + self.micro), start)
            last = start + self.micro >= self.rows
            with accumulate(self.module, last, settings.mesh.reduce == "part"):
                loss = self._forward(part, **how)
                loss.total.backward()
            nats += loss.nll.detach()
        # whether a rank was told to stop travels with the loss: each step agrees on it, none waits for it
        told = torch.full_like(nats, float(self.signals.received is not None))
        sums = group.sum(torch.stack([nats, told]))
        self.votes.append(group.later(sums[1]))
        loss_mean = sums[0] / max(1, num_targets)
        norm = self.optimizer.grad_norm()
        take = self.spikes.judge(loss_mean, norm)
        factor = lr_factor(
            self.step, self.steps, settings.optimizer, self.step_tokens, self.trunk.get("begin")
        )
        self.optimizer.step(factor, norm, take)
        self.step += 1
        self.judged.append((self.step, torch.stack([take, loss_mean.float(), norm.float()])))
        self.last = (loss_mean, norm, settings.optimizer.lr * factor, num_targets, started)

    def _with_own_inputs(self, batch: TokenBatch, start: int) -> TokenBatch:
        """Scheduled sampling: a share of inputs are what the model foretells, drawn by step, rank and row."""
        most = self.settings.loss.scheduled_sampling
        if not most:
            return batch
        place = (self.settings.seed * 1_000_003 + self.step) * 65_537 + self.group.rank * self.rows + start
        share = share_at(self.step, self.steps, most)
        return with_own_inputs(batch, lambda part: self._forward(part, likeliest=True), share, place % 2**63)

    @torch.no_grad()
    def _expert_shares(self, batch: TokenBatch) -> Tensor | None:
        """Count which experts the whole step uses, in a pass before the others where it has several parts."""
        if not self.config.num_experts or self.rows <= self.micro:
            return None  # one part counts itself
        total = torch.zeros(self.config.num_layers, self.config.num_experts, device=self.group.device)
        for start in range(0, self.rows, self.micro):
            total += self._forward(batch.rows(start, start + self.micro), count_copies=True)
        return shares(self.group.sum(total))

    def _after_step(self, signals: Signals) -> None:
        """Log, evaluate, save and stop, each when due."""
        settings, step = self.settings, self.step
        if step % settings.log_every == 0 or step == self.steps or step == 1:
            self._log_step()
        if settings.eval_every and step % settings.eval_every == 0 and step < self.steps:
            self._evaluate()
        if self._agreed_to_stop():
            self._stop()
        if step < self.steps:
            if settings.save_every and step % settings.save_every == 0:
                self._save(permanent=True)
            elif settings.ephemeral_every and step % settings.ephemeral_every == 0:
                self._save(permanent=False)

    def _log_step(self) -> None:
        self._log_skipped()
        loss, norm, lr, num_targets, started = self.last
        loss_value, norm_value = float(loss), float(norm)  # waits for the device: the clock is read after
        speed = self.meter.speed(self.tokens, started, num_targets)
        skipped, in_a_row = (int(self.spikes.state[key]) for key in ("skipped", "skipped_in_a_row"))
        row = dict(
            step=self.step, steps=self.steps, tokens=self.tokens, loss=loss_value, lr=lr,
            grad_norm=norm_value, tokens_per_s=speed, skipped=skipped,
            seconds_to_go=(self.steps - self.step) * self.step_tokens / max(1e-9, speed),
            mfu=self.meter.mfu(speed, flops_per_token(self.model)),
            memory_bytes=peak_memory(self.group.device),
            epoch=self._sample(self.step) / self.loader.num_samples,
        )  # fmt: skip
        self.log.step(**row)
        self.log.say(spell_row(row), live=True)
        if in_a_row >= self.settings.max_skipped:
            raise give_up(in_a_row, row, str(self.folder))

    def _log_skipped(self) -> None:
        """Name the documents of the steps skipped since the last log row or save."""
        judged, self.judged = self.judged, []
        if self.group.rank or not judged:
            return
        values = torch.stack([row for _, row in judged]).tolist()  # waits for the device
        for (step, _), (take, loss, norm) in zip(judged, values, strict=True):
            if not take:
                batch = self.settings.batch
                names = [found.name for found in documents(self.loader, self._sample(step - 1), batch)]
                self.log.skipped(step, loss, norm, names)

    @property
    def tokens(self) -> int:
        """Tokens the model has seen, those of its trunk counted."""
        return int(self.trunk.get("tokens", 0)) + self.step * self.step_tokens

    @property
    def step_tokens(self) -> int:
        return self.settings.batch * self.config.context

    def _sample(self, step: int) -> int:
        """Return the number of the first sample of a step."""
        return int(self.trunk.get("first_sample", 0)) + step * self.settings.batch

    def _batch(self, step: int) -> TokenBatch:
        batch = self.settings.batch
        made = self.loader.batch(self._sample(step), batch, self.group.rank, self.group.world)
        return made.pinned() if self.group.device.type == "cuda" else made

    def _forward(self, batch: TokenBatch, **how: Any) -> Any:
        masked = self.settings.data.document_mask
        mask = self.masks(batch.positions) if masked else None
        if not masked and self.special_scores:  # the plain causal kernel has none: a row is one document
            mask = self.masks(torch.arange(batch.positions.shape[1]).expand_as(batch.positions))
        batch = batch.to(self.group.device)
        if how.pop("likeliest", False):
            logits = self.module(batch.inputs, batch.positions if masked else None, mask=mask)
            return logits.argmax(-1).cpu()
        return self.module(batch.inputs, batch.positions if masked else None, batch.targets, mask=mask, **how)

    def _evaluation_due(self) -> bool:
        """Say whether this step is to be scored and the log lacks some of its rows."""
        every = self.settings.eval_every
        due = self.step in (0, self.steps) or (every > 0 and self.step % every == 0)
        lacks = self.heldout is not None and self.step not in by_step(self.log, "eval")
        lacks = lacks or (bool(self.tasks) and self.step not in by_step(self.log, "task"))
        return due and self.group.any(lacks and self.group.rank == 0)

    def _evaluate(self) -> None:
        if self.heldout is not None:
            with self.meter.pause():
                rows = self.heldout.evaluate(self._forward, self.micro, self.group, self._asked_to_stop)
                reshard(self.module)
            if rows is None:
                self._stop()
                return
            for row in rows:
                self.log.evaluation(step=self.step, **row)
            last = rows[-1]
            bits = last["bits_per_byte"]
            per_byte = "" if bits is None else f", {bits:.4f} bits per byte"
            said = f"loss {last['loss']:.4f}{per_byte} over {last['bytes']:,} bytes"
            self.log.say(f"held-out at step {self.step}: {said}")
        self._score_tasks()

    def _score_tasks(self) -> None:
        """Score the files of `tasks`; a signal between two stops the run, and they are scored again."""
        found = []
        for task in self.tasks:
            if self._asked_to_stop():
                self._stop()
            with self.meter.pause():
                found += task.score(self._scorer())
                reshard(self.module)
        for row in found:
            self.log.task(step=self.step, **row)
        if found:
            self.log.say(f"tasks at step {self.step}: {'; '.join(map(spell_task, found))}")

    def _scorer(self) -> Scorer:
        """Score by the module that trains; what is compiled gets batches of one shape."""
        context, vocab = self.config.context, self.config.vocab
        rows = max(1, min(self.micro, LOGITS_AT_ONCE // (context * vocab)))
        shape = (rows, context) if is_compiled(self.settings, self.group) else None
        return Scorer(self._logits, context, vocab, self.group, shape)

    def _logits(self, tokens: Tensor) -> Tensor:
        whole = torch.arange(tokens.shape[1]).expand_as(tokens.cpu()) if self.special_scores else None
        logits: Tensor = self.module(tokens, mask=None if whole is None else self.masks(whole))
        return logits

    def _state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds. Weights are those the optimizer updates, fp32 and sharded: what
        the model shows as its own may be a gathered copy in the type of the computation."""
        state: dict[str, Tensor] = {
            f"model.{name}": tensor for name, tensor in self.optimizer.parameters.items()
        }
        state |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state.items()}
        return state | {f"spikes.{name}": tensor for name, tensor in self.spikes.state.items()}

    def _resume(self) -> int:
        newest = self.newest
        if newest is None:
            if self.trunk:  # weights and moments; what is a spike is another question on other data
                trunk = Path(self.trunk["checkpoint"])
                state = held_by(Meta.read(trunk), self._state(), but=("spikes.",))
                load(trunk, state, self.group, self.checkpoints.own)
            return 0
        meta = Meta.read(newest)
        refuse_other(meta, self.config, self.shards.sha256, self.settings, self.steps, newest)
        self.changed = changes(meta, self.settings, self.steps)
        self.jump = rate_jump(meta, self.settings, self.steps)
        self.saved = (meta.step, meta.permanent)
        # a history of another length begins anew
        anew = ("spikes.history", "spikes.seen") if "spike_window" in self.changed else ()
        state = held_by(meta, self._state(), but=anew)
        load(newest, state, self.group, self.checkpoints.own)
        return meta.step

    def _trunk(self) -> dict[str, Any]:
        """Return where this run branched off another, as its own checkpoints say, or as it begins."""
        if self.newest is not None:
            return Meta.read(self.newest).trunk
        if not self.settings.branch:
            return {}
        return fork(self.settings, self.config, self.shards.sha256)

    def _say_changes(self) -> None:
        """Tell what this command changes in a run that was begun otherwise, on stderr and in the log."""
        if not self.changed:
            return
        what = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in self.changed.items())
        self.log.say(f"train: continued from step {self.step} with {what}")
        if average := self.changed.get("optimizer.ema_decay"):
            self.log.say(f"train: {spell_average(average[0], average[1], self.step)}")
        self.log.resumed(step=self.step, changed=self.changed)
        if self.jump is not None:
            old, new = self.jump
            checkpoint = self.folder / "checkpoints" / f"step-{self.step:08d}"
            self.log.say(
                f"train: the learning rate goes from {old:.3g} at step {self.step} to {new:.3g}: the schedule"
                " is another. To anneal from a checkpoint before a decay, or keep this run as it is, branch:"
                f" {branch_command(checkpoint, '@STEP')}"
            )

    def _save(self, permanent: bool) -> None:
        if self.saved[0] == self.step and self.saved[1] >= permanent:
            return
        self._log_skipped()
        meta = Meta(
            self.step, self._sample(self.step), self.tokens, self.config, self.shards.sha256,
            str(self.shards.folder), self.settings.seed, self.shards.eos_id, permanent,
            self.steps, dataclasses.asdict(self.settings), self.trunk,
        )  # fmt: skip
        tokenizer = self.shards.tokenizer()
        if tokenizer is not None and self.group.rank == 0:
            copy_tokenizer(tokenizer, self.shards.reading, self.folder)
        with self.meter.pause():
            self.checkpoints.save(self._state(), meta, self.settings.keep)
        self.saved = (self.step, permanent)

    def _agreed_to_stop(self) -> bool:
        """Say whether all ranks know that one was told to stop: alone at once, else one step later."""
        if self.group.world == 1:
            self.votes.clear()
            return self.signals.received is not None
        return len(self.votes) > 1 and self.votes.pop(0)() > 0

    def _asked_to_stop(self) -> bool:
        return self.group.any(self.signals.received is not None)

    def _stop(self) -> None:
        self._save(permanent=False)
        self.checkpoints.wait()
        number = self.signals.received or signal.SIGTERM
        error = Interrupted(
            f"training stopped by {signal.Signals(number).name} after step {self.step} of {self.steps};"
            " a checkpoint is saved",
            where=str(self.folder), hint="the same command continues from there",
        )  # fmt: skip
        error.exit_code = 128 + number
        raise error

    def _ended(self) -> dict[str, Any] | None:
        """Return the summary of a run that has nothing left to do, as rank 0 finds it."""
        if self.group.rank or self.step < self.steps:
            return None
        return ended_run(self.folder, self.steps, self.heldout is not None)

    def _balance(self) -> Balance:
        """What became of every token of the shards in the steps so far, those of the trunk counted."""
        skipped = [self._sample(row["step"] - 1) for row in self.log.rows("skip")]
        missed = sum(self.loader.num_targets(first, self.settings.batch) for first in skipped)
        return balance(self.loader, self._sample(self.step), missed)

    def _summary(self, seconds: float, steps: int) -> dict[str, Any]:
        speed = steps * self.step_tokens / max(1e-9, seconds - self.meter.paused_in_all)
        summary = {
            "parameters": num_parameters(self.model), "steps": self.step, "tokens": self.tokens,
            "training_seconds": seconds, "tokens_per_s": speed,
            **of_log(self.log, self.step), "skipped": int(self.spikes.state["skipped"]),
            "balance": self._balance().as_json(),
            "checkpoint": str(self.checkpoints.newest()), "model": dataclasses.asdict(self.config),
            "device": str(self.group.device), "dtype": str(self.model.dtype).removeprefix("torch."),
        }  # fmt: skip
        summary |= {"trunk": self.trunk} if self.trunk else {}
        if self.group.rank == 0:
            write_summary(self.folder, summary)
        return summary


def _refuse_other_tokenizer(shards: ShardSet, heldout: ShardSet) -> None:
    if (shards.vocab, shards.eos_id, shards.tokenizer_sha256) != (
        heldout.vocab,
        heldout.eos_id,
        heldout.tokenizer_sha256,
    ):
        raise UsageError(
            "the held-out shards were written with another tokenizer than the training shards",
            where=str(heldout.folder), hint="encode both with one tokenizer",
        )  # fmt: skip


if __name__ == "__main__":
    from gristmill.trainer.command import main

    main(run)
