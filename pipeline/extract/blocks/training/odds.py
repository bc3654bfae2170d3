"""Learn the two tables of log-odds: class names and words that tell main text from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.training.page import LabelledPage

MIN_DOMAINS = 5
_SMOOTHING = 2.0  # domains of the prior added to each name
NAME_SLOTS = 1 << 16
WORD_SLOTS = 1 << 16


class Odds(NamedTuple):
    """A hash table of log-odds: one name a slot (the strongest one where two meet), the full hash as key,
    value 0 where empty."""

    keys: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]


NO_WORDS = Odds(np.full(1, -1, dtype=np.int32), np.zeros(1, dtype=np.float32))


def _aggregate(
    keys: npt.NDArray[np.int64],
    domains: npt.NDArray[np.int64],
    positive: npt.NDArray[np.float64],
    total: npt.NDArray[np.float64],
    slots: int,
) -> Odds:
    """Average each name's positive share over domains, each domain counting once, and turn it into smoothed
    log-odds."""
    num = int(domains.max()) + 1
    pairs, where = np.unique(keys * num + domains, return_inverse=True)  # hashes have 31 bits
    share = np.bincount(where, positive) / np.maximum(np.bincount(where, total), 1e-9)
    names, which = np.unique(pairs // num, return_inverse=True)
    num_domains, positives = np.bincount(which), np.bincount(which, share)
    prior = share.mean()
    kept = num_domains >= MIN_DOMAINS
    names, num_domains, positives = names[kept], num_domains[kept], positives[kept]
    odds = (positives + _SMOOTHING * prior) / (num_domains - positives + _SMOOTHING * (1 - prior))
    values = np.log(odds) - np.log(prior / (1 - prior))
    table = Odds(np.full(slots, -1, dtype=np.int32), np.zeros(slots, dtype=np.float32))
    for i in np.lexsort((names, np.abs(values) * np.sqrt(num_domains))):  # the strongest is written last
        table.keys[names[i] & (slots - 1)] = names[i]
        table.values[names[i] & (slots - 1)] = values[i]
    return table


def _numbered_domains(pages: Sequence[LabelledPage]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(page.domain, len(numbers)) for page in pages]


def learn_name_odds(pages: Sequence[LabelledPage]) -> Odds:
    """Learn the log-odds of class names from the words in the subtrees that carry them."""
    keys, domains, positive, total = [], [], [], []
    for page, domain in zip(pages, _numbered_domains(pages), strict=True):
        elements, blocks = page.elements, page.blocks
        sums = np.zeros((len(elements), 2))
        words = blocks[:, L.WORDS].astype(np.float64)
        np.add.at(sums, blocks[:, L.ELEMENT], np.stack([words * page.labels, words], axis=1))
        for depth in range(elements[:, L.DEPTH].max(), 0, -1):
            children = np.flatnonzero(elements[:, L.DEPTH] == depth)[::-1]
            np.add.at(sums, elements[children, L.PARENT], sums[children])
        counts = elements[:, L.TOKENS_END] - elements[:, L.TOKENS_START]
        counts[0] = 0
        owner = np.repeat(np.arange(len(elements)), counts)
        starts = np.repeat(
            elements[:, L.TOKENS_START] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts
        )
        tokens = page.tokens[starts + np.arange(counts.sum())]
        inline = blocks[:, L.TOKEN_END] - blocks[:, L.TOKEN_START]
        inline_owner = np.repeat(np.arange(len(blocks)), inline)
        inline_starts = np.repeat(
            blocks[:, L.TOKEN_START] - np.concatenate([[0], np.cumsum(inline)[:-1]]), inline
        )
        keys += [tokens, page.tokens[inline_starts + np.arange(inline.sum())]]
        positive += [sums[owner, 0], (words * page.labels)[inline_owner]]
        total += [sums[owner, 1], words[inline_owner]]
        domains.append(np.full(len(owner) + len(inline_owner), domain))
    all_total = np.concatenate(total)
    seen = all_total > 0
    return _aggregate(
        np.concatenate(keys).astype(np.int64)[seen],
        np.concatenate(domains)[seen],
        np.concatenate(positive)[seen],
        all_total[seen],
        NAME_SLOTS,
    )


def learn_word_odds(pages: Sequence[LabelledPage]) -> Odds:
    """Learn the log-odds of the words blocks begin with; a block counts once however long it is."""
    keys, domains, positive = [], [], []
    for page, domain in zip(pages, _numbered_domains(pages), strict=True):
        counts = page.blocks[:, L.WORD_END] - page.blocks[:, L.WORD_START]
        keys.append(page.words[: counts.sum()])
        positive.append(np.repeat(page.labels, counts))
        domains.append(np.full(counts.sum(), domain))
    all_keys = np.concatenate(keys).astype(np.int64)
    return _aggregate(
        all_keys, np.concatenate(domains), np.concatenate(positive), np.ones(len(all_keys)), WORD_SLOTS
    )
