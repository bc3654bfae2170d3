"""The number that a document's score has to meet: a function of seed and id, so order and workers do not
matter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.hashing import uniform

_PURPOSE = "classify.keep"


def draw(seed: int, ids: pa.Array) -> npt.NDArray[np.float64]:
    """Return one uniform number in [0, 1) per id, the same in every run with this seed."""
    return uniform(seed, _PURPOSE, ids)
