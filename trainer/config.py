"""Settings of the trainer: frozen dataclasses that refuse what they do not know.

    settings = Settings.from_dict({"shards": "mix", "run": "train/a", "model": {"preset": "llama-15m"},
    "steps": 200})

A model's shape is in `shape.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from gristmill.errors import UsageError
from gristmill.trainer.fields import at_least, fraction, from_dict
from gristmill.trainer.model.architectures.table import architecture
from gristmill.trainer.model.presets import preset
from gristmill.trainer.model.shape import ModelConfig as ModelConfig


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW, or Muon for the hidden matrices and AdamW for the rest; a learning-rate schedule over steps."""

    name: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    muon_lr: float = (
        0.0  # 0: as lr; Muon's update is scaled to AdamW's size, so one rate serves both (Moonshot)
    )
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1  # of hidden matrices; never of gains and biases
    decay_embeddings: bool = (
        False  # OLMo 2 leaves them out; nanoGPT decays every matrix, them and the head too
    )
    momentum: float = 0.95  # Muon's, Nesterov
    ema_decay: float = 0.0  # 0.999: an exponential average of the weights is kept beside them; 0: none
    mup_base_width: int = 0  # muP: the width at which lr was found, for any `model.width`; 0: off
    clip: float = 1.0  # global gradient norm; 0: off
    schedule: Literal["wsd", "cosine", "constant", "decay"] = (
        "wsd"  # decay: WSD's last part alone, for a branch
    )
    warmup_fraction: float = 0.05  # of the run's steps; in steps or tokens where those are above 0
    warmup_steps: int = 0
    warmup_tokens: int = 0
    decay_fraction: float = 0.2  # WSD's last part, 1 - sqrt (llm.c)
    decay_steps: int = 0
    decay_tokens: int = 0
    final_lr_fraction: float = 0.1  # cosine's floor (nanoGPT); WSD ends at 0

    def __post_init__(self) -> None:
        for name in ("lr", "eps"):
            if not getattr(self, name) > 0:
                raise UsageError(f"`optimizer.{name}` must be above 0, got {getattr(self, name)}")
        for name in ("warmup_fraction", "decay_fraction", "final_lr_fraction"):
            fraction(f"optimizer.{name}", getattr(self, name))
        lengths = ("warmup_steps", "warmup_tokens", "decay_steps", "decay_tokens")
        for name in ("muon_lr", "weight_decay", "momentum", "clip", *lengths):
            at_least(f"optimizer.{name}", getattr(self, name), 0)
        at_least("optimizer.mup_base_width", self.mup_base_width, 0)
        for name, value in (
            ("ema_decay", self.ema_decay),
            ("betas", self.betas[0]),
            ("betas", self.betas[1]),
            ("momentum", self.momentum),
        ):
            if not 0 <= value < 1:
                raise UsageError(f"`optimizer.{name}` must be at least 0 and below 1, got {value}")
        by_fraction = not any(getattr(self, name) for name in lengths) and self.schedule == "wsd"
        if by_fraction and self.warmup_fraction + self.decay_fraction > 1:
            raise UsageError(
                f"`optimizer.warmup_fraction` {self.warmup_fraction} and `decay_fraction`"
                f" {self.decay_fraction} are more than the whole run",
                hint="they must add up to 1 at most",
            )


@dataclass(frozen=True)
class LossSettings:
    """What is added to plain maximum likelihood; all off by default."""

    z: float = 0.0  # weight of logsumexp^2; 1e-4 in PaLM and OLMo-core
    smoothing: float = 0.0  # probability mass spread evenly over the vocabulary
    entropy: float = 0.0  # weight of the predictions' entropy, as a bonus
    unlikelihood: float = 0.0  # weight, of tokens that came before (Welleck et al. 2020: 1)
    contrastive: float = 0.0  # weight of the contrastive token loss on the same (Jiang et al. 2022: 1)
    negatives: int = 60  # tokens back that these two look at
    scheduled_sampling: float = 0.0  # share of inputs that are the model's own, at the end of the run

    def __post_init__(self) -> None:
        fraction("loss.smoothing", self.smoothing)
        fraction("loss.scheduled_sampling", self.scheduled_sampling)
        for name in ("z", "unlikelihood", "contrastive"):
            at_least(f"loss.{name}", getattr(self, name), 0)
        at_least("loss.negatives", self.negatives, 1)

    @property
    def has_negatives(self) -> bool:
        return self.unlikelihood > 0 or self.contrastive > 0


@dataclass(frozen=True)
class DataSettings:
    """How tokens become samples of `context` targets."""

    packing: Literal["concat", "bestfit"] = "concat"
    document_mask: bool = True  # a token attends to its own document only
    shuffle_shards: int = 0  # 0: permute over all windows; k: inside groups of k shards, for remote shards
    cache_dir: str = ""  # where remote shards are kept; "": a folder in the run
    cache_bytes: int = 64 << 30
    prefetch: int = 4  # batches made ahead of the one in use
    threads: int = 2  # that make them; remote shards are read by one

    def __post_init__(self) -> None:
        at_least("data.shuffle_shards", self.shuffle_shards, 0)
        for name in ("cache_bytes", "prefetch", "threads"):
            at_least(f"data.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class MeshSettings:
    """How several ranks divide the work, beside `parallel`."""

    shard_ranks: int = 0  # that hold one copy of the weights between them (a node's): fsdp; 0: all
    reshard: Literal["forward", "backward"] = "forward"  # the pass a layer's gathered weights are kept for
    reduce: Literal["part", "step"] = "part"  # when gradients are divided: after each part, or the last
    timeout_seconds: float = 1800.0  # for a collective; a rank that died is noticed by then

    def __post_init__(self) -> None:
        at_least("mesh.shard_ranks", self.shard_ranks, 0)
        at_least("mesh.timeout_seconds", self.timeout_seconds, 1)


@dataclass(frozen=True)
class Settings:
    """One training run: where from, where to, how long, on what."""

    shards: str = ""
    run: str = ""
    heldout: str = ""  # a shard folder with split "heldout"; "": no evaluation
    branch: str = ""  # start with weights and moments of another run's checkpoint, RUN@STEP (branch.py)
    init: str = ""  # start from the shape and weights of a Hugging Face folder
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    data: DataSettings = field(default_factory=DataSettings)
    mesh: MeshSettings = field(default_factory=MeshSettings)
    seed: int = 0
    steps: int = 0  # 0: one pass over the shards
    batch: int = 8  # samples of `model.context` tokens in one optimizer step, over all ranks
    micro_batch: int = 0  # samples in one forward pass of one rank; 0: the rank's whole share
    device: str = "auto"  # auto, cpu, cuda
    dtype: Literal["auto", "bf16", "fp32"] = (
        "auto"  # of the computation; weights, gradients and moments stay fp32
    )
    compile: Literal["auto", "on", "off"] = "auto"  # auto: on CUDA
    attention: Literal["auto", "varlen", "flex", "sdpa"] = (
        "auto"  # the kernel inside documents; auto: the first that runs here
    )
    float8: bool = False
    float8_scales: Literal["tensor", "row"] = "tensor"  # one per matrix; per row: less lost to rounding
    checkpointing: Literal["none", "selective", "full"] = "none"  # activations computed again; true: full
    deterministic: bool = False  # the same sums in the same order: slower kernels, repeated to the bit
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"  # with several ranks; auto: fsdp from 1B parameters
    threads: int = 0  # CPU threads; 0: torch's choice
    log_every: int = 10
    eval_every: int = 0  # 0: before and after only
    tasks: tuple[str, ...] = ()  # files of rows as `evaluate` reads them, scored with each evaluation
    eval_tokens: int = 0  # tokens per source; 0: the whole held-out set
    save_every: int = 0  # permanent checkpoints; 0: only the last step's
    ephemeral_every: int = 500  # checkpoints that go when newer ones come; 0: none
    keep: int = 2  # the newest so many checkpoints stay, whatever they are
    async_save: bool = True  # write checkpoints while training goes on (CUDA)
    spike_window: int = 128  # steps (llm.c, OLMo-core)
    spike_sigmas: float = 6.0  # OLMo-core; 0: skip non-finite steps only
    max_skipped: int = 10  # skipped in a row before the run gives up
    tensorboard: bool = False  # draw the log in run/tensorboard, too
    wandb: str = ""  # a project of Weights & Biases to draw it in
    profile: str = ""  # FIRST:STOP, steps to trace with torch's profiler into run/profile
    memory_history: bool = False  # CUDA: the memory snapshot of a failure says where blocks were taken
    resume: bool = True  # from the newest checkpoint of the run folder, if there is one

    # Which fields of `model` were said, in `from_dict`: beside `init` few may be.
    model_given = tuple[str, ...]()

    def __post_init__(self) -> None:
        architecture(self.model)
        at_least("batch", self.batch, 1)
        for name in (
            "steps",
            "micro_batch",
            "threads",
            "eval_every",
            "eval_tokens",
            "save_every",
            "ephemeral_every",
        ):
            at_least(name, getattr(self, name), 0)
        for name in ("log_every", "spike_window", "max_skipped", "keep"):
            at_least(name, getattr(self, name), 1)

        at_least("spike_sigmas", self.spike_sigmas, 0)
        if self.optimizer.mup_base_width and (self.model.tied or self.optimizer.name != "adamw"):
            raise UsageError(
                "`optimizer.mup_base_width` is for AdamW and a head of its own",
                hint="set model.tied to false and optimizer.name to adamw",
            )
        if self.mesh.shard_ranks and self.parallel == "ddp":
            raise UsageError(
                "`mesh.shard_ranks` divides weights, `parallel` is ddp: every rank holds them all",
                hint="leave parallel at auto, or set it to fsdp",
            )
        if self.branch and self.init:
            raise UsageError("`branch` and `init` both say where weights come from: choose one")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Build settings from plain values; `model.preset` names a shape whose fields may be replaced."""
        model = values.get("model") if isinstance(values, dict) else None
        given = frozenset(model) if isinstance(model, dict) else frozenset()
        if "preset" in given:
            given = frozenset(field.name for field in dataclasses.fields(ModelConfig)) - {"vocab"}
        if isinstance(model, dict) and "preset" in model:
            changes = {key: value for key, value in model.items() if key != "preset"}
            values = values | {"model": dataclasses.asdict(preset(model["preset"])) | changes}
        if isinstance(values, dict) and isinstance(values.get("checkpointing"), bool):
            values = values | {"checkpointing": "full" if values["checkpointing"] else "none"}
        settings = from_dict(cls, values)
        object.__setattr__(settings, "model_given", tuple(sorted(given)))
        return settings
