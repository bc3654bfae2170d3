"""Contrastive search (Su et al. 2022): of the likeliest k tokens the one that least repeats what came before.

score(v) = (1 - a) p(v) - a max over earlier positions of cos(state of v, their state)

The states are the last layer's. Each step reads the prefix with all k candidates, without a cache: for
measures on small models, not for serving.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.trainer.model.decoder import Model


@torch.no_grad()
def contrastive_search(
    model: Model, prompt: list[int], eos_id: int, k: int, alpha: float, max_tokens: int, vocab: int
) -> list[int]:
    """Return the tokens that follow a prompt, up to EOS (left out) or the end of the context."""
    device = model.embed.weight.device
    out: list[int] = []
    for _ in range(min(max_tokens, model.config.context - len(prompt))):
        prefix = torch.tensor([prompt + out], device=device)
        p = model(prefix, last=True)[0, -1, :vocab].float().softmax(-1)
        likely = p.topk(min(k, vocab))
        rows = torch.cat([prefix.expand(len(likely.indices), -1), likely.indices[:, None]], 1)
        states: Tensor = F.normalize(model(rows, hidden=True).float(), dim=-1)
        alike = (states[:, :-1] @ states[:, -1:].transpose(1, 2))[:, :, 0].amax(1)
        token = int(likely.indices[((1 - alpha) * likely.values - alpha * alike).argmax()])
        if token == eos_id:
            break
        out.append(token)
    return out
