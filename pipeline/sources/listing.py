"""Files that a path or a glob names, in an order of their own: nothing that cannot be looked at is left out.

The standard library's `glob` swallows OSError: a folder that cannot be listed is skipped without a word, and
a run over it ends well with half of its input. Here each such folder is an error that names it, and so are a
link that leads nowhere, a name that is no UTF-8, and a pipe or device among the matches.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import lru_cache

from gristmill.errors import InputError, UsageError
from gristmill.pipeline.sources.record import InputRange

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def match_files(pattern: str) -> list[InputRange]:
    """Return the files that a glob names, sorted; folders that match are passed over.

    `*`, `?` and `[...]` match within one name and no leading dot, `**` matches folders at any depth, as the
    shell's do. Raises InputError for what cannot be listed or looked at.
    """
    root = "/" if pattern.startswith("/") else ""
    paths = [root]
    parts = [part for part in pattern.split("/") if part]
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        paths = [found for path in paths for found in _step(path, part, is_last)]
    files = (whole_file(path, must_be_file=False) for path in sorted(set(paths)))
    return [file for file in files if file is not None]


def files_below(folder: str) -> list[str]:
    """Return every file below a folder, sorted by path; names that begin with `.` or `_` are not data."""
    return sorted(path for path in _walk(folder, set(), hidden="._") if not os.path.isdir(path))  # noqa: PTH112


def whole_file(path: str, *, must_be_file: bool = True) -> InputRange | None:
    """Return a file as a range over all of it; None for a folder that need not be a file."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(
            "the name of an input is not UTF-8",
            where=ascii(os.fsencode(path)),
            hint="rename it: its name could not be written beside its documents",
        ) from None
    try:
        status = os.stat(path)  # noqa: PTH116 - a hundred thousand Path objects take their time
    except OSError as error:
        raise _cannot_look(path, error) from error
    if stat.S_ISDIR(status.st_mode) and not must_be_file:
        return None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise UsageError(f"an input is {kind}, not a file", where=path)
    return InputRange(path, status.st_size, str(status.st_mtime_ns), 0, status.st_size)


def _cannot_look(path: str, error: OSError) -> InputError | UsageError:
    if error.errno not in _ABSENT[:1]:
        return InputError(f"cannot look at an input: {error.strerror}", where=path)
    if os.path.islink(path):  # noqa: PTH114
        return InputError(
            f"an input is a link that leads nowhere: to `{os.readlink(path)}`",  # noqa: PTH115
            where=path,
            hint="remove the link, or restore what it names",
        )
    return UsageError(
        "an input does not exist", where=path, hint="check the path; globs may be given as they are"
    )


def _step(path: str, part: str, is_last: bool) -> Iterator[str]:
    """Yield what one component of a glob names below a path."""
    if part == "**":
        yield from [path, *(found for found in _walk(path, set()) if is_last or _is_folder(found))]
    elif not glob.has_magic(part):
        found = _join(path, part)
        if _exists(found):
            yield found
    elif _is_folder(path):
        matches = _matcher(part)
        for name in _names(path):
            found = _join(path, name)
            if matches(name) and (is_last or _is_folder(found)):
                yield found


@lru_cache(maxsize=64)
def _matcher(part: str) -> Callable[[str], object]:
    dotted = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(dotted + fnmatch.translate(part)).match


def _walk(folder: str, seen: set[tuple[int, int]], hidden: str = ".") -> Iterator[str]:
    """Yield everything below a folder, each folder once however links lead to it."""
    if not _is_folder(folder):
        return
    status = os.stat(folder or ".")  # noqa: PTH116
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for name in _names(folder):
        if not name.startswith(tuple(hidden)):
            path = _join(folder, name)
            yield path
            yield from _walk(path, seen, hidden)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))  # noqa: PTH208
    except OSError as error:
        raise InputError(
            f"a folder of inputs cannot be listed: {error.strerror}",
            where=folder or ".",
            hint="what lies in it would be left out; mend its access, or name the files without it",
        ) from error


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path or ".").st_mode)  # noqa: PTH116
    except OSError as error:
        raise _cannot_look(path, error) from error


def _exists(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise _cannot_look(path, error) from error
    return True


def _join(folder: str, name: str) -> str:
    return folder + name if not folder or folder.endswith("/") else f"{folder}/{name}"
