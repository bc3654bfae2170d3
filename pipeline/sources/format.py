"""Input formats: each is declared once, in a module of `formats/`, and everything else asks the table.

To add one, write `formats/NAME.py` with `FORMATS = (InputFormat(...),)`, a row in docs/sources.md and a test.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gristmill.pipeline.sources.record import InputRange, Item
    from gristmill.pipeline.sources.rows.text_rows import TextRows
    from gristmill.pipeline.sources.settings import SourceSettings
    from gristmill.pipeline.sources.window import ByteWindow

    Reader = Callable[[ByteWindow, InputRange, SourceSettings], Iterator[Item | TextRows]]

COMPRESSIONS = (".gz", ".zst", ".lz4")


@dataclass(frozen=True, slots=True)
class InputFormat:
    """One kind of input: which names it goes by, whether a file of it can be cut, and how a range is read.

    `splits`: `always` where any offset leads to the next record even in a compressed file (a member for each
    record, a table of row groups), `plain` where only uncompressed files do (lines), `never` for a whole
    file. `read` yields the items that start in a range and then its `RangeEnd`.
    """

    name: str
    endings: tuple[str, ...]
    splits: Literal["always", "plain", "never"]
    read: Reader

    def can_split(self, path: str) -> bool:
        return self.splits == "always" or (
            self.splits == "plain" and not plain_name(path).endswith(COMPRESSIONS)
        )


def plain_name(path: str) -> str:
    """The name of a file in lower case; a URL's without its query, which may be a signature."""
    return (path.partition("?")[0] if "://" in path else path).rsplit("/", 1)[-1].lower()


@functools.cache
def known_formats() -> Mapping[str, InputFormat]:
    """Return every format by name, in the order of their modules' names."""
    folder = Path(__file__).with_name("formats")
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    found = [
        format_
        for module in modules
        for format_ in importlib.import_module(f"gristmill.pipeline.sources.formats.{module}").FORMATS
    ]
    return {format_.name: format_ for format_ in found}


@functools.cache
def _by_ending() -> Mapping[str, InputFormat]:
    return {ending: format_ for format_ in known_formats().values() for ending in format_.endings}


def known_endings() -> list[str]:
    return sorted(_by_ending())


def format_by_name(path: str) -> InputFormat | None:
    """Return the format that a file's name tells, below a compression's ending; None for one it does not."""
    name = plain_name(path)
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    _, dot, ending = name.rpartition(".")
    return _by_ending().get(dot + ending)
