"""Who is held out of a classifier's training: whole domains, and with a text those that nearly equal it.

    large = large_domains(tally_hosts(tables))     # of each source, those too large for one side
    units_of(table, large)                         # what is held out as one, 16 bytes per document

A classifier learns a site's own words, so what it scores on pages of a site that it was trained on says
little about other sites. A domain with more than `LARGE_FRACTION` of its source is split by document
(Wikipedia is one domain), and so are documents without a URL: these go by their cluster of near-duplicates
where that is known, else by the smallest hash of their word 5-grams, which two texts share with the
probability of their Jaccard similarity. What of a held-out passage is still found in training passages is
measured by `share_in`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.classifiers.ngram.counting import extend, finish
from gristmill.hashing import digest16
from gristmill.heldout import UNIT_COLUMN
from gristmill.text.addresses import domains_of
from gristmill.text.cores import cores_of
from gristmill.text.digests import digest16_rows

U64 = npt.NDArray[np.uint64]
LARGE_FRACTION = 0.02
_NOTED_FRACTION = LARGE_FRACTION / 4  # of one file: what a domain lacks in others cannot hide a large one
_ORDER = 5


def tally_hosts(tables: Iterable[pa.Table]) -> dict[str, int]:
    """Count a file's documents by host, those hosts that hold a noted share of it; "" counts all."""
    counts: Counter[str] = Counter()
    documents = 0
    for table in tables:
        documents += table.num_rows
        if "url" in table.schema.names:
            counts.update(domains_of(table["url"]).to_pylist())
    noted = {name: count for name, count in counts.items() if name and count >= _NOTED_FRACTION * documents}
    return {"": documents, **dict(sorted(noted.items()))}


def large_domains(tallies: Iterable[Mapping[str, int]]) -> list[str]:
    """The hosts of one source that hold more of it than one side should have, from the tallies of its
    files."""
    total: Counter[str] = Counter()
    for tally in tallies:
        total.update(tally)
    documents = total.pop("", 0)
    return sorted(name for name, count in total.items() if count >= LARGE_FRACTION * documents)


def units_of(table: pa.Table, large: frozenset[str]) -> pa.Array:
    """What is held out as one, for each document: its domain, or its text and those near it."""
    num_rows = table.num_rows
    hosts = domains_of(table["url"]).to_pylist() if "url" in table.schema.names else [""] * num_rows
    alone = [not name or name in large for name in hosts]
    found: list[bytes] = digest16_rows("domain", pa.array(hosts, pa.large_string())).to_pylist()
    rows = [row for row, is_alone in enumerate(alone) if is_alone]
    if rows:
        own = table.take(pa.array(rows))
        clusters = own[UNIT_COLUMN].to_pylist() if UNIT_COLUMN in own.schema.names else [None] * len(rows)
        for row, cluster, key in zip(rows, clusters, least_shingles(own["text"]).tolist(), strict=True):
            found[row] = digest16("cluster", cluster) if cluster is not None else digest16("text", str(key))
    return pa.array(found, pa.binary(16))


def least_shingles(texts: pa.Array | pa.ChunkedArray) -> U64:
    """The smallest hash of each text's word 5-grams (one MinHash value); of all its words where it has
    fewer."""
    shingles, bounds = _shingles(texts)
    padded = np.append(shingles, np.uint64(0))
    least = np.minimum.reduceat(padded, np.minimum(bounds[:-1], len(shingles)))
    return np.where(np.diff(bounds) > 0, least, np.uint64(0))


def shingles_of(texts: Iterable[str]) -> U64:
    """All distinct word 5-grams of some texts, sorted."""
    return np.unique(_shingles(pa.array(texts, pa.large_string()))[0])


def share_in(texts: list[str], known: U64) -> npt.NDArray[np.float64]:
    """The share of each text's word 5-grams that are among `known`, a sorted array."""
    shingles, bounds = _shingles(pa.array(texts, pa.large_string()))
    if not len(known) or not len(shingles):
        return np.zeros(len(texts))
    place = np.minimum(np.searchsorted(known, shingles), len(known) - 1)
    hits = np.concatenate(([0], np.cumsum(known[place] == shingles)))
    return np.asarray((hits[bounds[1:]] - hits[bounds[:-1]]) / np.maximum(np.diff(bounds), 1))


def _shingles(texts: pa.Array | pa.ChunkedArray) -> tuple[U64, npt.NDArray[np.int64]]:
    """Hash the word 5-grams of texts; text i has those from bounds[i] to bounds[i + 1]."""
    hashes, rows = cores_of(texts)
    sizes = np.diff(rows)
    counts = np.where(sizes > 0, np.maximum(sizes - _ORDER + 1, 1), 0)
    bounds = np.concatenate(([0], np.cumsum(counts)))
    start = np.arange(bounds[-1]) - np.repeat(bounds[:-1] - rows[:-1], counts)
    ends = np.repeat(rows[1:], counts)
    state = np.zeros(len(start), np.uint64)
    for offset in range(_ORDER):
        inside = start + offset < ends
        state[inside] = extend(state[inside], hashes[(start + offset)[inside]])
    return finish(state, _ORDER), bounds
