"""Who survives: a total order on what documents say of themselves, so that neither files nor workers can sway
it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings, SemanticSettings
from gristmill.errors import UsageError
from gristmill.hashing import digest16, id_halves

_LAST = (1 << 48) - 1
Numbers = npt.NDArray[np.uint64]


def member_columns(
    settings: ExactSettings | FuzzySettings | SemanticSettings, table: pa.Table
) -> dict[str, Numbers]:
    """Describe documents for a shuffle: their place in the survivor order (smallest first) and what clusters
    count.

    rank is the source's priority (16 bits) over the survivor policy's key (48 bits); the id, as two
    big-endian halves, breaks ties. source, snapshot and scope are hashes of the names.
    """
    id_high, id_low = split_ids(table["id"])
    return {
        "rank": _rank(settings, table),
        "id_high": id_high,
        "id_low": id_low,
        "source": name_hashes(table, "source"),
        "snapshot": (
            name_hashes(table, settings.snapshot_column)
            if settings.snapshot_column
            else np.zeros(len(table), np.uint64)
        ),
        "scope": scope_hashes(settings.scope, table),
    }


def scope_hashes(scope: str, table: pa.Table) -> Numbers:
    """Hash what documents must share to be compared; scope `all` is one hash for all."""
    return np.zeros(len(table), np.uint64) if scope == "all" else name_hashes(table, scope)


def columns_needed(settings: ExactSettings | FuzzySettings | SemanticSettings) -> list[str]:
    """Name the document columns that `member_columns` and the keys read."""
    extra = [
        settings.scope if settings.scope != "all" else None,
        settings.snapshot_column,
        settings.survivor.partition(":")[2] or None,
    ]
    return list(dict.fromkeys(["id", "url", "source", "date", "text", *(name for name in extra if name)]))


def split_ids(ids: pa.ChunkedArray | pa.Array) -> tuple[Numbers, Numbers]:
    """Return ids as two u64 whose order is the order of the bytes."""
    halves = id_halves(ids).byteswap()
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def join_ids(high: Numbers, low: Numbers) -> pa.Array:
    """Undo `split_ids`."""
    data = np.ascontiguousarray(np.stack([high, low], axis=1).astype(">u8"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(high), [None, pa.py_buffer(data)])


def name_hashes(table: pa.Table, column: str) -> Numbers:
    """Hash a column of names (or of anything that prints) to u64; a missing value is a name of its own."""
    encoded = pc.dictionary_encode(
        _column(table, column).cast(pa.string()), null_encoding="encode"
    ).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    names = [
        digest16("name", name) if name is not None else digest16("no name")
        for name in encoded.dictionary.to_pylist()
    ]
    hashes = np.array([int.from_bytes(name[:8], "little") for name in names], np.uint64)
    places: npt.NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False)
    return hashes[places] if len(hashes) else np.zeros(len(table), np.uint64)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UsageError(
            f"deduplication was asked to use column `{name}`, the documents carry"
            f" {', '.join(table.column_names)}",
            hint=f"a source of rows brings it along with `passthrough: {{{name}: float64}}` (or string)",
        )
    return table[name]


def _rank(settings: ExactSettings | FuzzySettings | SemanticSettings, table: pa.Table) -> Numbers:
    policy, _, column = settings.survivor.partition(":")
    if policy == "longest":
        length = pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.int64)
        value = _LAST - np.minimum(length, _LAST)
    elif policy in ("newest", "oldest"):
        value = _date_rank(table["date"], newest=policy == "newest")
    elif policy == "best":
        value = _score_rank(_column(table, column))
    else:
        value = np.zeros(len(table), np.int64)
    rank: Numbers = _priority(settings.source_priority, table) << np.uint64(48) | value.astype(np.uint64)
    return rank


def _priority(sources: tuple[str, ...], table: pa.Table) -> Numbers:
    place = pc.index_in(table["source"].cast(pa.string()), pa.array(sources, pa.string()))
    places: Numbers = pc.fill_null(place, len(sources)).to_numpy().astype(np.uint64)
    return places


def _date_rank(dates: pa.ChunkedArray, *, newest: bool) -> npt.NDArray[np.int64]:
    milliseconds = dates.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
    known = pc.is_valid(milliseconds).to_numpy(zero_copy_only=False)
    value = np.clip(pc.fill_null(milliseconds, 0).to_numpy(), -(1 << 46), 1 << 46)
    return np.where(known, (1 << 46) + (-value if newest else value), _LAST)


def _score_rank(scores: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Rank numbers, highest first, by the upper 48 bits of their order-preserving form; nothing and NaN come
    last."""
    number = (
        pc.fill_null(scores.cast(pa.float64(), safe=False), float("nan")).to_numpy() + 0.0
    )  # -0.0 + 0.0 = 0.0: one zero
    bits = number.view(np.uint64)
    ascending = np.where(bits >> np.uint64(63) == 1, ~bits, bits | np.uint64(1 << 63))
    return np.where(np.isnan(number), _LAST, (~ascending >> np.uint64(16)).astype(np.int64))
