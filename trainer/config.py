"""Settings of the trainer: frozen dataclasses that refuse what they do not know.

    settings = Settings.from_dict({"shards": "mix", "run": "train/a", "model": {"preset": "llama-15m"},
    "steps": 200})

Only torch and numpy are needed to import the trainer, so its settings are dataclasses and not pydantic
models.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gristmill.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder: LLaMA family by default, GPT-2 by `kind`, a mixture of experts when
    `num_experts` > 0."""

    kind: Literal["llama", "gpt2"] = "llama"
    vocab: int = 0  # 0: taken from the shards
    num_layers: int = 6
    width: int = 384
    num_heads: int = 6
    num_kv_heads: int = 0  # 0: as many as heads
    ffn: int = 1024
    context: int = 512  # tokens; learned positions and the rotary table end here
    tied: bool = True
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    num_experts: int = 0  # 0: dense
    experts_per_token: int = 2
    balance_weight: float = 0.01  # OLMoE
    router_z_weight: float = 0.001  # OLMoE, ST-MoE

    def __post_init__(self) -> None:
        if self.num_kv_heads == 0:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        for name in ("num_layers", "width", "num_heads", "ffn", "context"):
            _at_least(f"model.{name}", getattr(self, name), 1)
        _at_least("model.vocab", self.vocab, 0)
        if self.width % self.num_heads or (self.width // self.num_heads) % 2:
            raise UsageError(
                f"`model.width` {self.width} does not split into {self.num_heads} heads of even size",
                hint="make width a multiple of 2 x num_heads",
            )
        if self.num_heads % self.num_kv_heads:
            raise UsageError(
                f"`model.num_kv_heads` must divide num_heads {self.num_heads}, got {self.num_kv_heads}"
            )
        if self.kind == "gpt2" and (self.num_experts or not self.tied or self.num_kv_heads != self.num_heads):
            raise UsageError(
                "a gpt2 model is dense and tied, with as many key-value heads as heads",
                hint='use kind "llama"',
            )
        if self.num_experts and not 1 <= self.experts_per_token <= self.num_experts:
            raise UsageError(
                f"`model.experts_per_token` must be 1 to {self.num_experts}, got {self.experts_per_token}"
            )

    @property
    def head_dim(self) -> int:
        return self.width // self.num_heads

    @property
    def padded_vocab(self) -> int:
        """Rows of the embedding: a multiple of 64, so that the head's matrix product is aligned (nanoGPT)."""
        return -(-self.vocab // 64) * 64


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
    weight_decay: float = 0.1  # matrices only, never embeddings, gains and biases (nanoGPT, OLMo-core)
    momentum: float = 0.95  # Muon's, Nesterov
    clip: float = 1.0  # global gradient norm; 0: off
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.2  # WSD's last part, 1 - sqrt (llm.c)
    final_lr_fraction: float = 0.1  # cosine's floor (nanoGPT); WSD ends at 0

    def __post_init__(self) -> None:
        for name in ("lr", "eps"):
            if not getattr(self, name) > 0:
                raise UsageError(f"`optimizer.{name}` must be above 0, got {getattr(self, name)}")
        for name in ("warmup_fraction", "decay_fraction", "final_lr_fraction"):
            _fraction(f"optimizer.{name}", getattr(self, name))
        for name in ("muon_lr", "weight_decay", "momentum", "clip"):
            _at_least(f"optimizer.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class LossSettings:
    """What is added to plain maximum likelihood; all off by default."""

    z: float = 0.0  # weight of logsumexp^2; 1e-4 in PaLM and OLMo-core
    smoothing: float = 0.0  # probability mass spread evenly over the vocabulary
    entropy: float = 0.0  # weight of the predictions' entropy, as a bonus

    def __post_init__(self) -> None:
        _fraction("loss.smoothing", self.smoothing)
        _at_least("loss.z", self.z, 0)


@dataclass(frozen=True)
class DataSettings:
    """How tokens become samples of `context` targets."""

    packing: Literal["concat", "bestfit"] = "concat"
    document_mask: bool = True  # a token attends to its own document only
    shuffle_shards: int = 0  # 0: permute over all windows; k: inside groups of k shards, for remote shards
    cache_dir: str = ""  # where remote shards are kept; "": a folder in the run
    cache_bytes: int = 64 << 30

    def __post_init__(self) -> None:
        _at_least("data.shuffle_shards", self.shuffle_shards, 0)
        _at_least("data.cache_bytes", self.cache_bytes, 1)


@dataclass(frozen=True)
class Settings:
    """One training run: where from, where to, how long, on what."""

    shards: str = ""
    run: str = ""
    heldout: str = ""  # a shard folder with split "heldout"; "": no evaluation
    init: str = ""  # start from the shape and weights of a Hugging Face folder
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    data: DataSettings = field(default_factory=DataSettings)
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
    checkpointing: bool = False  # recompute activations per block
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"  # with several ranks; auto: fsdp from 1B parameters
    threads: int = 0  # CPU threads; 0: torch's choice
    log_every: int = 10
    eval_every: int = 0  # 0: before and after only
    eval_tokens: int = 0  # tokens per source; 0: the whole held-out set
    save_every: int = 0  # permanent checkpoints; 0: only the last step's
    ephemeral_every: int = 500  # checkpoints of which only the newest is kept; 0: none
    async_save: bool = True  # write checkpoints while training goes on (CUDA)
    spike_window: int = 128  # steps (llm.c, OLMo-core)
    spike_sigmas: float = 6.0  # OLMo-core; 0: skip non-finite steps only
    max_skipped: int = 10  # skipped in a row before the run gives up
    resume: bool = True  # from the newest checkpoint of the run folder, if there is one

    def __post_init__(self) -> None:
        _at_least("batch", self.batch, 1)
        for name in (
            "steps",
            "micro_batch",
            "threads",
            "eval_every",
            "eval_tokens",
            "save_every",
            "ephemeral_every",
        ):
            _at_least(name, getattr(self, name), 0)
        for name in ("log_every", "spike_window", "max_skipped"):
            _at_least(name, getattr(self, name), 1)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        return from_dict(cls, values)


def from_dict(kind: type[T], values: dict[str, Any], at: str = "") -> T:
    """Build a settings dataclass from plain values; an unknown key or a wrong type is an error that names its
    place."""
    if not isinstance(values, dict):
        raise UsageError(f"`{at.rstrip('.') or 'settings'}` must be a mapping, got {type(values).__name__}")
    values = dict(values)
    if kind is ModelConfig and "preset" in values:
        from gristmill.trainer.presets import preset

        values = dataclasses.asdict(preset(values.pop("preset"))) | values
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            raise UsageError(
                f"unknown setting `{at}{key}`",
                hint=f"did you mean `{at}{near[0]}`?" if near else f"known: {', '.join(hints)}",
            )
    return kind(**{key: _typed(hints[key], value, at + key) for key, value in values.items()})


def _typed(hint: Any, value: Any, at: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, f"{at}.")  # type: ignore[arg-type]
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise UsageError(f"`{at}` must be one of {', '.join(typing.get_args(hint))}, got {value!r}")
        return value
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise UsageError(f"`{at}` must be a list of {len(kinds)} numbers, got {value!r}")
        return tuple(_typed(kind, part, at) for kind, part in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UsageError(f"`{at}` must be of type {hint.__name__}, got {value!r}")
    return value


def _at_least(name: str, value: float, bound: float) -> None:
    if not value >= bound:
        raise UsageError(f"`{name}` must be at least {bound}, got {value}")


def _fraction(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        hint = f"it is a fraction; did you mean {value / 100}?" if 1.0 < value <= 100 else None
        raise UsageError(f"`{name}` must lie between 0.0 and 1.0, got {value}", hint=hint)
