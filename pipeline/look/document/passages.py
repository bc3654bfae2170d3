"""The training passages that share the longest runs of tokens with a text that a model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.token_shards import ENDS, IDS, TOKENS, read_manifest

_GRAM = 4  # runs shorter than this are no trace
_CHUNK = 1 << 22  # tokens looked at together
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of tokens that stands both in what was written, from `at`, and in a shard."""

    at: int
    length: int
    shard: str
    token: int
    id: str


def longest_passages(folder: Path, written: Sequence[int], most: int) -> list[Passage]:
    """Return the longest runs of `written` found in a folder of shards, longest first; of runs within longer
    ones, and of one run in several places, the first is named."""
    manifest = read_manifest(folder)
    asked = np.asarray(written, np.uint64)
    if len(asked) < _GRAM:
        return []
    own = _grams(asked)
    found: dict[int, Passage] = {}
    for shard in manifest["shards"]:
        tokens = TOKENS.read(folder / shard["name"], manifest["dtype"])
        for start in range(0, max(1, len(tokens) - _GRAM + 1), _CHUNK):
            part = np.asarray(tokens[start : start + _CHUNK + _GRAM - 1])
            if len(part) < _GRAM:
                continue
            hits = np.flatnonzero(np.isin(_grams(part.astype(np.uint64)), own)) + start
            for place in hits.tolist():
                _extend(found, asked, tokens, place, folder, shard["name"])
    ordered = sorted(found.values(), key=lambda passage: (-passage.length, passage.at))
    chosen: list[Passage] = []
    for passage in ordered:
        inside = any(
            other.at <= passage.at and passage.at + passage.length <= other.at + other.length
            for other in chosen
        )
        if not inside:
            chosen.append(passage)
    return chosen[:most]


def _grams(tokens: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of the `_GRAM` tokens that begin at each place."""
    num = len(tokens) - _GRAM + 1
    state = np.zeros(num, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(_GRAM):
            state = (state ^ tokens[offset : offset + num]) * _MULTIPLIER
            state ^= state >> np.uint64(29)
    return state


def _extend(
    found: dict[int, Passage],
    asked: npt.NDArray[np.uint64],
    tokens: npt.NDArray[np.generic],
    place: int,
    folder: Path,
    name: str,
) -> None:
    """Keep, for each place of the text, the longest run that begins there."""
    window = np.asarray(tokens[place : place + len(asked)]).astype(np.uint64)
    for at in np.flatnonzero(asked[: len(asked) - _GRAM + 1] == window[0]).tolist():
        num = min(len(window), len(asked) - at)
        same = asked[at : at + num] == window[:num]
        length = num if same.all() else int(np.argmin(same))
        if length >= _GRAM and (at not in found or length > found[at].length):
            row = int(np.searchsorted(ENDS.read(folder / name), place, side="right"))
            found[at] = Passage(at, length, name, place, IDS.read(folder / name)[row].tobytes().hex())
