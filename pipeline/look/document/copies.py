"""Where the copies of one document lie in mixed shards, found by the hash that placed them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.manifest import Manifest
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.token_shards import ENDS, IDS, TOKENS, mapped


def copies_in_shards(manifest: Manifest, source: str, id_: bytes) -> Iterator[dict[str, Any]]:
    """Yield the place of every copy of a document in the shards of a mix step: split, shard, row and range of
    tokens."""
    for stem in _candidates(manifest, source, id_):
        yield from _places(stem, id_)


def _candidates(manifest: Manifest, source: str, id_: bytes) -> Iterator[Path]:
    """The stems of the few shards in which a document can lie."""
    from gristmill.tokenize.mixing.places import possible_shards

    for split, places in manifest.stated(MixFacts).places.items():
        if source in places:
            first, num_shards, copies = places[source]
            for number in possible_shards(id_, first, num_shards, copies, manifest.ingredients["seed"]):
                yield manifest.folder / "shards" / split / f"{number:05d}"


def _places(stem: Path, id_: bytes) -> Iterator[dict[str, Any]]:
    """Rows of one shard that hold the document, with the range of its tokens."""
    halves = mapped(IDS.path(stem), "<u8")
    high, low = (int.from_bytes(id_[part], "little") for part in (slice(0, 8), slice(8, 16)))
    for row in np.flatnonzero(halves[0::2] == np.uint64(high)):
        if int(halves[2 * row + 1]) == low:
            ends = ENDS.read(stem)
            first = int(ends[row - 1]) if row else 0
            yield {
                "split": stem.parent.name,
                "shard": TOKENS.path(stem).name,
                "document": int(row),
                "first token": first,
                "end": int(ends[row]),
            }
