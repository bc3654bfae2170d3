"""Extract a labelled page, already tokenized, by a model in training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks.classifier import BlockModel
from gristmill.pipeline.extract.blocks.extract import choose_blocks
from gristmill.pipeline.extract.blocks.main_text import write
from gristmill.pipeline.extract.blocks.training.page import LabelledPage


def apply(
    page: LabelledPage, model: BlockModel, recall_weight: float = 1.0, with_headline: bool = True
) -> tuple[str, npt.NDArray[np.float32]]:
    """Return the text a model extracts from a labelled page, and its blocks' probabilities."""
    choice = choose_blocks(page.html, page.tokenized, model, recall_weight, with_headline=with_headline)
    return write(page.html.tobytes(), page.tokenized, choice), choice.probabilities
