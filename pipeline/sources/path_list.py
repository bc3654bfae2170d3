"""Inputs that are listed in a file: one path or URL a line, as `warc.paths.gz` of Common Crawl."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.errors import InputError, UsageError
from gristmill.files.disk import read_file

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

LOCAL_SCHEMES = ("file", "local")
_MAX_BYTES = 1 << 28  # a snapshot's list of 90,000 files has 12 MB


def named_paths(said: str, settings: SourceSettings) -> list[str]:
    """Return the inputs that one entry of `inputs` stands for: itself, or the lines of `@FILE`.

    Blank lines and those that begin with `#` are passed over. A relative line goes below the source's
    `prefix`, without one below the list's own folder or URL. Raises UsageError where a line leads out of the
    `prefix`, or from a list on another machine to files of this one.
    """
    if not said.startswith("@") or os.path.lexists(said):
        return [said]
    name = said[1:]
    lines = [line.strip() for line in _read(name, settings).splitlines()]
    listed = [line for line in lines if line and not line.startswith("#")]
    if not listed:
        raise UsageError("a list of inputs names none", where=name)
    base = settings.prefix or (f"{name.rpartition('/')[0]}/" if "/" in name else "")
    try:
        if settings.prefix:
            return [place_below(settings.prefix, line) for line in listed]
        return [place_from(name, base, line) for line in listed]
    except ValueError as error:
        raise UsageError(
            f"a list of inputs names {error}", where=name, hint="name such inputs in the recipe itself"
        ) from None


def place_below(base: str, name: str) -> str:
    """Return the place of a file that a list or an index names, below `base`; raises ValueError for a name
    that leads elsewhere: whoever wrote it may not be who runs the recipe."""
    root = f"{base.rstrip('/')}/"
    joined = name if "://" in name or name.startswith("/") else root + name
    if not joined.startswith(root) or ".." in joined[len(root) :].split("/"):
        raise ValueError(f"`{name}`, which does not lie below the prefix `{base}`")
    return joined


def place_from(list_: str, base: str, line: str) -> str:
    """Return the place that a list or an index names without a prefix, a relative one below `base`; raises
    ValueError where one on another machine names a file of this one."""
    is_relative = "://" not in line and not line.startswith("/")
    leads_here = ".." in line.split("/") if is_relative else _is_of_this_machine(line)
    if leads_here and not _is_of_this_machine(list_):
        raise ValueError(f"`{line}`, a place that a file of another machine may not name")
    return f"{base.rstrip('/')}/{line}" if is_relative and base else line


def _is_of_this_machine(place: str) -> bool:
    """Whether a place is a path or a local URL, or a chain of fsspec's (`zip://a::/b`) with one in it."""
    schemes = [part.partition("://")[0] for part in place.split("::") if "://" in part]
    return not schemes or "::/" in place or any(scheme in LOCAL_SCHEMES for scheme in schemes)


def _read(name: str, settings: SourceSettings) -> str:
    try:
        if "://" in name:
            from gristmill.pipeline.sources.remote import read_whole

            data = read_whole(name, settings.access())
        else:
            data = read_file(Path(name))
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data) if _inflated_bytes(data) <= _MAX_BYTES else b"\xff"
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError("a list of inputs does not exist", where=name) from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"a list of inputs cannot be read: {error}", where=name) from error


def _inflated_bytes(data: bytes) -> int:
    """Inflate step by step and count, up to just above the bound."""
    inner, got = zlib.decompressobj(wbits=47), 0
    while not inner.eof and got <= _MAX_BYTES and data:
        got += len(inner.decompress(data, 1 << 20))
        data = inner.unconsumed_tail
    return got
