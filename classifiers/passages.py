"""From documents to what fastText reads: one line of prepared text, and a balanced, hash-ordered choice of
passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.settings import ClassifierSettings, Preparation, Window
from gristmill.errors import InputError
from gristmill.hashing import digest16, keyed_hash
from gristmill.heldout import for_training, is_heldout, units
from gristmill.storage import read_tables

Sources = Mapping[str, Sequence[Path]]

# fastText ends a line at a newline and treats NUL and </s> as its own; `\s` covers every other kind of white
# space.
_SPACES = re.compile(r"[\s\0]+")
# Scripts that put no blanks between words: each code point becomes a word, else a whole sentence is one
# unknown word.
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


@dataclass(frozen=True, slots=True, order=True)
class Passage:
    """A stretch of a document; `order` is its place in the keyed shuffle, which decides what is sampled."""

    order: int
    id: bytes
    source: str
    text: str


def prepare(text: str, how: Preparation) -> str:
    """Return the text on one line, as the named preparation has it."""
    if how == "lines":
        return " ".join(text.strip().splitlines()).replace("\0", " ")
    if how == "folded":
        text = _UNSPACED.sub(r" \1 ", text.lower())
    return _SPACES.sub(" ", text).strip()


def window(text: str, which: Window, chars: int) -> str:
    """Cut out the characters of a text that are scored."""
    if which == "whole" or len(text) <= chars:
        return text
    if which == "pile":
        return text[:4000][-1500:]
    start = {"head": 0, "middle": (len(text) - chars) // 2, "tail": len(text) - chars}[which]
    return text[start : start + chars]


def lines(texts: Iterable[str | None], settings: ClassifierSettings) -> list[str]:
    """Return each text's line as it is scored; no text scores as an empty one."""
    return [
        prepare(window(text or "", settings.window, settings.window_chars), settings.prepare)
        for text in texts
    ]


def sample(
    sources: Sources,
    settings: ClassifierSettings,
    seed: int,
    excluded_fraction: float,
    *,
    heldout: bool,
    quota: int,
) -> list[Passage]:
    """Choose up to `quota` passages in equal parts from the sources, by keyed hash; a source with fewer gives
    all it has.

    Documents of the corpus's own held-out split are never read; of the others, a fraction is the classifier's
    held-out part.
    """
    share = max(1, quota // len(sources))
    chosen: list[Passage] = []
    for source, paths in sources.items():
        passages = (
            passage
            for path in paths
            for table in read_tables(path)
            for passage in _passages(
                for_training(table, seed, excluded_fraction), source, settings, seed, heldout
            )
        )
        chosen += smallest(passages, share)
    return sorted(chosen)


def num_passages(documents: pa.Table, settings: ClassifierSettings, seed: int) -> dict[str, int]:
    """Count the passages of documents, those of the classifier's training part and of its held-out part;
    blank ones too."""
    heldout = is_heldout(seed, settings.heldout_fraction, _classifier_units(documents))
    chars = np.asarray(pc.fill_null(pc.utf8_length(documents["text"]), 0)).astype(np.int64)
    counts = {}
    for part, mine, size in (
        ("training", ~heldout, settings.passage_chars),
        ("heldout", heldout, settings.window_chars),
    ):
        own = chars[mine & (chars > 0)]
        counts[part] = int((-(-np.maximum(own - size // 2, 1) // size)).sum())
    return counts


def quotas(settings: ClassifierSettings) -> dict[str, int]:
    """How many passages of one class each part is to have."""
    return {
        "training": settings.examples,
        "heldout": max(1000, int(settings.examples * settings.heldout_fraction)),
    }


def sample_bounds(
    settings: ClassifierSettings, counts: Mapping[str, int], num_sources: int
) -> dict[str, int]:
    """For each part, an order below which a source of that many passages has its share of the quota, and few
    more.

    Orders are hashes: seven standard deviations are added to what is needed, and a twentieth for passages
    that are blank.
    """
    bounds = {}
    for part, quota in quotas(settings).items():
        share = max(1, quota // num_sources)
        needed = 1.05 * share + 7 * share**0.5 + 50
        bounds[part] = 1 << 64 if needed >= counts.get(part, 0) else int((1 << 64) * needed / counts[part])
    return bounds


def with_passages_below(
    documents: pa.Table, settings: ClassifierSettings, seed: int, bounds: Mapping[str, int]
) -> pa.Table:
    """Return the documents that have a passage with an order below the bound of their part: no other can be
    sampled."""
    heldout = is_heldout(seed, settings.heldout_fraction, _classifier_units(documents))
    sizes = {True: settings.window_chars, False: settings.passage_chars}
    limits = {True: bounds["heldout"], False: bounds["training"]}
    wanted = []
    for document, text, out in zip(
        documents["id"].to_pylist(), documents["text"].to_pylist(), heldout.tolist(), strict=True
    ):
        orders = _orders(document, len(_starts(text or "", sizes[out])), seed)
        wanted.append(bool(text) and any(order < limits[out] for order in orders))
    return documents.filter(pa.array(wanted, pa.bool_()))


def smallest(passages: Iterable[Passage], count: int) -> list[Passage]:
    """Keep the `count` first in order, holding at most twice as many."""
    kept: list[Passage] = []
    bound: int | None = None
    for passage in passages:
        if bound is not None and passage.order >= bound:
            continue
        kept.append(passage)
        if len(kept) >= 2 * count:
            kept = sorted(kept)[:count]
            bound = kept[-1].order
    return sorted(kept)[:count]


def balanced(positives: list[Passage], negatives: list[Passage]) -> tuple[list[Passage], list[Passage]]:
    """Trim the larger class by hash order to the size of the smaller."""
    for name, passages in (("positives", positives), ("negatives", negatives)):
        if not passages:
            raise InputError(
                f"the class of {name} has no examples: its sources hold no document with text",
                hint=(
                    "name other sources in `classify`, or see with `gristmill status` what removed their"
                    " documents"
                ),
            )
    size = min(len(positives), len(negatives))
    return positives[:size], negatives[:size]


def _passages(
    table: pa.Table, source: str, settings: ClassifierSettings, seed: int, heldout: bool
) -> Iterator[Passage]:
    mine = is_heldout(seed, settings.heldout_fraction, _classifier_units(table)) == heldout
    table = table.filter(pa.array(mine))
    ids = table["id"].to_pylist()
    for document, text in zip(ids, table["text"].to_pylist(), strict=True):
        pieces = _cut(text or "", settings.window_chars if heldout else settings.passage_chars, settings)
        orders = _orders(document, len(pieces), seed)
        for order, piece in zip(orders, pieces, strict=True):
            yield Passage(order, document, source, piece)


def _classifier_units(table: pa.Table) -> pa.Array:
    # Another key than the corpus's held-out split: that one is cut off before, so its draws are all above the
    # bound here.
    return pa.array([digest16("classifier", unit) for unit in units(table).to_pylist()], pa.binary(16))


def _cut(text: str, size: int, settings: ClassifierSettings) -> list[str]:
    """Cut a text into passages, so that a book is many examples and none is longer than what is scored of a
    page."""
    pieces = [prepare(text[start : start + size], settings.prepare) for start in _starts(text, size)]
    return [piece for piece in pieces if piece]


def _starts(text: str, size: int) -> range:
    """Where a text is cut: a rest of half a passage or less belongs to none."""
    return range(0, max(len(text) - size // 2, 1), size)


def _orders(document: bytes, count: int, seed: int) -> list[int]:
    keys = [digest16(document, str(number)) for number in range(count)]
    hashed = keyed_hash(seed, "classifier.sample", pa.array(keys, pa.binary(16)))
    return [int(value) for value in np.asarray(hashed)]
