"""Main text by a learned classifier of blocks over a single pass of the page, without a tree.

    from gristmill.pipeline.extract.blocks.extract import extract
    page = extract(html, "https://example.org/a", BlocksSettings())
    page.text, page.title, page.date, page.caps

How a page goes: `tokenizer` cuts it into blocks of text, `features` measures each, `trees` gives each a
probability, `cut` keeps those that maximise the expected F1, `rendering` writes them. All are compiled and
bounded: linear in the page, with caps that are reported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.classifier import SHIPPED, Model, load_model
from gristmill.pipeline.extract.blocks.columns import IS_COPY
from gristmill.pipeline.extract.blocks.cut import choose
from gristmill.pipeline.extract.blocks.features import measure
from gristmill.pipeline.extract.blocks.metadata import describe
from gristmill.pipeline.extract.blocks.rendering import markdown, plain_text
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.tokenizer import tokenize
from gristmill.pipeline.extract.extracted import Extracted

_DEFAULTS = BlocksSettings()


def extract(html: str | bytes, url: str | None = None, settings: BlocksSettings = _DEFAULTS) -> Extracted:
    """Extract a page's main text; `html` is a string without lone surrogates or valid UTF-8 (see
    `charset.decode`)."""
    data = html.encode() if isinstance(html, str) else html
    model = load_model(Path(settings.model) if settings.model else SHIPPED)
    page = np.frombuffer(data, dtype=np.uint8)
    text, blocks, elements, tokens, words, marks, caps = tokenize(page)
    kept = choose_blocks(page, blocks, elements, tokens, words, marks, model, settings.recall_weight)
    if settings.format == "markdown":
        main = markdown(text, blocks, elements, kept)
    else:
        main = plain_text(text, blocks, elements, kept).tobytes().decode()
    named = tuple(name for bit, name in enumerate(L.CAPS) if caps >> bit & 1)
    if not settings.metadata:
        return Extracted(main, caps=named)
    about = describe(data, marks, url)
    return Extracted(main, about.title, about.author, about.date, about.site_name, about.canonical_url, named)


def choose_blocks(
    page: npt.NDArray[np.uint8],
    blocks: npt.NDArray[np.int32],
    elements: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int32],
    words: npt.NDArray[np.int32],
    marks: npt.NDArray[np.int64],
    model: Model,
    recall_weight: float = 1.0,
) -> npt.NDArray[np.bool_]:
    """Return which blocks of a tokenized page are main text."""
    x = measure(page, blocks, elements, tokens, words, marks, *model.tables)
    kept: npt.NDArray[np.bool_] = choose(model.probabilities(x), blocks, x[:, IS_COPY], float(recall_weight))
    return kept
