"""Files that are still what somebody said they are: by the digest a plan was made with, or by the one in
their own name.

A digest is taken once for each content that a process meets: again only when size, time or inode differ.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gristmill.damage import damaged
from gristmill.errors import IntegrityError, RecipeError, StaleError
from gristmill.hashing import sha256_file, sha256_json

# Files published under the first digits of their content's sha256; pages of Parquet check themselves.
_NAMED = re.compile(r"/data/[^/]*-([0-9a-f]{12})((?:\.[A-Za-z0-9]+){1,2})$")

_Stamp = tuple[int, int, int, int]
_known: dict[tuple[str, bool], tuple[_Stamp, str]] = {}
_collected: dict[str, str] = {}


def pin(path: Path | str) -> str:
    """Digest a file that a recipe names, and remember it for `collect_pins`."""
    path = Path(path)
    _collected[str(path.absolute())] = digest = _digest(path, strict=True)
    return digest


def collect_pins() -> dict[str, str]:
    """Return the digests of the files that were pinned since the last call, by absolute path."""
    pins = dict(_collected)
    _collected.clear()
    return pins


def check_pins(pins: Mapping[str, str]) -> dict[str, _Stamp]:
    """Raise StaleError where a file is not what the plan was made with; return what `pins_held` compares
    with."""
    stamps = {}
    for name, digest in pins.items():
        try:
            found = _digest(Path(name), strict=True)
        except FileNotFoundError:
            found = ""
        if found != digest:
            raise _stale(name)
        stamps[name] = _known[name, True][0]
    return stamps


def pins_held(pins: Mapping[str, str], before: Mapping[str, _Stamp]) -> None:
    """Check again after work that may have opened the files: one that was changed and changed back was
    touched."""
    after = check_pins(pins)
    touched = [name for name in pins if after[name] != before[name]]
    if touched:
        raise IntegrityError(
            f"`{touched[0]}` was touched while a task used it", hint="leave it alone while the run is at work"
        )


def _stale(name: str) -> StaleError:
    return StaleError(
        f"`{name}` changed while the run was at work",
        hint="run again: what depends on it is planned anew, all else is reused",
    )


def check_named(path: str) -> None:
    """Raise IntegrityError where a published file does not hash to the digits in its name."""
    digits = _NAMED.search(path)
    if digits is None:
        return
    digest = _digest(Path(path), strict=False)
    if not digest.startswith(digits[1]):
        raise damaged(Path(path), f"it hashes to {digest[:12]}..., its name says {digits[1]}")


def named_files(value: Any) -> Iterator[str]:
    """Yield the published files among a task's arguments whose names carry their digest."""
    if isinstance(value, str | Path):
        text = str(value)
        found = _NAMED.search(text)
        if found and "://" not in text and found[2] != ".parquet":
            yield text
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from named_files(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_files(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from named_files(getattr(value, field.name))


def share_files(tasks: Sequence[Mapping[str, Any]], common: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Share out the published files that the tasks of a phase read, so that each is checked once, by one of
    its readers.

    Tasks of a shuffle read ranges of every file: to have each of them check all would cost their number times
    the data.
    """
    readers: dict[str, list[int]] = {}
    for number, arguments in enumerate(tasks):
        for path in named_files(arguments):
            found = readers.setdefault(path, [])
            if len(found) < _MOST_READERS:
                found.append(number)
    shares: list[list[str]] = [[] for _ in tasks]
    for path, found in readers.items():
        shares[min(found, key=lambda number: len(shares[number]))].append(path)
    for number, path in enumerate(dict.fromkeys(named_files(common))):
        if shares and path not in readers:
            shares[number % len(shares)].append(path)
    return [tuple(share) for share in shares]


_MOST_READERS = 16


def _digest(path: Path, *, strict: bool) -> str:
    """The digest of a file; `strict` also looks at when its inode was last touched, which nobody can set."""
    key, stamp = (str(path), strict), _stamp(path, strict=strict)
    known = _known.get(key)
    if known is None or known[0] != stamp:
        known = _known[key] = stamp, sha256_file(path)
    return known[1]


def _stamp(path: Path, *, strict: bool) -> _Stamp:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns if strict else 0


def digest_named(name: str, where: str) -> str:
    """The digest of a file or folder that a recipe names at `where`.

    A model or tokenizer replaced under the same name makes steps stale.
    """
    path = Path(name)
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    if not path.exists():
        raise RecipeError(f"`{where}` names `{name}`, which does not exist")
    return sha256_json([pin(file) for file in files])
