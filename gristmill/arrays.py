"""Arrays of numbers as plain files: written whole and read whole, or an error that names the file.

`ndarray.tofile` and `numpy.fromfile` hold to neither: they go through a C stream whose last flush may fail
without a word, and a read that fails ends in a shorter array.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gristmill.damage import damaged
from gristmill.files.disk import named


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write the numbers of an array, in C order, to a new file."""
    with named(path), path.open("wb") as file:
        put_array(file, array)


def put_array(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Append the numbers of an array, in C order, to an open file."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read_array(
    path: Path | str, dtype: Any, count: int | None = None, start: int = 0, *, behind: int = 0
) -> npt.NDArray[Any]:
    """Read `count` numbers (all, when unset) from the `start`-th on, of those behind so many bytes; raises
    IntegrityError where there are fewer."""
    path, kind = Path(path), np.dtype(dtype)
    with named(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if count is None:
            count, rest = divmod(size - behind - start * kind.itemsize, kind.itemsize)
            if rest:
                raise damaged(path, f"its {size:,} bytes are no whole numbers of {kind.itemsize}")
        array = np.empty(count, kind)
        file.seek(behind + start * kind.itemsize)
        if count and file.readinto(array.view(np.uint8).data) != array.nbytes:
            raise damaged(path, f"it ends within the {count:,} numbers from {start:,} on")
    return array
