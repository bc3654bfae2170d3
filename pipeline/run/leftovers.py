"""Files that a step made for itself and nothing needs any more: removed, or left to `gc` where a store does
not let them be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.errors import StorageRefused
from gristmill.files.s3_objects import in_thousands
from gristmill.files.stores import store_of


@dataclass(slots=True)
class Leftovers:
    """How many files of a step are left, of those asked for, and what the store said."""

    num_files: int = 0
    because: str = ""

    def discard(self, folder: Path, paths: Sequence[Path]) -> None:
        """Remove files of a step; those that the store refuses to are counted, and the step goes on."""
        store = store_of(folder)
        for some in in_thousands(paths):
            try:
                store.remove_files(some)
            except StorageRefused as error:
                self.num_files += len(some)
                self.because = error.message

    def discard_folder(self, folder: Path) -> None:
        try:
            store_of(folder).remove(folder)
        except StorageRefused as error:
            self.num_files += sum(path.is_file() for path in folder.rglob("*"))
            self.because = error.message

    def spelled(self) -> str:
        files = "file that nothing needs is" if self.num_files == 1 else "files that nothing needs are"
        return (
            f"up to {self.num_files:,} {files} left, the store does not let them be deleted"
            f" ({self.because}): `gristmill gc` removes them once it does"
        )
