"""From what a user names to shards of even work, without opening a single input.

Boundaries are a function of the inputs and `shard_bytes` only: large files that can be split are, tiny ones
are grouped.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from gristmill.errors import BooksError, InputError, UsageError
from gristmill.pipeline.sources.commoncrawl import resolve
from gristmill.pipeline.sources.record import NOTHING_STARTS, InputRange, InputShard, RangeEnd
from gristmill.pipeline.sources.settings import SourceSettings

_MAX_FILES_OF_A_SHARD = 1000
_COMPRESSIONS = (".gz", ".zst", ".lz4")
_FORMATS = {
    ".warc": "warc", ".wet": "wet", ".wat": "warc", ".arc": "arc",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
    ".txt": "text", ".text": "text", ".md": "text", ".rst": "text", ".py": "text",
}  # fmt: skip


def plan_shards(settings: SourceSettings, shard_bytes: int) -> list[InputShard]:
    """Cut the inputs of a source into shards of about `shard_bytes` stored bytes, sorted by path.

    Raises UsageError for a path that matches nothing or is a folder, InputError for one that cannot be looked
    at.
    """
    files = list_inputs(settings)
    by_format: dict[str, list[InputRange]] = {}
    for file in files:
        by_format.setdefault(input_format(file.path, settings), []).append(file)
    if settings.limit is not None:
        if len(by_format) > 1:
            raise UsageError(f"`limit` needs inputs of one format, got {', '.join(sorted(by_format))}")
        ((format_, ranges),) = by_format.items()
        return [InputShard(format_, tuple(ranges), settings.limit)]
    return [
        shard for format_ in sorted(by_format) for shard in _shards(format_, by_format[format_], shard_bytes)
    ]


def _shards(format_: str, files: Sequence[InputRange], shard_bytes: int) -> Iterable[InputShard]:
    group: list[InputRange] = []
    group_bytes = 0
    for file in files:
        if file.size >= shard_bytes and group:
            yield InputShard(format_, tuple(group))
            group, group_bytes = [], 0
        if file.size >= 2 * shard_bytes and _can_split(file.path, format_):
            yield from (InputShard(format_, (part,)) for part in _split(file, shard_bytes))
            continue
        group.append(file)
        group_bytes += file.size
        if group_bytes >= shard_bytes or len(group) >= _MAX_FILES_OF_A_SHARD:
            yield InputShard(format_, tuple(group))
            group, group_bytes = [], 0
    if group:
        yield InputShard(format_, tuple(group))


def _split(file: InputRange, shard_bytes: int) -> Iterable[InputRange]:
    num_parts = -(-file.size // shard_bytes)
    bounds = [file.size * number // num_parts for number in range(num_parts + 1)]
    for start, end in pairwise(bounds):
        yield InputRange(file.path, file.size, file.version, start, end)


def _can_split(path: str, format_: str) -> bool:
    """Archives hold a member for each record, so any offset leads to the next; compressed JSON lines are one
    member."""
    if format_ == "jsonl":
        return not path.endswith(_COMPRESSIONS)
    return format_ in ("warc", "wet", "arc", "parquet")


def input_format(path: str, settings: SourceSettings) -> str:
    """Return the format of an input: as the user says, else by its name."""
    if settings.format != "auto":
        return settings.format
    name = path.rsplit("/", 1)[-1].lower()
    for suffix in _COMPRESSIONS:
        name = name.removesuffix(suffix)
    _, dot, ending = name.rpartition(".")
    format_ = _FORMATS.get(dot + ending)
    if format_ is None:
        raise UsageError(
            "cannot tell the format of an input by its name",
            where=path,
            hint=(
                "set `format` to one of warc, wet, arc, jsonl, parquet, text; known endings:"
                f" {' '.join(sorted(_FORMATS))}"
            ),
        )
    return format_


def list_inputs(settings: SourceSettings) -> list[InputRange]:
    """Return every input once, whole, sorted by path."""
    if settings.commoncrawl:
        return resolve(settings.commoncrawl, settings.access())
    found: dict[str, InputRange] = {}
    for pattern in settings.inputs:
        if "://" in pattern:
            from gristmill.pipeline.sources.remote import list_remote

            files = list_remote(pattern, settings.access())
        else:
            files = _list_local(pattern)
        found.update((file.path, file) for file in files)
    return [found[path] for path in sorted(found)]


def _list_local(pattern: str) -> list[InputRange]:
    if Path(pattern).is_dir():
        raise UsageError(
            "an input is a folder, not a file",
            where=pattern,
            hint=f"name its files, for instance '{pattern.rstrip('/')}/*{_usual_suffix(Path(pattern))}'",
        )
    if Path(pattern).exists() or not glob.has_magic(pattern):
        return [_whole(pattern)]
    paths = [path for path in glob.iglob(pattern, recursive=True) if not path.endswith("/")]  # noqa: PTH207 - fast, and its paths are as the user wrote them
    files = [file for file in map(_whole_or_folder, paths) if file is not None]
    if not files:
        raise UsageError(
            "no file matches an input",
            where=pattern,
            hint="check the path; quote it so that the shell leaves it alone",
        )
    return files


def _usual_suffix(folder: Path) -> str:
    """The ending of the first file in a folder, `.warc.gz` where there is none."""
    first = min(
        (path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")),
        default="",
    )
    return first[first.index(".") :] if "." in first else ".warc.gz"


def _whole(path: str) -> InputRange:
    file = _whole_or_folder(path)
    if file is None:
        raise UsageError("an input is a folder, not a file", where=path)
    return file


def _whole_or_folder(path: str) -> InputRange | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a hundred thousand Path objects take their time
    except FileNotFoundError as error:
        raise UsageError(
            "an input does not exist", where=path, hint="check the path; globs may be given as they are"
        ) from error
    except OSError as error:
        raise InputError(f"cannot look at an input: {error.strerror}", where=path) from error
    if not stat.S_ISREG(status.st_mode):
        return None
    return InputRange(path, status.st_size, str(status.st_mtime_ns), 0, status.st_size)


def check_ranges_meet(ends: Iterable[RangeEnd]) -> None:
    """Raise BooksError unless, in each file, every range ended where the next began: nothing read twice,
    nothing left out."""
    by_path: dict[str, list[RangeEnd]] = {}
    for end in ends:
        by_path.setdefault(end.path, []).append(end)
    for path in sorted(by_path):
        _check_file(path, sorted(by_path[path], key=lambda end: end.start))


def _check_file(path: str, ranges: Sequence[RangeEnd]) -> None:
    promised: int | None = None  # where the last range that held a record says that the next record starts
    for before, after in pairwise([RangeEnd(path, 0, 0, 0, 0), *ranges]):
        if before.end != after.start:
            promised = None  # the shard between was given up: nothing can be said
        if after.first != NOTHING_STARTS:
            if promised not in (None, after.first):
                raise _do_not_meet(path, after.start, promised, f"the next began at {after.first}")
            promised = after.next
        elif promised is not None and promised < after.end:
            raise _do_not_meet(path, after.start, promised, "no record starts there for the next")


def _do_not_meet(path: str, start: int, ended: int | None, other: str) -> BooksError:
    return BooksError(
        f"two ranges of one input do not meet: one ended at byte {ended}, {other}",
        where=f"{path}@{start}",
        hint="a larger `shard_bytes` leaves the file whole",
    )
