"""Label pages in languages with little gold by two extractors that have nothing in common, where they agree.

    candidates = read_candidates(archives, pages)         # trafilatura's text of pages without gold
    silver = agreeing(candidates, fit_structure(pages))  # whose blocks a model of structure chooses alike

Such labels teach the words of these languages, and count for less than gold. They never judge a model:
agreement with trafilatura cannot show that a text is better than trafilatura's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gristmill.pipeline.extract.blocks.classifier import BlockModel
from gristmill.pipeline.extract.blocks.training.apply import apply
from gristmill.pipeline.extract.blocks.training.fit import fit
from gristmill.pipeline.extract.blocks.training.page import LabelledPage, label_page, responses
from gristmill.pipeline.extract.blocks.training.scores import score
from gristmill.pipeline.extract.decoding.charset import decode
from gristmill.text.detection import detect

ENOUGH_GOLD = 30  # pages with full gold: a language with fewer gets silver labels
MIN_AGREEMENT = 0.9  # F1 of the two texts
WEIGHT = 0.3  # of a silver page, where one with gold weighs one
_STRUCTURE_ROUNDS = 60  # a third of the trees choose well enough to agree or not


class Agreement(NamedTuple):
    """A candidate of an unseen domain: whether the two extractors agree, and how near a model's text comes to
    trafilatura's."""

    language: str
    agrees: bool
    f1: float


def read_candidates(archives: Sequence[Path], pages: Sequence[LabelledPage]) -> list[LabelledPage]:
    """Read the archives' pages without full gold in languages with little of it, labelled by trafilatura's
    text."""
    import trafilatura

    full = [page for page in pages if page.kind == "full"]
    num_gold = Counter(page.language for page in full)
    has_gold = {(page.source.partition("/")[0], page.url) for page in full}
    found = []
    for path in archives:
        for url, charset, body in responses(path):
            if (path.parent.name, url) in has_gold:
                continue
            html = decode(body, charset)[0]
            text = trafilatura.extract(html, url=url) or ""
            language = detect(text)[0] if text else None
            if language and num_gold[language] < ENOUGH_GOLD:
                row = {"gold_kind": "full", "gold_text": text, "lang": language, "source": "silver"}
                found.append(replace(label_page(url, html.encode(), row, path.parent.name), kind="silver"))
    return found


def fit_structure(pages: Sequence[LabelledPage]) -> BlockModel:
    """Fit a model that knows no words of any language."""
    return fit(pages, _STRUCTURE_ROUNDS, with_words=False)


def agrees(page: LabelledPage, structure: BlockModel) -> bool:
    """Tell whether what a model of structure alone chooses is about trafilatura's text."""
    return score(apply(page, structure)[0], page.gold).f1 >= MIN_AGREEMENT


def agreeing(candidates: Sequence[LabelledPage], structure: BlockModel) -> list[LabelledPage]:
    """Return the candidates on which the two extractors agree, with the weight of silver."""
    return [replace(page, weights=WEIGHT * page.weights) for page in candidates if agrees(page, structure)]
