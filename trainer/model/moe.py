"""A mixture of experts: each token passes the `k` SwiGLU experts its router likes best.

Shapes by suffix: N tokens, D width, E experts, F expert width, K experts per token, R = N K routed copies, L
layers. The load-balancing loss E sum_e f_e P_e (Switch) takes f as the share of routed copies, so a balanced
router has 1.0 (Megatron, OLMo-core; transformers counts copies per token and has K). The router z-loss is the
mean of logsumexp^2 (ST-MoE). Gates are renormalised over the chosen experts (Mixtral).

Both losses are over the tokens of the whole step, as the cross-entropy is: f, P and the mean take in every
rank and every part of an accumulated batch (Qiu et al. 2025 measure what a part's own f costs), and no
padding. P and the mean are sums that parts add up to by themselves; f multiplies P and must be known before
the first backward pass, so where a step has several parts their routing is counted in a pass of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gristmill.trainer.model.shape import ModelConfig

_grouped_mm = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)


class Router(nn.Linear):
    """A linear map to one logit per expert, in fp32 whatever the rest computes in."""

    def forward(self, x_ND: Tensor) -> Tensor:
        return F.linear(x_ND.float(), self.weight.float())


class Experts(nn.Module):
    """Router and experts; gate and up are one matrix per expert, in this order."""

    gated = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_experts, self.k = config.num_experts, config.experts_per_token
        self.router = Router(config.width, config.num_experts, bias=False)
        self.up = nn.Parameter(torch.empty(config.num_experts, 2 * config.ffn, config.width))
        self.down = nn.Parameter(torch.empty(config.num_experts, config.width, config.ffn))

    def forward(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Routing | None]:
        """Return the experts' output, shaped as x, and what the router did with the tokens that `real` (N)
        marks."""
        x_ND = x.flatten(0, -2)
        logits_NE = self.router(x_ND)
        probabilities_NE = logits_NE.softmax(-1)
        gates_NK, chosen_NK = probabilities_NE.topk(self.k, dim=-1)
        gates_NK = gates_NK / gates_NK.sum(-1, keepdim=True)

        chosen_R = chosen_NK.flatten()
        counts_E = torch.zeros_like(logits_NE[0], dtype=torch.int64).scatter_add_(
            0, chosen_R, torch.ones_like(chosen_R)
        )
        order_R = chosen_R.argsort(stable=True)
        token_R = order_R // self.k
        gate_RF, up_RF = grouped(x_ND[token_R], self.up.to(x.dtype), counts_E).chunk(2, dim=-1)
        out_RD = grouped(F.silu(gate_RF) * up_RF, self.down.to(x.dtype), counts_E)
        out_RD = out_RD * gates_NK.flatten()[order_R, None].to(x.dtype)
        out_ND = torch.zeros_like(x_ND).index_add_(0, token_R, out_RD)
        if real is None:
            return out_ND.view_as(x), None
        real_N = real.float()
        copies_E = torch.zeros_like(logits_NE[0]).scatter_add_(0, chosen_R, real_N.repeat_interleave(self.k))
        squares = (logits_NE.logsumexp(-1).square() * real_N).sum()
        return out_ND.view_as(x), Routing(copies_E, real_N @ probabilities_NE, squares)


class Routing(NamedTuple):
    """What a layer's router did, summed over tokens: copies sent to each expert (no gradient),
    probabilities, and squared logsumexps."""

    copies_E: Tensor
    probabilities_E: Tensor
    squares: Tensor


def auxiliary_loss(routings: list[Routing], shares_LE: Tensor | None, config: ModelConfig) -> Tensor:
    """Return the weighted balance and z-losses, summed over this batch's tokens, the mean of the layers.

    `shares_LE` is each expert's share of a whole step's copies; without it, of this batch's over all ranks.
    Divided by the step's tokens and summed over its parts it is the loss of the step.
    """
    if shares_LE is None:
        shares_LE = shares(over_ranks(copies(routings)))
    probabilities_LE = torch.stack([routing.probabilities_E for routing in routings])
    balance = shares_LE.shape[1] * (shares_LE * probabilities_LE).sum()
    squares = torch.stack([routing.squares for routing in routings]).sum()
    return (config.balance_weight * balance + config.router_z_weight * squares) / len(routings)


def copies(routings: list[Routing]) -> Tensor:
    """Return the copies sent to each expert of each layer (L, E)."""
    return torch.stack([routing.copies_E for routing in routings]).detach()


def shares(copies_LE: Tensor) -> Tensor:
    """Return each expert's share of its layer's copies."""
    return copies_LE / copies_LE.sum(-1, keepdim=True).clamp(min=1)


def over_ranks(copies_LE: Tensor) -> Tensor:
    """Add up the copies of all ranks, in a training step."""
    if dist.is_initialized() and dist.get_world_size() > 1 and torch.is_grad_enabled():
        dist.all_reduce(copies_LE)
    return copies_LE


def balance_loss(probabilities_NE: Tensor, counts_E: Tensor) -> Tensor:
    """Return the definition, E sum_e f_e P_e: 1.0 when experts are used alike."""
    share_E = counts_E / counts_E.sum()
    return len(counts_E) * (share_E * probabilities_NE.mean(0)).sum()


def router_z_loss(logits_NE: Tensor) -> Tensor:
    """Return the definition, the mean of logsumexp^2, which keeps router logits small."""
    return logits_NE.logsumexp(-1).square().mean()


def grouped(x_RI: Tensor, w_EOI: Tensor, counts_E: Tensor) -> Tensor:
    """Multiply rows, sorted by expert, with their expert's matrix: one kernel in bf16 on CUDA, else a
    loop."""
    if _grouped_mm is not None and x_RI.dtype == torch.bfloat16 and x_RI.is_cuda:
        out: Tensor = _grouped_mm(x_RI, w_EOI.mT, offs=counts_E.cumsum(0).to(torch.int32))
        return out
    product: Tensor = _loop(x_RI, w_EOI, counts_E)
    return product


def _grouped_loop(x_RI: Tensor, w_EOI: Tensor, counts_E: Tensor) -> Tensor:
    parts = torch.split(x_RI, counts_E.tolist())
    return torch.cat([F.linear(part, weight) for part, weight in zip(parts, w_EOI.unbind(), strict=True)])


def _grouped_loop_for_weights(d_RO: Tensor, x_RI: Tensor, counts_E: Tensor) -> Tensor:
    parts = (torch.split(rows, counts_E.tolist()) for rows in (d_RO, x_RI))
    return torch.stack([d.t() @ x for d, x in zip(*parts, strict=True)])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, d_RO: Tensor) -> tuple[Tensor, Tensor, None]:
    x_RI, w_EOI, counts_E = ctx.saved_tensors
    return _loop(d_RO, w_EOI.mT, counts_E), _loop_for_weights(d_RO, x_RI, counts_E), None


# Operators of their own, since the numbers of rows per expert are read: inlined they would break the graph.
_loop: Any = torch.library.custom_op(
    "gristmill::experts", _grouped_loop, mutates_args=(), schema="(Tensor x, Tensor w, Tensor n) -> Tensor"
)
_loop_for_weights: Any = torch.library.custom_op(
    "gristmill::experts_weights", _grouped_loop_for_weights, mutates_args=(),
    schema="(Tensor d, Tensor x, Tensor n) -> Tensor",
)  # fmt: skip
_loop.register_fake(lambda x, w, n: x.new_empty(x.shape[0], w.shape[1]))
_loop_for_weights.register_fake(lambda d, x, n: x.new_empty(n.shape[0], d.shape[1], x.shape[1]))
_loop.register_autograd(_gradients, setup_context=_save)
