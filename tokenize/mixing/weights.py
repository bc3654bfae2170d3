"""The weights of a source's documents, from a column of its index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.cells import TOPIC, buckets_of, topics_of
from gristmill.errors import InputError
from gristmill.tokenize.encoding.encode import INDEX
from gristmill.tokenize.settings import CellWeight, MixSettings

SMALLEST, LARGEST = 1e-280, 1e280  # a draw over a weight stays a float with all its bits
CellWeights = Mapping[str, Mapping[str, float]]  # by topic, then by bucket


def weights_of(
    table: pa.Table, settings: MixSettings, source: str, index: Path, cells: CellWeights | None = None
) -> npt.NDArray[np.float64] | None:
    """Return the weight of each document of an encoded file, None for a source without weights.

    `cells` are the weights of cells, where the source's is a curve; of these alone a weight may be 0.

    Raises InputError for a column that the index lacks, with those it has, and for a value that is no weight,
    with the first document that has it.
    """
    weight = settings.weight_of(source)
    if weight is None or settings.kind == "sources":  # there each document is written once
        return None
    if isinstance(weight, CellWeight):
        return by_cell(table, cells or {})
    column, classes = weight.column, weight.classes()
    if column not in table.schema.names:
        numbers = [name for name in table.schema.names[len(INDEX) :] if name != TOPIC]
        carried = ", ".join(numbers) or "no number"
        raise InputError(
            f"`mix.weights` names `{column}` for `{source}`, its documents carry {carried}",
            where=str(index),
            hint=(
                f"of rows read from files it comes along as a number with `passthrough: {{{column}:"
                " float64}`"
            ),
        )
    values: npt.NDArray[np.float64] = np.asarray(table[column].to_numpy(zero_copy_only=False), np.float64)
    weights = values if classes is None else by_size(values, classes)
    wrong = np.flatnonzero(~((weights >= SMALLEST) & (weights <= LARGEST)))
    if len(wrong):
        far = f", from {SMALLEST:g} to {LARGEST:g}" if 0 < weights[wrong[0]] < np.inf else ""
        bound = f"a number above 0{far}" if classes is None else f"a cluster's size of {min(classes)} or more"
        first = f"{values[wrong[0]]:g} of document {table['id'][int(wrong[0])].as_py().hex()}"
        raise InputError(
            f"the weight `{column}` of `{source}` must be {bound}, got {first} and of"
            f" {len(wrong) - 1:,} more",
            where=str(index),
            hint="take out those documents before, or leave the source unweighted",
        )
    return weights


def by_cell(table: pa.Table, cells: CellWeights) -> npt.NDArray[np.float64]:
    """Return the weight of each document's cell, 0 for a cell that has none."""
    pairs = zip(topics_of(table).to_pylist(), buckets_of(table).to_pylist(), strict=True)
    return np.array([cells.get(topic, {}).get(str(bucket), 0.0) for topic, bucket in pairs], np.float64)


def by_size(sizes: npt.NDArray[np.float64], table: Mapping[int, float]) -> npt.NDArray[np.float64]:
    """Return the weight of each cluster size; NaN for sizes below the table's first, and for NaN itself."""
    first = np.array(sorted(table), np.float64)
    weights = np.array([np.nan, *(table[size] for size in sorted(table))])
    known = np.nan_to_num(sizes, nan=-np.inf)
    found: npt.NDArray[np.float64] = weights[np.searchsorted(first, known, side="right")]
    return found
