"""Write what a page keeps: its blocks in order, code and tables from their own markup, formulas as TeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.cut import Choice
from gristmill.pipeline.extract.blocks.rendering import plain_text
from gristmill.pipeline.extract.blocks.structure import delimiters, regions
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds
from gristmill.pipeline.extract.blocks.structure.inline import HELD, Stash
from gristmill.pipeline.extract.blocks.structure.listings import Listing
from gristmill.pipeline.extract.blocks.structure.markdown import markdown
from gristmill.pipeline.extract.blocks.structure.regions import Region
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized


def write(
    page: bytes,
    tokenized: Tokenized,
    choice: Choice,
    mode: int = 0,
    is_markdown: bool = False,
    bounds: Bounds | None = None,
) -> str:
    """Return the text of the kept blocks; what is kept is completed in place, where code, tables and formulas
    are kept or dropped as a whole. `bounds` are told which were met."""
    bounds = bounds or Bounds.of(len(page), is_markdown)
    found = regions.find(page, tokenized, choice, mode, is_markdown, bounds)
    kept = choice.kept
    has_formulas = tokenized.num_formulas > 0
    if has_formulas:
        _keep_formulas(tokenized, kept)
    if not (is_markdown or has_formulas or found):
        text = plain_text(tokenized.text, tokenized.blocks, tokenized.elements, kept).tobytes().decode()
        return _without_marks(delimiters.mark(page, text))
    stash = Stash(page, tokenized.inserts, is_markdown, bounds)
    writer = markdown if is_markdown else _plain
    text = writer(tokenized, kept, found, stash)
    text = delimiters.mark(page, text)
    return stash.release(text).strip("\n") if stash.held else text


def _without_marks(text: str) -> str:
    """Take the bytes of phrases out of plain text; one that leaves nothing leaves one blank, not two."""
    if HELD not in text:
        return text
    return text.replace(f" {HELD} ", " ").replace(HELD, "").strip("\n")


def _keep_formulas(tokenized: Tokenized, kept: npt.NDArray[np.bool_]) -> None:
    """Keep blocks of nothing but formulas that stand beside what is kept."""
    blocks, inserts = tokenized.blocks, tokenized.inserts
    at = inserts[inserts[:, L.KIND] == L.FORMULA, L.TEXT_AT]
    owner = np.searchsorted(blocks[:, L.START], at, side="right") - 1
    numbers = Counter(owner[(owner >= 0) & (at < blocks[owner, L.END])].tolist())
    for b, number in sorted(numbers.items()):
        if number >= blocks[b, L.WORDS] and not kept[b]:
            kept[b] = kept[max(b - 2, 0) : b].any() or kept[b + 1 : b + 3].any()


def _plain(tokenized: Tokenized, kept: npt.NDArray[np.bool_], found: Sequence[Region], stash: Stash) -> str:
    """Write plain text; a region is one block that is held back."""
    text, blocks, elements = tokenized.text, tokenized.blocks, tokenized.elements
    if found:
        kept, blocks = kept.copy(), blocks.copy()
        held_at = len(text)
        text = np.append(text, np.uint8(L.INSERT_BYTE))
        for region in found:
            kept[region.first + 1 : region.end] = False
            blocks[region.first, L.START], blocks[region.first, L.END] = held_at, held_at + 1
    main: str = plain_text(text, blocks, elements, kept).tobytes().decode()
    if HELD not in main:
        return main
    listings = {region.first: region.content.text for region in found if isinstance(region.content, Listing)}
    places = np.flatnonzero(tokenized.text == L.INSERT_BYTE)
    owner = np.searchsorted(tokenized.blocks[:, L.START], places, side="right") - 1
    is_held = (owner >= 0) & (places < tokenized.blocks[owner, L.END]) & kept[owner]
    held = zip(owner[is_held].tolist(), places[is_held].tolist(), strict=True)
    phrases = ((b, at) for b, at in held if b not in listings)
    for b, at in sorted([*phrases, *((b, -1) for b in listings)]):
        stash.hold(listings[b] if at < 0 else stash.plain(at))
    return main
