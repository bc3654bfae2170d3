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

_MAX_BYTES = 1 << 28  # a snapshot's list of 90,000 files has 12 MB


def named_paths(said: str, settings: SourceSettings) -> list[str]:
    """Return the inputs that one entry of `inputs` stands for: itself, or the lines of `@FILE`.

    Blank lines and those that begin with `#` are passed over. A relative line goes below the source's
    `prefix`, without one below the list's own folder or URL.
    """
    if not said.startswith("@") or os.path.lexists(said):
        return [said]
    name = said[1:]
    lines = [line.strip() for line in _read(name, settings).splitlines()]
    listed = [line for line in lines if line and not line.startswith("#")]
    if not listed:
        raise UsageError("a list of inputs names none", where=name)
    base = settings.prefix or (f"{name.rpartition('/')[0]}/" if "/" in name else "")
    return [_below(base, line) for line in listed]


def _below(base: str, line: str) -> str:
    if "://" in line or line.startswith("/"):
        return line
    joined = base if not base or base.endswith("/") else f"{base}/"
    return joined + line


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
