"""Sorted runs of bounded size: what a task writes that may not hold all of it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.dedup.sorted.radix import argsort
from gristmill.dedup.sorted.runs import concat, write_run


class Spill:
    """Columns written as runs sorted by the first, `out`.0 and so on, each of about `most_bytes`.

    `names` gives each column's type. Where `packed` names one more, every record has as many values of it as
    its column `length` says, and the run a column `end` of where they end.
    """

    def __init__(
        self,
        out: Path,
        names: Mapping[str, npt.DTypeLike],
        most_bytes: int,
        packed: tuple[str, npt.DTypeLike] | None = None,
    ) -> None:
        self.out, self.names, self.most_bytes, self.packed = out, names, most_bytes, packed
        self.count = 0
        self._files = self._held = 0
        self._waiting: list[Sequence[npt.NDArray]] = []
        self._values: list[npt.NDArray] = []

    def add(self, columns: Sequence[npt.NDArray], values: Sequence[npt.NDArray] = ()) -> None:
        self._waiting.append(columns)
        self._values += values
        self.count += len(columns[0])
        self._held += sum(array.nbytes for array in (*columns, *values))
        if self._held >= self.most_bytes:
            self._flush()

    def close(self) -> int:
        """Write what waits and return the number of files, one at least."""
        if self._held or not self._files:
            self._flush()
        return self._files

    def _flush(self) -> None:
        columns = {
            name: concat([part[place] for part in self._waiting]).astype(dtype, copy=False)
            for place, (name, dtype) in enumerate(self.names.items())
        }
        order = argsort(next(iter(columns.values())))
        columns = {name: column[order] for name, column in columns.items()}
        if self.packed:
            name, dtype = self.packed
            columns["end"] = np.cumsum(columns["length"]).astype(np.uint64)
            columns[name] = concat([self._values[place] for place in order.tolist()]).astype(dtype)
        write_run(self.out.with_suffix(f".{self._files}"), columns)
        self._files, self._held, self._waiting, self._values = self._files + 1, 0, [], []
