"""The held-out split: decided once by hash, before anything is trained, counted or mixed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.hashing import uniform

UNIT_COLUMN = "cluster_id"


def units(documents: pa.Table) -> pa.Array:
    """What is held out as one: a document's cluster of near-duplicates where that is known, else the document
    itself."""
    ids = _flat(documents["id"])
    if UNIT_COLUMN not in documents.schema.names:
        return ids
    return pc.coalesce(_flat(documents[UNIT_COLUMN]).cast(pa.binary(16)), ids)


def is_heldout(seed: int, fraction: float, units: pa.Array) -> npt.NDArray[np.bool_]:
    """Say which units are held out: u(seed, "heldout", unit) < fraction."""
    return uniform(seed, "heldout", units) < fraction


def for_training(documents: pa.Table, seed: int, fraction: float) -> pa.Table:
    """Return the documents that may be trained on."""
    return (
        documents.filter(pa.array(~is_heldout(seed, fraction, units(documents)))) if fraction else documents
    )


def only_heldout(documents: pa.Table, seed: int, fraction: float) -> pa.Table:
    """Return the documents that nothing is trained on."""
    return documents.filter(pa.array(is_heldout(seed, fraction, units(documents))))


def _flat(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
