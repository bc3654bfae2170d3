"""Tallies and samples of the documents a task handles, small enough for its record: what reports are drawn
from."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.hashing import id_halves, keyed_hash
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.records.observed import SAMPLES, TOP_DOMAINS, Tallies

SNIPPET_CHARACTERS = 1200
_OUTCOME = ("rule", "value", "bound", "error", "message")
_SHOWN = ("id", "url", *_OUTCOME, "origin", "text")
_DOMAINS_HELD = 1 << 18  # counted domains that are held before equal ones are added up
LENGTH_BINS = [0, *(2**power for power in range(4, 27))]  # bytes of UTF-8


@dataclass(slots=True)
class _Place:
    """A row that a sample holds, in a table of such rows alone."""

    row: int
    rows: pa.Table | None = None


class Observer:
    """Collect, over the tables of one task, tallies and the bottom-k sample by keyed hash of the id.

    Bottom-k samples merge: the smallest of all shards' samples are those of the whole, in any order.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tallies: dict[str, Counter[str]] = {}
        self._domains: dict[str, list[pa.StructArray]] = {}  # counts of each table, by tally
        self.lengths: dict[str, np.ndarray] = {}
        self._samples: dict[str, list[tuple[int, bytes, int, _Place]]] = {}
        self._seen = 0  # tells two rows with the same id apart where the heap compares them

    def see(self, outlet: str, table: pa.Table) -> None:
        """Take note of documents that left by `outlet` (`kept` or `removed`)."""
        if not table.num_rows:
            return
        self._count(f"{outlet}.language", table.column("language"))
        self._count(f"{outlet}.year", pc.cast(pc.year(table.column("date")), pa.string()))
        self._count(f"{outlet}.source", table.column("source"))
        self._count_domains(f"{outlet}.domain", table.column("url"))
        self._measure(outlet, table.column("text"))
        kept = pa.repeat(pa.scalar("kept"), table.num_rows)
        self._sample(table.column("rule") if outlet == "removed" else kept, table)

    def see_failed(self, table: pa.Table) -> None:
        if table.num_rows:
            self._count("failed.error", table.column("error"))
            self._sample(pa.repeat(pa.scalar("failed"), table.num_rows), table)

    def into(self, record: TaskRecord) -> None:
        """Put what was collected into a shard record."""
        tallies = {}
        for name, counts in self._domains.items():
            each = _together(counts)
            domains, numbers = each.field("values").to_pylist(), each.field("counts").to_pylist()
            self.tallies[name] = Counter(dict(zip(domains, numbers, strict=True)))
        for name, counter in sorted(self.tallies.items()):
            limit = TOP_DOMAINS if name.endswith(".domain") else len(counter)
            tallies[name] = dict(sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:limit])
        record.state(Tallies(tallies))
        record.histograms["length_bytes"] = {
            "bins": LENGTH_BINS,
            **{outlet: counts.tolist() for outlet, counts in sorted(self.lengths.items())},
        }
        for label, heap in sorted(self._samples.items()):
            rows = sorted(heap, reverse=True)
            record.samples[label] = [{"hash": -negated, **_described(place)} for negated, _, _, place in rows]

    def _count(self, name: str, column: pa.ChunkedArray) -> None:
        counts = column.value_counts()
        self.tallies.setdefault(name, Counter()).update(
            {str(entry["values"]): entry["counts"] for entry in counts.to_pylist()}
        )

    def _count_domains(self, name: str, urls: pa.ChunkedArray) -> None:
        from gristmill.text.addresses import domains_of  # readers of tallies load no kernel

        named = urls.filter(pc.greater(pc.binary_length(urls), 0))  # null where there is no URL
        self._domains.setdefault(name, []).append(domains_of(named).value_counts())
        if sum(map(len, self._domains[name])) > _DOMAINS_HELD:
            self._domains[name] = [_together(self._domains[name])]

    def _measure(self, outlet: str, text: pa.ChunkedArray) -> None:
        lengths = pc.fill_null(pc.binary_length(text), 0).to_numpy()
        bins = np.searchsorted(LENGTH_BINS, lengths, side="right") - 1
        counts = np.bincount(bins, minlength=len(LENGTH_BINS))
        self.lengths[outlet] = self.lengths.get(outlet, 0) + counts

    def _sample(self, labels: pa.Array | pa.ChunkedArray, table: pa.Table) -> None:
        """Take note of the rows that may be among the smallest hashes of their label."""
        ids = table.column("id").combine_chunks()
        hashes, halves = keyed_hash(self.seed, "sample", ids), id_halves(ids)
        coded = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
        coded = coded.dictionary_encode()
        numbers = np.asarray(coded.indices)
        places: list[_Place] = []
        for number, label in enumerate(coded.dictionary.to_pylist()):
            heap = self._samples.setdefault(label, [])
            rows = np.flatnonzero(numbers == number)
            if len(heap) == SAMPLES:
                rows = rows[hashes[rows] < np.uint64(-heap[0][0])]
            if len(rows) > SAMPLES:
                rows = rows[hashes[rows] <= np.partition(hashes[rows], SAMPLES - 1)[SAMPLES - 1]]
            for row, hashed in zip(rows.tolist(), hashes[rows].tolist(), strict=True):
                if len(heap) < SAMPLES or -hashed > heap[0][0]:
                    self._seen += 1
                    places.append(_Place(row))
                    push = heapq.heappush if len(heap) < SAMPLES else heapq.heapreplace
                    push(heap, (-hashed, halves[row].tobytes(), self._seen, places[-1]))
        _hold(places, table)


def _hold(places: list[_Place], table: pa.Table) -> None:
    """Take rows, with the beginning of their texts, out of a table, so that it is not kept for them."""
    if places:
        rows = table.select([name for name in _SHOWN if name in table.column_names])
        rows = rows.take(pa.array([place.row for place in places]))
        if "text" in rows.column_names:
            text = pc.utf8_slice_codeunits(rows["text"], 0, SNIPPET_CHARACTERS)
            rows = rows.set_column(rows.column_names.index("text"), "text", text)
        for number, place in enumerate(places):
            place.row, place.rows = number, rows


def _described(place: _Place) -> dict[str, Any]:
    assert place.rows is not None
    (row,) = place.rows.slice(place.row, 1).to_pylist()
    sample = {"id": row["id"].hex(), "url": row["url"]}
    sample |= {name: _finite(row[name]) for name in _OUTCOME if name in row}
    if "error" in sample:
        sample["origin"] = row["origin"]
    if "text" in row:
        sample["text"] = row["text"]
    return sample


def _together(counts: list[pa.StructArray]) -> pa.StructArray:
    """Add up counts of values."""
    fields = (pa.concat_arrays([each.field(name) for each in counts]) for name in ("values", "counts"))
    summed = (
        pa.table(dict(zip(("values", "counts"), fields, strict=True)))
        .group_by("values")
        .aggregate([("counts", "sum")])
    )
    columns = [summed[name].combine_chunks() for name in ("values", "counts_sum")]
    return pa.StructArray.from_arrays(columns, names=["values", "counts"])


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity, and digests are taken of JSON."""
    return repr(value) if isinstance(value, float) and not np.isfinite(value) else value
