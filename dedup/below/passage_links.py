"""Links and chains of fuzzy passages: which places of the corpus share seeds, and which of them go on from
each other. See `passages` for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.dedup.below.seeds import chain_links, choose_chains, folded_words, link_places, seeds_of
from gristmill.dedup.below.substring import among
from gristmill.dedup.order import scope_hashes, split_ids
from gristmill.dedup.settings.parts import PassageSettings
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, key_slices, read_range, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.dedup.sorted.spill import Spill

GAP_WORDS = 48  # between the seeds of a chain; of words with a fifth changed 8 in a row are equal once in 20
SLIP_WORDS = 16  # by which inserted and deleted words may move the two sides against each other
_SEED: Mapping[str, npt.DTypeLike] = {
    "key": np.uint64,
    "id_high": np.uint64,
    "row": np.uint64,
    "place": np.uint32,
}
_LINK: Mapping[str, npt.DTypeLike] = {
    "row": np.uint64,
    "place": np.uint32,
    "source_id": np.uint64,
    "source": np.uint64,
    "source_place": np.uint32,
}
CHAIN: Mapping[str, npt.DTypeLike] = {
    "source": np.uint64,
    "row": np.uint64,
    "first": np.uint32,
    "last": np.uint32,
    "source_first": np.uint32,
    "source_last": np.uint32,
}


def seeds_at_a_time(settings: PassageSettings) -> int:
    """Seeds that a task reads at once: 28 bytes each, three times while they are sorted, and `max_links`
    links of 32 bytes, twice; what it writes takes a half more."""
    return settings.memory_bytes // (200 + 100 * settings.max_links)


def prints_at_a_time(settings: PassageSettings) -> int:
    """Distinct keys of a shard that a task reads at once: 9 bytes each, and 48 while they are counted."""
    return settings.memory_bytes // 64


def map_prints(settings: PassageSettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write the distinct keys of a shard's seeds, and whether each occurs in it more than once."""
    keys = []
    for table in read_batches(path, ["text", settings.scope]):
        key, doc, _place = seeds_of(folded_words(table["text"]))
        keys.append(key ^ scope_hashes(settings.scope, table)[doc])
    key, times = np.unique(concat(keys).astype(np.uint64), return_counts=True)
    write_run(out, {"key": key, "often": (times > 1).astype(np.uint8)})
    return {"prints": len(key), "seeds": int(times.sum())}


def map_seeds(
    settings: PassageSettings, path: Path, first_row: int, repeated: Sequence[Path], out: Path
) -> dict[str, int]:
    """Write the places of a shard's seeds whose key is repeated, sorted by key, as `out`.0 and so on."""
    known = [SortedRun(run) for run in repeated]
    files = Spill(out, _SEED, settings.memory_bytes // 4)
    row = first_row
    for table in read_batches(path, ["id", "text", settings.scope]):
        key, doc, place = seeds_of(folded_words(table["text"]))
        key ^= scope_hashes(settings.scope, table)[doc]
        chosen = among(known, key)
        doc = doc[chosen]
        id_high = split_ids(table["id"])[0]
        files.add((key[chosen], id_high[doc], (doc + row).astype(np.uint64), place[chosen]))
        row += len(table)
    return {"places": files.count, "files": files.close()}


def find_links(
    settings: PassageSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, int]:
    """Link the places whose key lies in [low, high) to the first documents that have it, by later row."""
    runs = [SortedRun(path) for path in paths]
    most = seeds_at_a_time(settings)
    files = Spill(out, _LINK, settings.memory_bytes // 4)
    for start, end in key_slices(runs, low, high, most):
        heads: Columns = {}
        pieces = list(chunks(runs, start, end, most))
        if len(pieces) > 1:  # of one key: who comes first is known when all have been seen
            for chunk in pieces:
                heads = _heads(settings, _read(chunk, heads))
        for chunk in pieces:
            files.add(_linked(settings, _read(chunk, heads)))
    return {"links": files.count, "files": files.close()}


Chunk = list[tuple[SortedRun, slice]]


def chunks(runs: Sequence[SortedRun], low: int, high: int, most: int) -> Iterator[Chunk]:
    """All records of a range, or pieces of those of a key that has more than `most`."""
    spans = [(run, run.span(low, high)) for run in runs]
    if sum(span.stop - span.start for _run, span in spans) <= most:
        yield spans
        return
    for run, span in spans:
        for start in range(span.start, span.stop, most):
            yield [(run, slice(start, min(start + most, span.stop)))]


def read_chunk(chunk: Chunk, names: Mapping[str, npt.DTypeLike]) -> Columns:
    return {
        name: concat([run.read(name, span) for run, span in chunk]).astype(dtype, copy=False)
        for name, dtype in names.items()
    }


def _read(chunk: Chunk, heads: Columns) -> Columns:
    """Read seeds in their order after the heads of their key, which ask for no links of their own."""
    columns = read_chunk(chunk, _SEED)
    asks = np.ones(len(columns["key"]), bool)
    if heads:
        columns = {name: np.concatenate([heads[name], columns[name]]) for name in _SEED}
        asks = np.concatenate([np.zeros(len(heads["key"]), bool), asks])
    order = np.lexsort([columns[name] for name in reversed(list(_SEED))])
    return {**{name: column[order] for name, column in columns.items()}, "asks": asks[order]}


def _heads(settings: PassageSettings, columns: Columns) -> Columns:
    """The first place in each of the first documents that have a key, all being of one key."""
    new = np.ones(len(columns["row"]), bool)
    new[1:] = columns["row"][1:] != columns["row"][:-1]
    first = np.flatnonzero(new)[: settings.max_links]
    return {name: columns[name][first] for name in _SEED}


def _linked(settings: PassageSettings, columns: Columns) -> tuple[npt.NDArray, ...]:
    key, id_high, row, place = (columns[name] for name in _SEED)
    target, source = link_places(key, id_high, row, place, columns["asks"], settings.max_links)
    return row[target], place[target], id_high[source], row[source], place[source]


def find_chains(
    settings: PassageSettings, path: Path, first_row: int, links: Sequence[Path], out: Path
) -> dict[str, int]:
    """Chain the links of a shard's documents and choose which are aligned, by the earlier document's row."""
    runs = [SortedRun(run) for run in links]
    files = Spill(out, CHAIN, settings.memory_bytes // 4)
    left_out = 0
    for low, high in key_slices(runs, first_row, first_row + num_rows(path), seeds_at_a_time(settings)):
        columns = read_range(runs, low, high, list(_LINK))
        order = np.lexsort([columns[name] for name in ("place", "source", "source_id", "row")])
        row, source_id, source = (columns[name][order] for name in ("row", "source_id", "source"))
        own, other = (columns[name][order].astype(np.int64) for name in ("place", "source_place"))
        chains = chain_links(row, source_id, source, own, other, GAP_WORDS, SLIP_WORDS)
        row, source_id, source = (column[chains[:, 0]] for column in (row, source_id, source))
        best = np.lexsort([chains[:, 1], source, source_id, -chains[:, 5], row])
        chosen = best[choose_chains(row[best], chains[best], settings.max_sources)]
        left_out += len(chains) - len(chosen)
        files.add((source[chosen], row[chosen], *(chains[chosen, n] for n in range(1, 5))))
    return {"chains": files.count, "left_out": left_out, "files": files.close()}
