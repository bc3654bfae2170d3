"""From what a user names to shards of even work, without opening a single input.

Boundaries are a function of the inputs and `shard_bytes` only: large files that can be split are, tiny ones
are grouped.
"""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from gristmill.errors import BooksError, UsageError
from gristmill.pipeline.sources.commoncrawl import resolve
from gristmill.pipeline.sources.format import format_by_name, known_endings, known_formats
from gristmill.pipeline.sources.listing import files_below, match_files, whole_file
from gristmill.pipeline.sources.path_list import LOCAL_SCHEMES, named_paths
from gristmill.pipeline.sources.record import NOTHING_STARTS, InputRange, InputShard, RangeEnd
from gristmill.pipeline.sources.settings import SourceSettings

_MAX_FILES_OF_A_SHARD = 1000
_NUM_THREADS = 8  # that ask for sizes of remote inputs


# Files beside the data of a published data set; names that begin with `.` or `_` are left out everywhere.
_DESCRIBES = re.compile(
    r"[._].*|(?i:README|LICEN[SC]E|NOTICE|CITATION|CHANGELOG)(?:\..*)?"
    r"|dataset_infos?\.json|dataset_dict\.json|state\.json|[^/]*\.(?:md5|sha1|sha256|crc)"
)


def plan_shards(
    settings: SourceSettings, shard_bytes: int, files: Sequence[InputRange] | None = None
) -> list[InputShard]:
    """Cut the inputs of a source into shards of about `shard_bytes` stored bytes, sorted by path.

    `files` are the inputs as they were listed for the step's identity; listed now where they are not given.

    Raises UsageError for a path that matches nothing, InputError for one that cannot be looked at.
    """
    files = list_inputs(settings) if files is None else files
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
        if file.size >= 2 * shard_bytes and known_formats()[format_].can_split(file.path):
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


def input_format(path: str, settings: SourceSettings) -> str:
    """Return the format of an input: as the user says, else by its name."""
    if settings.format != "auto":
        return settings.format
    format_ = format_by_name(path)
    if format_ is None:
        raise UsageError(
            "cannot tell the format of an input by its name",
            where=path,
            hint=(
                f"set `format` to one of {', '.join(known_formats())}; known endings:"
                f" {' '.join(known_endings())}"
            ),
        )
    return format_.name


def list_inputs(settings: SourceSettings) -> list[InputRange]:
    """Return every input once, whole, sorted by path."""
    if settings.commoncrawl:
        return resolve(settings.commoncrawl, settings.access())
    found: dict[str, InputRange] = {}
    patterns = [path for said in settings.inputs for path in named_paths(said, settings)]
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        for files in pool.map(functools.partial(_list_one, settings=settings), patterns):
            found.update((file.path, file) for file in files)
    return [found[path] for path in sorted(found)]


def _list_one(pattern: str, settings: SourceSettings) -> list[InputRange]:
    scheme, _, path = pattern.rpartition("://")
    if scheme in ("", *LOCAL_SCHEMES):  # fsspec's own listing leaves out what it may not read
        return _list_local(path, settings)
    from gristmill.pipeline.sources.remote import list_remote

    choose = functools.partial(_data_files, folder=pattern, settings=settings)
    return list_remote(pattern, settings.access(), choose)


def _list_local(pattern: str, settings: SourceSettings) -> list[InputRange]:
    if os.path.isdir(pattern):  # noqa: PTH112
        paths = _data_files(files_below(pattern.rstrip("/") or "/"), pattern, settings)
        return [file for path in paths if (file := whole_file(path))]
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [file for file in [whole_file(pattern)] if file]
    files = match_files(pattern)
    if not files:
        raise UsageError(
            "no file matches an input",
            where=pattern,
            hint="check the path; quote it so that the shell leaves it alone",
        )
    return files


def _data_files(paths: Sequence[str], folder: str, settings: SourceSettings) -> list[str]:
    """Choose a folder's data among its files: what goes by its name, without what describes a data set.

    Raises UsageError where a choice would be a guess: a file of unknown ending, plain texts among tables.
    """
    found = [path for path in paths if not _DESCRIBES.fullmatch(path.rsplit("/", 1)[-1])]
    if settings.format != "auto":
        return found
    formats = {path: input_format(path, settings) for path in found}
    names = sorted(set(formats.values()))
    if not found or ("text" in names and len(names) > 1):
        raise UsageError(
            f"a folder holds inputs of the formats {', '.join(names)}"
            if found
            else "a folder without inputs",
            where=folder,
            hint=f"name its files by a glob, such as '{folder.rstrip('/')}/*.jsonl.gz', or set `format`",
        )
    return found


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
