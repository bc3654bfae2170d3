"""A range of keys of sorted runs that lie elsewhere: local files of the same layout with holes in them.

Whoever reads [low, high) of such a file reads what the whole one holds; all else in it is zeros. It costs
three rounds of requests, each for all runs at once: the header, the offset index, and of every column the
rows whose keys may lie in the range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gristmill.dedup.sorted.runs import BLOCK, INDEX, Column, layout
from gristmill.files.disk import named

Stretch = tuple[Path, int, int]
Read = Callable[[Sequence[Stretch]], Iterator[bytes]]  # stretches of files, in order

_HEAD_BYTES = 4096  # hold the header of any run that we write
_MOST_BESIDE_BYTES = 1 << 20  # of columns that are not one value a record: above, a run is read whole


@dataclass(slots=True, eq=False)
class _Copy:
    """A run on its way: the pieces of it that are here, by their position."""

    path: Path
    size: int
    columns: list[Column] = field(default_factory=list)
    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    def beside(self) -> list[Column]:
        """The index, and columns of another length than the key."""
        return [one for one in self.columns if one.name == INDEX or one.length != self.columns[0].length]

    def rows(self, low: int, high: int) -> list[Stretch]:
        """The stretches of all other columns that a reader of a range looks at."""
        (place,) = (one.start for one in self.columns if one.name == INDEX)
        index = next(np.frombuffer(data, np.uint64) for start, data in self.pieces if start == place)
        num_rows = self.columns[0].length
        # As `SortedRun.position` finds a key: from the block before to the first row of the next one.
        first = max(int(np.searchsorted(index, np.uint64(low))) - 1, 0) * BLOCK
        last = num_rows
        if high < 1 << 64:
            last = min(num_rows, int(np.searchsorted(index, np.uint64(high))) * BLOCK + 1)
        others = [one for one in self.columns if one not in self.beside()]
        return [(self.path, one.start + first * one.width, one.start + last * one.width) for one in others]

    def write(self, path: Path) -> None:
        with named(path), path.open("wb") as file:
            file.truncate(self.size)
            for start, data in self.pieces:
                file.seek(start)
                file.write(data)


def copy_range(
    runs: Sequence[tuple[Path, int]], low: int, high: int, into: Path, read: Read
) -> list[Path | None]:
    """Write what a reader of low <= key < high needs of runs, given with their sizes, into files in a folder.

    None stands for a run with long columns of another kind, which has to be read whole. Raises IntegrityError
    for a file that is no run.
    """
    copies = [_Copy(path, size) for path, size in runs]
    _read(read, [(copy, (copy.path, 0, min(copy.size, _HEAD_BYTES))) for copy in copies])
    for copy in copies:
        copy.columns = layout(copy.path, copy.pieces[0][1], copy.size)
    fit = [copy for copy in copies if sum(one.num_bytes for one in copy.beside()) <= _most(copy)]
    _read(read, [(copy, (copy.path, one.start, one.stop)) for copy in fit for one in copy.beside()])
    _read(read, [(copy, stretch) for copy in fit for stretch in copy.rows(low, high)])
    into.mkdir(parents=True, exist_ok=True)
    paths: list[Path | None] = []
    for number, copy in enumerate(copies):
        path = into / f"{number:05d}.run"
        if copy in fit:
            copy.write(path)
        paths.append(path if copy in fit else None)
    return paths


def _most(copy: _Copy) -> int:
    """Bytes beside the rows: those of the index, which grow with them, and few of anything else."""
    return _MOST_BESIDE_BYTES + sum(one.num_bytes for one in copy.columns if one.name == INDEX)


def _read(read: Read, asked: Sequence[tuple[_Copy, Stretch]]) -> None:
    found = read([stretch for _, stretch in asked])
    for (copy, (_, start, _)), data in zip(asked, found, strict=True):
        copy.pieces.append((start, data))
