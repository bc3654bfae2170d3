"""Where an output lies: a local path, or a URL that is handled like one.

`location("s3://bucket/run")` is a `RemotePath`: below it, names join as in any path; listing and small files
go to the store; and whoever opens it by name (`open`, pyarrow, numpy.memmap) gets a whole local copy from a
bounded cache. Writing goes through `gristmill.storage` alone. Tasks are handed local paths only: `staged`
turns the URLs in their arguments into links.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PosixPath
from typing import IO, Any

from gristmill.errors import UsageError
from gristmill.inside import below
from gristmill.remote_store import Info, RemoteStore, StorageSettings

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://?(?=[^/])")

Roots = tuple[tuple[str, StorageSettings], ...]

_settings: dict[str, StorageSettings] = {"": StorageSettings()}  # by the URL they hold below
_stores: dict[str, RemoteStore] = {}


class RemotePath(PosixPath):
    """A URL as a path; its text is the URL, its file name is that of a local copy."""

    __slots__ = ()

    def __str__(self) -> str:
        text = super().__str__()
        return _URL.sub(r"\1://", text, count=1) if _URL.match(text) else text

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (str(self),)

    @property
    def store(self) -> RemoteStore:
        root = max((root for root in _settings if _is_below(str(self), root)), key=len)
        if root not in _stores:
            _stores[root] = RemoteStore(_settings[root])
        return _stores[root]

    def __fspath__(self) -> str:
        return str(self.store.fetch(self))

    def open(self, mode: str = "r", *arguments: Any, **keywords: Any) -> IO[Any]:  # type: ignore[override]
        if set(mode) - set("rbt"):
            raise OSError(f"`{self}` cannot be opened for writing: outputs are put whole")
        return Path(os.fspath(self)).open(mode, *arguments, **keywords)

    def read_bytes(self) -> bytes:
        return self.store.read(self)

    def read_text(
        self, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def exists(self, **_: Any) -> bool:
        return self.store.info(self) is not None

    def is_file(self, **_: Any) -> bool:
        info = self.store.info(self)
        return info is not None and not info.is_folder

    def is_dir(self, **_: Any) -> bool:
        info = self.store.info(self)
        return info is not None and info.is_folder

    def stat(self, **_: Any) -> os.stat_result:
        info = self.store.info(self)
        if info is None:
            raise FileNotFoundError(f"`{self}` does not exist")
        return _as_stat(info)

    def glob(self, pattern: str, **_: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        name, rest = [*pattern.split("/", 1), ""][:2]
        for url, info in self.store.entries(self).items():
            path = RemotePath(url)
            if fnmatch.fnmatchcase(path.name, name):
                if not rest:
                    yield path
                elif info.is_folder:
                    yield from path.glob(rest)

    def rglob(self, pattern: str, **_: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """Yield the files below, at any depth, whose name matches; object stores have no folders of their
        own."""
        yield from (
            path for path in map(RemotePath, self.store.walk(self)) if fnmatch.fnmatchcase(path.name, pattern)
        )

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        yield from self.glob("*")

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok and not self.exists():
            raise FileNotFoundError(f"`{self}` does not exist")
        self.store.remove(self)

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Object stores have no folders to make."""

    def resolve(self, strict: bool = False) -> RemotePath:
        return self

    def absolute(self) -> RemotePath:
        return self

    def is_absolute(self) -> bool:
        return True


def location(name: str | Path) -> Path:
    """Return the path of an output that a user names, on this machine or as a URL."""
    text = str(name)
    if isinstance(name, RemotePath) or "://" not in text:
        return Path(text) if not isinstance(name, Path) else name
    protocol, _, rest = text.partition("://")
    if protocol == "file":
        return Path(rest)
    if not _URL.match(text) or "::" in text or not rest.strip("/"):
        raise UsageError(
            "an output cannot lie at this URL", where=text, hint="name a plain one, such as s3://bucket/run"
        )
    return RemotePath(text.rstrip("/"))


def use_storage(root: str | Path, settings: StorageSettings) -> None:
    """Reach everything below a URL (all URLs, for an empty one) with these settings from now on, in this
    process."""
    if not str(root) or isinstance(location(root), RemotePath):
        _settings[str(root)] = settings
        _stores.pop(str(root), None)


def remember_output(folder: Path) -> None:
    """Let tasks read what lies in an output's folder, also one that another run made."""
    if isinstance(folder, RemotePath) and not any(
        root and _is_below(str(folder), root) for root in _settings
    ):
        _settings[str(folder)] = _settings[""]


def default_storage() -> StorageSettings:
    """The settings of URLs that nothing else is said about."""
    return _settings[""]


def roots() -> Roots:
    """Return what `use_storage` was told, to be passed on to other processes."""
    return tuple(_settings.items())


def staged(arguments: Mapping[str, Any], into: Path) -> dict[str, Any]:
    """Return a task's arguments with local links below `into` for every URL under a root that `use_storage`
    knows.

    A URL may name a file, a folder, or the common stem of several files; in either case the local path is
    used the same way.
    """
    known = [root for root in _settings if root]
    if not known:
        return dict(arguments)
    links: dict[str, str] = {}

    def local(value: Any) -> Any:
        if isinstance(value, str | RemotePath):
            text = str(value)
            if not any(_is_below(text, root) for root in known):
                return value
            if text not in links:
                links[text] = str(_link(RemotePath(text), into / f"{len(links):05d}"))
            return type(value)(links[text]) if isinstance(value, str) else Path(links[text])
        if isinstance(value, Mapping):
            return {key: local(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            items = [local(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = {
                field.name: local(getattr(value, field.name))
                for field in dataclasses.fields(value)
                if field.init
            }
            return dataclasses.replace(value, **changed)
        return value

    return {name: local(value) for name, value in arguments.items()}


def _link(path: RemotePath, into: Path) -> Path:
    """Link what a URL names into a folder and return the local path that stands for it."""
    store, url = path.store, str(path)
    try:
        copies = {url: store.fetch(url)}
    except FileNotFoundError:
        beside = [name for name in store.entries(path.parent) if name.startswith(f"{url}.")]
        copies = {name: store.fetch(name) for name in beside or store.walk(url)}
    for name, copy in copies.items():
        store.cache.link(copy, below(into, name.removeprefix(f"{path.parent}/")))
    return into / path.name


def _is_below(url: str, root: str) -> bool:
    return not root or url == root or url.startswith(f"{root}/")


def _as_stat(info: Info) -> os.stat_result:
    mode = stat.S_IFDIR if info.is_folder else stat.S_IFREG
    return os.stat_result(
        (mode | 0o600, 0, 0, 1, 0, 0, info.size, info.modified, info.modified, info.modified)
    )
