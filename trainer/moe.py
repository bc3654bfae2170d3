"""A mixture of experts: each token passes the `k` SwiGLU experts its router likes best.

Shapes by suffix: N tokens, D width, E experts, F expert width, K experts per token, R = N K routed copies.
The load-balancing loss E sum_e f_e P_e (Switch) takes f as the share of routed copies, so a balanced router
has 1.0 (Megatron, OLMo-core; transformers counts copies per token and has K); f is summed over all ranks. The
router z-loss is the mean of logsumexp^2 (ST-MoE). Gates are renormalised over the chosen experts (Mixtral).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gristmill.trainer.shape import ModelConfig

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
        self.balance_weight, self.router_z_weight = config.balance_weight, config.router_z_weight
        self.router = Router(config.width, config.num_experts, bias=False)
        self.up = nn.Parameter(torch.empty(config.num_experts, 2 * config.ffn, config.width))
        self.down = nn.Parameter(torch.empty(config.num_experts, config.width, config.ffn))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts' output, shaped as x, and the weighted auxiliary loss."""
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
        return out_ND.view_as(x), self._auxiliary(logits_NE, probabilities_NE, counts_E)

    def _auxiliary(self, logits_NE: Tensor, probabilities_NE: Tensor, counts_E: Tensor) -> Tensor:
        balance = balance_loss(probabilities_NE, _over_ranks(counts_E.float()))
        return self.balance_weight * balance + self.router_z_weight * router_z_loss(logits_NE)


def balance_loss(probabilities_NE: Tensor, counts_E: Tensor) -> Tensor:
    """Return E sum_e f_e P_e: 1.0 when experts are used alike."""
    share_E = counts_E / counts_E.sum()
    return len(counts_E) * (share_E * probabilities_NE.mean(0)).sum()


def router_z_loss(logits_NE: Tensor) -> Tensor:
    """Return the mean of logsumexp^2, which keeps router logits small."""
    return logits_NE.logsumexp(-1).square().mean()


def grouped(x_RI: Tensor, w_EOI: Tensor, counts_E: Tensor) -> Tensor:
    """Multiply rows, sorted by expert, with their expert's matrix: one kernel in bf16 on CUDA, else a
    loop."""
    if _grouped_mm is not None and x_RI.dtype == torch.bfloat16 and x_RI.is_cuda:
        out: Tensor = _grouped_mm(x_RI, w_EOI.mT, offs=counts_E.cumsum(0).to(torch.int32))
        return out
    parts = torch.split(x_RI, counts_E.tolist())
    return torch.cat([F.linear(part, weight) for part, weight in zip(parts, w_EOI.unbind(), strict=True)])


@torch.compiler.disable
def _over_ranks(counts_E: Tensor) -> Tensor:
    if dist.is_initialized() and dist.get_world_size() > 1 and torch.is_grad_enabled():
        dist.all_reduce(counts_E)
    return counts_E
