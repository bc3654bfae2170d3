"""Kneser and Ney's estimate: what an n-gram is seen between, counted by map and reduce.

    count_file(...)      # map: distinct n-grams with those inside them
    emit(...)            # reduce by n-gram: what each says of its parts, as sums
    join(...)            # reduce by part: the three numbers that a probability is made of

Interpolated, with one discount D for each order (Chen and Goodman 1999, section 3.4):

    p(w | h) = max(a(h w) - D, 0) / T(h) + D F(h) / T(h) p(w | h without its first word)

a(g) is the count of g at the highest order, and of lower ones the number of distinct words before g; T(h) is
the sum of a(h w), F(h) the number of distinct words behind h. A text begins with a mark that nothing precedes
(n-grams from it keep their counts, as KenLM has it) and that is never predicted; a word never seen shares
the interpolated rest of the unigrams. Everything is a sum over distinct n-grams, so ranges of keys add up.
Pruned n-grams leave their mass unused: probabilities then sum to less than one, never to more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.arrays import write_array
from gristmill.classifiers.ngram.counting import (
    Collected,
    Counted,
    between,
    extend,
    finish,
    lengths_of,
    pack,
    read_run,
    training_batches,
    write_card,
)
from gristmill.classifiers.settings import NgramSettings

U64 = npt.NDArray[np.uint64]
Records = npt.NDArray[Any]
BEGIN = np.uint64(0x1B873593CC9E2D51)  # stands for a word before the first of a text
GRAM = np.dtype(
    [("key", "<u8"), ("count", "<u8"), ("first", "<u8"), ("last", "<u8"), ("inner", "<u8"), ("begins", "<u8")]
)
STAT = np.dtype(
    [("key", "<u8"), ("count", "<u8"), ("adjusted", "<u8"), ("total", "<u8"), ("followers", "<u8")]
)
_SUMS = ("count", "adjusted", "total", "followers")
_USUAL_DISCOUNT, _MOST = 0.75, 0.95  # where an order is too small to estimate one


def count_file(
    settings: NgramSettings, documents: Path, folder: Path, seed: int, heldout_fraction: float
) -> Counted:
    """Count one file's n-grams, each with the keys of its first and last words but one, and of both."""
    collected = Collected(folder, _merged_grams)
    for batch in training_batches(documents, seed, heldout_fraction):
        hashes, rows = collected.words_of(batch)
        collected.add(_merged_grams([_grams(*_with_begin(hashes, rows), settings.order)]))
    return collected.done()


def _with_begin(hashes: U64, rows: npt.NDArray[np.int64]) -> tuple[U64, npt.NDArray[np.int64]]:
    has_words = np.diff(rows) > 0
    marked = np.insert(hashes, rows[:-1][has_words], BEGIN)
    return marked, rows + np.concatenate(([0], np.cumsum(has_words)))


def _grams(hashes: U64, rows: npt.NDArray[np.int64], order: int) -> Records:
    """All n-grams but the mark alone, with what they are made of."""
    ends = np.repeat(rows[1:], np.diff(rows))
    place = np.arange(len(hashes))
    begins = np.zeros(len(hashes), np.uint64)
    begins[rows[:-1][np.diff(rows) > 0]] = 1
    state, keys, found = np.zeros(len(hashes), np.uint64), [], []
    for length in range(1, order + 1):
        inside = place + length <= ends
        state, place, ends = state[inside], place[inside], ends[inside]
        state = extend(state, hashes[place + length - 1])
        keys.append(np.zeros(len(hashes), np.uint64))
        keys[-1][place] = finish(state, length)
        gram = np.zeros(len(place), GRAM)
        gram["key"], gram["count"], gram["begins"] = keys[-1][place], 1, begins[place]
        if length > 1:
            gram["first"], gram["last"] = keys[-2][place], keys[-2][place + 1]
        if length > 2:
            gram["inner"] = keys[-3][place + 1]
        found.append(gram if length > 1 else gram[gram["begins"] == 0])
    return np.concatenate(found)


def emit(runs: Sequence[Path], part: int, parts: int, order: int, out: Path) -> dict[str, int]:
    """Add up one range of n-grams over all runs, and write what they say of themselves and their parts."""
    grams = _merged_grams([between(read_run(path, GRAM), part, parts) for path in runs])
    length = lengths_of(grams["key"])
    whole = np.where((length == order) | (grams["begins"] > 0), grams["count"], 0)
    said = [_stats(grams["key"], count=grams["count"], adjusted=whole)]
    longer = length > 1
    said.append(_stats(grams["last"][longer], adjusted=1))
    said.append(_stats(grams["first"][longer], total=whole[longer], followers=1))
    said.append(_stats(grams["inner"][length > 2], total=1))
    stats = _merged_stats(said)
    write_array(out, stats)
    return {"ngrams": len(grams), "records": len(stats)}


def join(settings: NgramSettings, runs: Sequence[Path], part: int, parts: int, out: Path) -> dict[str, int]:
    """Add up one range over all that was said, prune, and count what discounts are estimated from."""
    stats = _merged_stats([between(read_run(path, STAT), part, parts) for path in runs])
    length = lengths_of(stats["key"])
    facts = {
        f"{times}_of_{own}": int(((stats["adjusted"] == times) & (length == own)).sum())
        for own in range(1, settings.order + 1)
        for times in (1, 2)
    }
    single = stats[length == 1]
    facts |= {"total": int(single["adjusted"].sum()), "types": int((single["adjusted"] > 0).sum())}
    kept = stats[(length == 1) | (stats["count"] >= settings.min_count)]
    write_array(out, kept)
    return {"kept": len(kept), **facts}


def write_table(
    settings: NgramSettings,
    merged: Sequence[Path],
    folder: Path,
    num_words: int,
    languages: Mapping[str, int] | None,
    facts: Mapping[str, int],
) -> dict[str, Any]:
    """Pack joined ranges, in order of keys; `facts` are those of `join`, summed over ranges."""
    sizes = pack(merged, STAT, ("adjusted", "total", "followers"), folder)
    card = {
        "words": num_words,
        **sizes,
        "total": facts["total"],
        "types": facts["types"],
        "discounts": [
            discount(facts[f"1_of_{length}"], facts[f"2_of_{length}"])
            for length in range(1, settings.order + 1)
        ],
    }
    return write_card(settings, folder, card, languages)


def discount(once: int, twice: int) -> float:
    """n1 / (n1 + 2 n2): what Ney, Essen and Kneser 1994 take off every count."""
    return min(once / (once + 2 * twice), _MOST) if once and twice else _USUAL_DISCOUNT


def _stats(keys: U64, **fields: Any) -> Records:
    found = np.zeros(len(keys), STAT)
    found["key"] = keys
    for name, values in fields.items():
        found[name] = values
    return found


def _merged_grams(parts: Sequence[Records]) -> Records:
    return _summed(np.concatenate([*parts, np.empty(0, GRAM)]), ("count",))


def _merged_stats(parts: Sequence[Records]) -> Records:
    return _summed(np.concatenate([*parts, np.empty(0, STAT)]), _SUMS)


def _summed(records: Records, sums: Sequence[str]) -> Records:
    """Sort by key and add up some fields of equal keys; the others are equal with them."""
    records = records[np.argsort(records["key"], kind="stable")]
    keys = records["key"]
    if not len(keys):
        return records
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    found = records[starts]
    for name in sums:
        found[name] = np.add.reduceat(records[name], starts)
    return found
