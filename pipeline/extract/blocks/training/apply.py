"""Extract a labelled page, already tokenized, by a model in training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks.classifier import Model
from gristmill.pipeline.extract.blocks.columns import IS_COPY
from gristmill.pipeline.extract.blocks.cut import choose
from gristmill.pipeline.extract.blocks.features import measure
from gristmill.pipeline.extract.blocks.rendering import plain_text
from gristmill.pipeline.extract.blocks.training.page import LabelledPage


def apply(
    page: LabelledPage, model: Model, recall_weight: float = 1.0
) -> tuple[str, npt.NDArray[np.float32]]:
    """Return the text a model extracts from a labelled page, and its blocks' probabilities."""
    x = measure(page.html, page.blocks, page.elements, page.tokens, page.words, page.marks, *model.tables)
    probabilities = model.probabilities(x)
    kept = choose(probabilities, page.blocks, x[:, IS_COPY], recall_weight)
    return plain_text(page.text, page.blocks, page.elements, kept).tobytes().decode(), probabilities
