"""How often the corpora that publish it repeat a document, by the size of its cluster of duplicates.

A table maps the least size of a class to the weight of the class: `{1: 1, 2: 3, 6: 5}` is 1 for a document
without duplicates, 3 for clusters of 2 to 5, 5 for those of 6 and more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

MOST_COPIES = 64
TableName = Literal["linear", "txt360", "fineweb-2"]

TABLES: dict[str, dict[int, int]] = {
    # LLM360's TxT360 (2024), its space's results.py, "Upsampling Experiment": 3 for 2 to 5 duplicates, 5 for
    # 5 to 100, 8 for 101 to 1,000, 10 for more. Five is in two of its classes; here in the first.
    "txt360": {1: 1, 2: 3, 6: 5, 101: 8, 1001: 10},
    # FineWeb-2's README, "re-hydration" (huggingface/fineweb-2 at d0defb2): 4 copies count as 3, and clusters
    # of 1,000 and more, taken for low quality, are not repeated.
    "fineweb-2": {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1},
}


def checked_table(table: Any) -> Any:
    """Return a table as given; raises ValueError for one that names no size, or a size or weight below its
    bound."""
    if isinstance(table, Mapping):
        if not table:
            raise ValueError("a table of weights needs at least one size, such as {1: 1, 2: 3}")
        for size, weight in table.items():
            if size < 1:
                raise ValueError(f"a cluster has 1 document at least, the table names a size of {size}")
            if not (weight > 0 and math.isfinite(weight)):
                raise ValueError(f"the weight of size {size} must be above 0, got {weight:g}")
            if weight > MOST_COPIES:
                raise ValueError(f"the weight of size {size} must be at most {MOST_COPIES}, got {weight:g}")
    return table
