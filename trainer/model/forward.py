"""The forward pass of a run: a batch with the mask its documents ask for, on the run's device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gristmill.trainer.config import Settings
from gristmill.trainer.data.batch import TokenBatch
from gristmill.trainer.model.attention import DocumentMasks, document_kernel
from gristmill.trainer.model.loss import TokenLosses
from gristmill.trainer.model.shape import ModelConfig


class Forward:
    """Call the module that trains; `masks` keeps the kernel and the size of its buffers."""

    def __init__(
        self, module: nn.Module, settings: Settings, config: ModelConfig, device: torch.device, dtype: Any
    ) -> None:
        self.module, self.device = module, device
        self.masked = settings.data.document_mask
        capped = config.attention_softcap > 0
        kernel = document_kernel(settings.attention, device, dtype, config.head_dim, capped)
        self.masks = DocumentMasks(kernel, device, config.windows)
        # the plain causal kernel has neither windows nor caps: there a row is one document
        self.special_scores = capped or config.windows != (0,)

    def __call__(self, batch: TokenBatch, **how: Any) -> Any:
        """Return what the model makes of inputs, positions and targets, `how` being its other arguments."""
        mask = self._mask(batch.positions)
        batch = batch.to(self.device)
        return self.module(batch.inputs, self._positions(batch), batch.targets, mask=mask, **how)

    @torch.no_grad()
    def likeliest(self, batch: TokenBatch) -> Tensor:
        """Return the likeliest token after each input (B, T), on the CPU."""
        mask = self._mask(batch.positions)
        batch = batch.to(self.device)
        logits: Tensor = self.module(batch.inputs, self._positions(batch), mask=mask)
        return logits.argmax(-1).cpu()

    def targets(self, tokens: Tensor, targets: Tensor) -> TokenLosses:
        """Return what each target of rows that are one document each came to."""
        mask = self.masks(self._whole(tokens.cpu())) if self.special_scores else None
        found: TokenLosses = self.module(tokens, None, targets, mask=mask)
        return found

    def _mask(self, positions: Tensor) -> Any:
        if self.masked:
            return self.masks(positions)
        return self.masks(self._whole(positions)) if self.special_scores else None

    def _positions(self, batch: TokenBatch) -> Tensor | None:
        return batch.positions if self.masked else None

    @staticmethod
    def _whole(tokens: Tensor) -> Tensor:
        return torch.arange(tokens.shape[1]).expand_as(tokens)
