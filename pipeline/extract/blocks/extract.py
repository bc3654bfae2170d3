"""Main text by a learned classifier of blocks over a single pass of the page, without a tree.

    from gristmill.pipeline.extract.blocks.extract import extract
    page = extract(html, "https://example.org/a", BlocksSettings())
    page.text, page.title, page.date, page.caps

How a page goes: `tokenizer` cuts it into blocks of text, `features` measures each, `trees` gives each a
probability, `cut` keeps those that maximise the expected F1, `strays` and `headline` mend that choice,
`main_text` writes it. All but the last are compiled, and all are bounded: linear in the page, with caps that
are reported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import comments, elsewhere
from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.classifier import SHIPPED, BlockModel, load_model
from gristmill.pipeline.extract.blocks.columns import IS_COPY
from gristmill.pipeline.extract.blocks.cut import Choice
from gristmill.pipeline.extract.blocks.features import measure
from gristmill.pipeline.extract.blocks.headline import keep_headline
from gristmill.pipeline.extract.blocks.main_text import write
from gristmill.pipeline.extract.blocks.metadata import describe
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.strays import settle
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds
from gristmill.pipeline.extract.blocks.surroundings import PROSE_LINKS, PROSE_WORDS
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized, tokenize
from gristmill.pipeline.extract.extracted import Extracted

_DEFAULTS = BlocksSettings()
_FEW_WORDS = 30  # a page that keeps fewer is looked at again
_MUCH_MORE = 5  # times the words kept, from which prose that is shown tells of a loss


def extract(html: str | bytes, url: str | None = None, settings: BlocksSettings = _DEFAULTS) -> Extracted:
    """Extract a page's main text; `html` is a string without lone surrogates or valid UTF-8 (see
    `charset.decode`)."""
    data = html.encode() if isinstance(html, str) else html
    model = load_model(Path(settings.model) if settings.model else SHIPPED)
    page = np.frombuffer(data, dtype=np.uint8)
    mode = settings.mode()
    tokenized = tokenize(page, mode)
    choice = choose_blocks(
        page, tokenized, model, settings.recall_weight, settings.comments, settings.headline
    )
    is_markdown = settings.format == "markdown"
    bounds = Bounds.of(len(data), is_markdown)
    main = write(data, tokenized, choice, mode, is_markdown, bounds)
    taken_from, is_short = "page", False
    kept_words = int(np.dot(tokenized.blocks[:, L.WORDS], choice.kept))
    if kept_words < _FEW_WORDS:
        prose = _prose_words(tokenized)
        is_short = prose > max(_FEW_WORDS, _MUCH_MORE * kept_words)
        if not is_short:
            text, where = elsewhere.find(data, tokenized.marks)
            main, taken_from = (text, where) if len(text) > 2 * len(main) else (main, "page")
    named = tuple(sorted(bounds.met))
    if tokenized.caps:
        named = (*(name for bit, name in enumerate(L.CAPS) if tokenized.caps >> bit & 1), *named)
    if not settings.metadata:
        return Extracted(main, caps=named, taken_from=taken_from, is_short=is_short)
    about = describe(data, tokenized.marks, url)
    return Extracted(
        main,
        about.title,
        about.author,
        about.date,
        about.site_name,
        about.canonical_url,
        named,
        taken_from=taken_from,
        is_short=is_short,
    )


def _prose_words(tokenized: Tokenized) -> int:
    """Count the words a page shows in paragraphs: long blocks, few of whose words are links."""
    blocks = tokenized.blocks
    words = blocks[:, L.WORDS]
    is_prose = (words >= PROSE_WORDS) & (blocks[:, L.LINK_WORDS] <= PROSE_LINKS * words)
    hidden = tokenized.elements[blocks[:, L.ELEMENT], L.CONTEXT] & (T.HIDDEN | T.FOOTER | T.NAV | T.NOSCRIPT)
    return int(words[is_prose & (hidden == 0)].sum())


def choose_blocks(
    page: npt.NDArray[np.uint8],
    tokenized: Tokenized,
    model: BlockModel,
    recall_weight: float = 1.0,
    with_comments: bool = True,
    with_headline: bool = True,
) -> Choice:
    """Choose the blocks of a tokenized page that are main text, readers' comments under it and the headline
    above it or not."""
    blocks, elements = tokenized.blocks, tokenized.elements
    x = measure(page, blocks, elements, tokenized.tokens, tokenized.words, tokenized.marks, *model.tables)
    probabilities, repeated = model.probabilities(x, len(blocks)), x[IS_COPY, : len(blocks)]
    choice = Choice(
        settle(probabilities, blocks, elements, repeated, float(recall_weight)), probabilities, repeated
    )
    if not with_comments and (found := comments.find(tokenized)).any():
        others = np.where(found, np.float32(0), probabilities)
        article = settle(others, blocks, elements, repeated, float(recall_weight)) & ~found
        if blocks[article, L.WORDS].sum() >= comments.MIN_WORDS:
            choice = Choice(article, others, repeated)
    if with_headline:
        keep_headline(page, tokenized.marks, blocks, tokenized.words, choice.probabilities, choice.kept)
    return choice
