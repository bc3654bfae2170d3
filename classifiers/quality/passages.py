"""A balanced, hash-ordered choice of passages: those to train on, and those held out to calibrate and
judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.quality.lines import cut, lines, starts
from gristmill.classifiers.quality.parts import units_of
from gristmill.classifiers.settings import ClassifierSettings
from gristmill.errors import InputError
from gristmill.files.storage import read_tables
from gristmill.hashing import digest16, keyed_hash
from gristmill.heldout import for_training, is_heldout

Sources = Mapping[str, Sequence[Path]]
Large = frozenset[str]
COLUMNS = ("id", "cluster_id", "url", "language", "text")  # of a document: what a passage is made of
_LATER = 1 << 63  # added to the order of a held-out document's passages after the one that is scored
_FEW_DOCUMENTS = 50  # held out of a class: its later passages are taken, too


@dataclass(frozen=True, slots=True, order=True)
class Passage:
    """A stretch of a document; `order` is its place in the keyed shuffle, which decides what is sampled."""

    order: int
    id: bytes
    source: str
    text: str
    unit: bytes = b""
    language: str = ""


def sample(
    sources: Sources,
    settings: ClassifierSettings,
    seed: int,
    excluded_fraction: float,
    *,
    heldout: bool,
    quota: int,
    large: Large = frozenset(),
    language: str | None = None,
) -> list[Passage]:
    """Choose up to `quota` passages in equal parts from the sources, by keyed hash; a source with fewer gives
    all it has.

    Documents of the corpus's own held-out split are never read; of the others, a fraction is the classifier's
    held-out part. A held-out document gives the window that is scored of it, and further passages only where
    its class has few documents. `language` takes documents of that language alone.
    """
    share = max(1, quota // len(sources))
    chosen: list[Passage] = []
    for source, paths in sources.items():
        passages = (
            passage
            for path in paths
            for table in read_tables(path)
            for passage in _passages(
                _of_language(for_training(table, seed, excluded_fraction), language),
                source,
                settings,
                seed,
                heldout,
                large,
            )
        )
        chosen += smallest(passages, share)
    scored = [passage for passage in chosen if passage.order < _LATER]
    return sorted(scored if heldout and len(scored) >= _FEW_DOCUMENTS else chosen)


def num_passages(
    documents: pa.Table, settings: ClassifierSettings, seed: int, large: Large = frozenset()
) -> Counter[str]:
    """Count training passages and held-out documents, blank ones too: keys are PART/GROUP as in `groups`."""
    heldout = is_heldout(seed, settings.heldout_fraction, _units(documents, large))
    chars = np.asarray(pc.fill_null(pc.utf8_length(documents["text"]), 0)).astype(np.int64)
    size = settings.passage_chars
    pieces = np.where(heldout, 1, -(-np.maximum(chars - size // 2, 1) // size)) * (chars > 0)
    counts: Counter[str] = Counter()
    for out, group, count in zip(heldout.tolist(), groups(documents, settings), pieces.tolist(), strict=True):
        counts[f"{'heldout' if out else 'training'}/{group}"] += count
    return counts


def groups(documents: pa.Table, settings: ClassifierSettings) -> list[str]:
    """What each document is sampled with: its language where models go by it, else one group of all."""
    if settings.by is None or "language" not in documents.schema.names:
        return [""] * documents.num_rows
    return [language or "" for language in documents["language"].to_pylist()]


def quotas(settings: ClassifierSettings) -> dict[str, int]:
    """How many passages of one class each part is to have."""
    return {
        "training": settings.examples,
        "heldout": max(2000, int(settings.examples * settings.heldout_fraction)),
    }


def sample_bounds(
    settings: ClassifierSettings, counts: Mapping[str, int], num_sources: int
) -> dict[str, int]:
    """For each part and group, an order below which a source of that many passages has its share of the
    quota, and few more.

    Orders are hashes: seven standard deviations are added to what is needed, and a twentieth for passages
    that are blank. Where a source's held-out documents are all needed, so may be their later passages.
    """
    bounds = {}
    for key, count in counts.items():
        part = key.partition("/")[0]
        share = max(1, quotas(settings)[part] // num_sources)
        needed = 1.05 * share + 7 * share**0.5 + 50
        whole = _LATER if part == "heldout" else 1 << 64
        bounds[key] = 1 << 64 if needed >= count else int(whole * needed / count)
    return bounds


def with_passages_below(
    documents: pa.Table,
    settings: ClassifierSettings,
    seed: int,
    bounds: Mapping[str, int],
    large: Large = frozenset(),
) -> pa.Table:
    """Return the documents that have a passage with an order below the bound of their part: no other can be
    sampled."""
    heldout = is_heldout(seed, settings.heldout_fraction, _units(documents, large))
    wanted = []
    for document, text, out, group in zip(
        documents["id"].to_pylist(),
        documents["text"].to_pylist(),
        heldout.tolist(),
        groups(documents, settings),
        strict=True,
    ):
        limit = bounds.get(f"{'heldout' if out else 'training'}/{group}", 0)
        size = settings.window_chars if out else settings.passage_chars
        orders = _orders(document, len(starts(text or "", size)), seed, heldout=out)
        wanted.append(bool(text) and min(orders) < limit)
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
                    " documents; of few documents or domains, raise `classify.classifier.heldout_fraction`"
                ),
            )
    size = min(len(positives), len(negatives))
    return positives[:size], negatives[:size]


def of_equal_lengths(
    positives: Sequence[Passage], negatives: Sequence[Passage]
) -> tuple[list[Passage], list[Passage]]:
    """Cut passages so that both classes have the same lengths: the n-th longest of one goes with the n-th
    longest of the other, and the longer of the two ends at the last blank within the shorter's length."""
    pair: list[list[Passage]] = [[], []]
    ordered = [
        sorted(side, key=lambda passage: (len(passage.text), passage)) for side in (positives, negatives)
    ]
    for both in zip(*ordered, strict=True):
        size = min(len(passage.text) for passage in both)
        for side, passage in zip(pair, both, strict=True):
            side.append(_ending_within(passage, size))
    return sorted(pair[0]), sorted(pair[1])


def _ending_within(passage: Passage, size: int) -> Passage:
    if len(passage.text) <= size:
        return passage
    end = passage.text.rfind(" ", 0, size + 1)
    return replace(passage, text=passage.text[: end if end > 0 else size])


def _of_language(documents: pa.Table, language: str | None) -> pa.Table:
    if language is None:
        return documents
    return documents.filter(pc.equal(pc.fill_null(documents["language"], ""), language))


def _passages(
    table: pa.Table, source: str, settings: ClassifierSettings, seed: int, heldout: bool, large: Large
) -> Iterator[Passage]:
    units = _units(table, large)
    mine = pa.array(is_heldout(seed, settings.heldout_fraction, units) == heldout)
    table, units = table.filter(mine), units.filter(mine)
    languages = table["language"] if "language" in table.schema.names else pa.nulls(table.num_rows)
    pieces_of: Callable[[str], list[str]] = (
        (lambda text: [*lines([text], settings), *cut(text, settings.window_chars, settings)[1:]])
        if heldout
        else (lambda text: cut(text, settings.passage_chars, settings))
    )
    columns = (table["id"], table["text"], units, languages)
    for document, text, unit, language in zip(*(column.to_pylist() for column in columns), strict=True):
        pieces = pieces_of(text or "")
        orders = _orders(document, len(pieces), seed, heldout=heldout)
        for order, piece in zip(orders, pieces, strict=True):
            if piece:
                yield Passage(order, document, source, piece, unit, language or "")


def _units(table: pa.Table, large: Large) -> pa.Array:
    # Another key than the corpus's held-out split: that one is cut off before, so its draws are all above the
    # bound here.
    units = units_of(table, large).to_pylist()
    return pa.array([digest16("classifier", unit) for unit in units], pa.binary(16))


def _orders(document: bytes, count: int, seed: int, *, heldout: bool) -> list[int]:
    keys = [digest16(document, str(number)) for number in range(count)]
    hashed = [int(value) for value in keyed_hash(seed, "classifier.sample", pa.array(keys, pa.binary(16)))]
    return [value // 2 + _LATER * (number > 0) for number, value in enumerate(hashed)] if heldout else hashed
