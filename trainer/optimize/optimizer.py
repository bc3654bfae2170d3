"""AdamW and Muon in one optimizer, clipped and skipped on the device: no step waits for the host.

Whether a step is taken is a tensor `take` (1 or 0), and the clipping factor is one too; both go into the
update itself. State is a flat dict of name -> tensor, sharded as the parameters are, so a checkpoint needs no
translation.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.adamw import adamw

from gristmill.trainer.config import OptimizerSettings
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.optimize.muon import Muon
from gristmill.trainer.ranks.sharding import local, shard_group


class Optimizer:
    """Hold moments beside the parameters of a model; `step` applies one update in place."""

    def __init__(self, model: Model, settings: OptimizerSettings, dtype: torch.dtype = torch.float32) -> None:
        self.settings, self.width = settings, model.config.width
        self.parameters = dict(model.named_parameters())
        muon = settings.name == "muon"
        matrices = {
            name: p for name, p in self.parameters.items() if muon and p.ndim >= 2 and _is_hidden(name)
        }
        self.muon = Muon(matrices, _splits(model), dtype)
        self.adamw = [name for name in self.parameters if name not in matrices]
        device = next(model.parameters()).device
        self.state: dict[str, Tensor] = {"adamw_steps": torch.zeros(len(self.adamw), device=device)}
        for name in self.adamw:
            self.state[f"exp_avg.{name}"] = torch.zeros_like(self.parameters[name])
            self.state[f"exp_avg_sq.{name}"] = torch.zeros_like(self.parameters[name])
        for name in matrices:
            self.state[f"momentum.{name}"] = torch.zeros_like(self.parameters[name])
        self.averaged = list(self.parameters) if settings.ema_decay else []
        if self.averaged:  # the average is this over its weight, so that it needs no first value
            self.state["ema_weight"] = torch.zeros((), device=device)
            self.state |= {f"ema.{name}": torch.zeros_like(self.parameters[name]) for name in self.averaged}

    def _decays(self, name: str) -> bool:
        outside = name.startswith(("embed.", "positions.", "head."))
        return outside if outside and self.settings.decay_embeddings else _is_hidden(name)

    def _rate(self, name: str) -> float:
        """Return what a weight's learning rate is multiplied by: with muP, those that read the residual
        stream and write to it are slower the wider it is (Yang et al. 2022, table 3)."""
        scaled = self.settings.mup_base_width and (_is_hidden(name) or name == "head.weight")
        return self.settings.mup_base_width / self.width if scaled else 1.0

    def grad_norm(self) -> Tensor:
        """Return the global norm of the gradients, fp32, on the device."""
        grads = [p.grad for p in self.parameters.values() if p.grad is not None]
        norms = torch._foreach_norm([local(grad) for grad in grads])
        square: Tensor = torch.stack(list(norms)).square().sum()
        groups = [group for grad in grads if (group := shard_group(grad)) is not None]
        if groups:  # each rank holds its own rows
            dist.all_reduce(square, group=groups[0])
        return square.sqrt()

    @torch.no_grad()
    def step(self, factor: float, norm: Tensor, take: Tensor) -> None:
        """Update with the learning rate times `factor`, gradients clipped by their `norm`, if `take` is 1."""
        clip = self.settings.clip
        shrink = (norm / clip).clamp(min=1.0) if clip else torch.ones_like(norm)
        shrink = torch.where(take > 0, shrink, 1.0)  # a non-finite norm must not reach even a skipped update
        self._adamw_step(self.settings.lr * factor, shrink, 1.0 - take)
        if self.muon.parameters:
            self._muon_step((self.settings.muon_lr or self.settings.lr) * factor, shrink, take)
        for parameter in self.parameters.values():
            parameter.grad = None
        if self.averaged:
            share = 1 - self.settings.ema_decay
            self.state["ema_weight"].lerp_(torch.ones_like(norm), share)
            averages = [local(self.state[f"ema.{name}"]) for name in self.averaged]
            weights = [local(self.parameters[name]) for name in self.averaged]
            torch._foreach_lerp_(averages, weights, share)

    def _adamw_step(self, lr: float, shrink: Tensor, skip: Tensor) -> None:
        steps = dict(zip(self.adamw, self.state["adamw_steps"].unbind(), strict=True))
        used = [name for name in self.adamw if self.parameters[name].grad is not None]
        decayed = [name for name in used if self.parameters[name].ndim >= 2 and self._decays(name)]
        rest = [name for name in used if name not in set(decayed)]
        groups: dict[tuple[float, float], list[str]] = {}
        for names, weight_decay in ((decayed, self.settings.weight_decay), (rest, 0.0)):
            for name in names:
                rate = self._rate(name)  # what decays is lr x weight_decay, for any rate
                groups.setdefault((rate, weight_decay / rate), []).append(name)
        for (rate, weight_decay), names in groups.items():
            adamw(
                [local(self.parameters[name]) for name in names],
                [local(self.parameters[name].grad) for name in names],
                [local(self.state[f"exp_avg.{name}"]) for name in names],
                [local(self.state[f"exp_avg_sq.{name}"]) for name in names],
                [],
                [steps[name] for name in names],
                fused=True,
                grad_scale=shrink,  # the kernel divides gradients by it
                found_inf=skip,  # and leaves everything as it is where this is 1
                amsgrad=False,
                beta1=self.settings.betas[0],
                beta2=self.settings.betas[1],
                lr=lr * rate,
                weight_decay=weight_decay,
                eps=self.settings.eps,
                maximize=False,
            )

    def _muon_step(self, lr: float, shrink: Tensor, take: Tensor) -> None:
        beta = self.settings.momentum

        def update(name: str) -> Tensor:
            grad, momentum = local(self.parameters[name].grad), local(self.state[f"momentum.{name}"])
            grad = torch.where(take > 0, grad, 0.0) / shrink
            momentum.lerp_(grad, (1 - beta) * take)
            return torch.as_tensor(grad.lerp(momentum, beta))

        for name, change in self.muon.updates(update):
            parameter = local(self.parameters[name])
            parameter.mul_(1 - take * lr * self.settings.weight_decay)
            parameter.sub_(change.to(parameter.dtype) * (take * lr))


def _is_hidden(name: str) -> bool:
    return (
        name.startswith("blocks.")
        and "router" not in name
        and not name.endswith("bias")
        and "norm" not in name
    )


def _splits(model: Model) -> dict[str, list[int]]:
    """Return where fused matrices divide into the maps they stand for: Muon must treat those apart."""
    splits = {}
    for name, module in model.named_modules():
        if hasattr(module, "qkv"):
            q, kv = module.heads * module.head_dim, module.kv_heads * module.head_dim
            splits[f"{name}.qkv.weight"] = [q, kv, kv]
        if getattr(module, "gated", False):
            rows = module.down.shape[-1] if isinstance(module.down, Tensor) else module.down.in_features
            splits[f"{name}.up" if isinstance(module.up, Tensor) else f"{name}.up.weight"] = [rows, rows]
    return splits
