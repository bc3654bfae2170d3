"""Inputs on any fsspec URL: listed, then read by ranges, each read under a deadline and tried again.

Only whole ranges count (`gristmill.files.remote`). Reads are whole blocks of a `Window`, which keeps the last
few in memory: that is all the cache there is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gristmill.errors import InputError, RefusedError, UsageError
from gristmill.files.remote import (
    Access,
    GaveUp,
    check_whole,
    one_line,
    open_filesystem,
    patiently,
    version_of,
)
from gristmill.files.s3_objects import get, is_s3
from gristmill.pipeline.sources.http_ranges import is_http, read_range
from gristmill.pipeline.sources.keys import below_prefix, match_keys
from gristmill.pipeline.sources.record import InputRange

_MOST_WHOLE_BYTES = 256 << 20  # of an input that is kept whole, for a server that ignores ranges

T = TypeVar("T")


def list_remote(
    pattern: str, access: Access, choose: Callable[[list[str]], list[str]] | None = None
) -> list[InputRange]:
    """List what a URL, a glob of one or a folder names, with sizes and versions, without opening anything.

    `choose` says which of a folder's files are inputs; without it a folder is refused.
    """
    filesystem, path = open_filesystem(pattern, access)
    has_marks = any(mark in path for mark in "*?[")
    info = _info(filesystem, path, pattern, access, must=not has_marks)  # a key may hold a `[` or a `*`
    if info is not None and (info["type"] == "file" or not has_marks or choose):
        found = {path: info}
        if info["type"] == "directory" and choose:
            found = _below(filesystem, path, pattern, access)
            names = {name.removeprefix(path).lstrip("/"): name for name in found}
            visible = [name for name in names if not any(part[:1] in "._" for part in name.split("/"))]
            found = {names[name]: found[names[name]] for name in choose(sorted(visible))}
    elif is_s3(filesystem):
        found = match_keys(
            filesystem, path, lambda request: with_retries(request, pattern, access, filesystem)
        )
    else:
        found = with_retries(
            lambda timeout: _strict_glob(filesystem, path, timeout), pattern, access, filesystem
        )
    files = [
        _whole(filesystem.unstrip_protocol(name), info)
        for name, info in found.items()
        if info["type"] == "file"
    ]
    if not files:
        raise UsageError(
            "no object matches an input",
            where=pattern,
            hint="check the path; a folder needs a glob, such as /*.warc.gz",
        )
    return files


def _info(
    filesystem: Any, path: str, pattern: str, access: Access, *, must: bool
) -> Mapping[str, Any] | None:
    """What lies at a path, taken by its letters; None where nothing does and nothing must."""

    def ask(timeout: Mapping[str, float]) -> Mapping[str, Any] | None:
        try:
            return dict(filesystem.info(path, **timeout))
        except FileNotFoundError:
            if must:
                raise
            return None

    return with_retries(ask, pattern, access, filesystem)


def _below(filesystem: Any, path: str, pattern: str, access: Access) -> dict[str, Any]:
    """Every file of a folder, by path."""
    if is_s3(filesystem):
        return dict(
            below_prefix(filesystem, path, lambda request: with_retries(request, pattern, access, filesystem))
        )
    return with_retries(
        lambda timeout: dict(filesystem.find(path, detail=True, **timeout)), pattern, access, filesystem
    )


def _strict_glob(filesystem: Any, path: str, timeout: Mapping[str, float]) -> dict[str, Any]:
    """Match a glob; by itself fsspec leaves out every folder that it could not list."""
    if getattr(filesystem, "async_impl", False):  # object stores list keys, and fail as a whole
        return dict(filesystem.glob(path, detail=True, **timeout))
    filesystem.walk = functools.partial(type(filesystem).walk, filesystem, on_error=_refuse)
    try:
        return dict(filesystem.glob(path, detail=True))
    finally:
        del filesystem.walk


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # what is not there simply does not match
        raise error


def fetcher(source: InputRange, access: Access) -> Callable[[int, int], bytes]:
    """Return a function that reads bytes [start, end) of an input, whole or not at all; the input must be
    what was planned."""
    filesystem, path = open_filesystem(source.path, access)
    check_unchanged(source, access)

    whole: list[bytes] = []  # of a server that ignores ranges: its first answer is all there is to ask

    def attempt(timeout: Mapping[str, float], start: int, end: int) -> bytes:
        data = _read(filesystem, path, timeout, start, end)
        if len(data) == source.size and not 0 == start <= end == source.size:
            check_whole(len(data), end - start, _MOST_WHOLE_BYTES)
            whole.append(data)
            return data[start:end]
        if len(data) != end - start:
            raise OSError(f"{len(data)} bytes came of {end - start}")
        return data

    def fetch(start: int, end: int) -> bytes:
        if whole:
            return whole[0][start:end]
        where = f"{source.shown}@{start}"
        return with_retries(lambda timeout: attempt(timeout, start, end), where, access, filesystem)

    return fetch


def _read(filesystem: Any, path: str, timeout: Mapping[str, float], start: int, end: int) -> bytes:
    """Read bytes [start, end), or the whole of a file that may be kept whole."""
    if is_http(filesystem):
        return read_range(filesystem, path, timeout, start, end, _MOST_WHOLE_BYTES)
    if is_s3(filesystem) and start < end:
        return get(filesystem, path, timeout, start, end, most_whole=_MOST_WHOLE_BYTES).data
    data: bytes = filesystem.cat_file(path, start=start, end=end, **timeout)
    return data


def check_unchanged(source: InputRange, access: Access) -> None:
    """Raise InputError unless an input is still what was planned."""
    filesystem, path = open_filesystem(source.path, access)
    info = with_retries(lambda timeout: filesystem.info(path, **timeout), source.path, access, filesystem)
    now = _whole(source.path, info)
    if not _same(source, now):
        sizes = f"{source.size} bytes then, {now.size} now"
        version = f"as many bytes, with another {source.version.partition(':')[0]}"
        raise RefusedError(
            f"an input changed since the run was planned: {sizes if now.size != source.size else version}",
            where=source.shown,
            hint="run again: what depends on it is planned anew",
        )


def read_part(url: str, start: int, end: int, access: Access) -> bytes:
    """Read bytes [start, end) of an object that no listing has named; fewer where it ends before."""
    filesystem, path = open_filesystem(url, access)
    data: bytes = with_retries(
        lambda timeout: filesystem.cat_file(path, start=start, end=end, **timeout),
        f"{url}@{start}",
        access,
        filesystem,
    )
    return data


def read_whole(url: str, access: Access) -> bytes:
    """Read a small object, such as a listing."""
    filesystem, path = open_filesystem(url, access)
    data: bytes = with_retries(lambda timeout: filesystem.cat_file(path, **timeout), url, access, filesystem)
    return data


def with_retries(
    attempt: Callable[[Mapping[str, float]], T], where: str, access: Access, filesystem: Any
) -> T:
    """Call until it succeeds or for good does not; raises InputError."""
    try:
        return patiently(attempt, where, access, filesystem)
    except FileNotFoundError as error:
        reason = one_line(error, access.options)
        raise RefusedError(
            f"cannot read an input: {reason}", where=where, hint="check the URL and the access"
        ) from error
    except GaveUp as gave_up:
        after = "" if gave_up.final else f" after {gave_up.attempts} attempts"
        hint = gave_up.hint or ("check the URL and the access" if gave_up.final else None)
        kind = RefusedError if gave_up.final else InputError
        raise kind(f"cannot read an input{after}: {gave_up.reason}", where=where, hint=hint) from gave_up


def _whole(path: str, info: Mapping[str, Any]) -> InputRange:
    size = info.get("size")
    if size is None:
        raise InputError("the server does not tell the size of an input", where=path)
    return InputRange(path, int(size), version_of(info), 0, int(size))


def _same(planned: InputRange, now: InputRange) -> bool:
    """Listings and single answers of one filesystem may name different times; only like is compared with
    like."""
    (old_key, _, old), (new_key, _, new) = planned.version.partition(":"), now.version.partition(":")
    return planned.size == now.size and (old_key != new_key or old == new)
