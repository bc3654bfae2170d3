"""Where an output lies: a local path, or a URL that is handled like one.

`location("s3://bucket/run")` is a `RemotePath`: below it, names join as in any path; listing and small files
go to the store; and whoever opens it by name (`open`, pyarrow, numpy.memmap) gets a whole local copy from a
bounded cache. Writing goes through `gristmill.files.storage` alone. Tasks are handed local paths only:
`staged` turns the URLs in their arguments into links.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PosixPath
from typing import IO, Any, ClassVar

from gristmill.errors import UsageError
from gristmill.files.inside import below
from gristmill.files.remote_store import CONTENT_NAMED, Info, RemoteStore, StorageSettings

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
        self.store.remove_files([self])

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


@dataclasses.dataclass(frozen=True, slots=True)
class ByRange:
    """A published file that a task reads parts of: it is not staged, who takes it decides what to fetch."""

    is_read_in_place: ClassVar[bool] = True

    path: str
    bytes: int


def staged(arguments: Mapping[str, Any], into: Path) -> dict[str, Any]:
    """Return a task's arguments with local links below `into` for every URL under a root that `use_storage`
    knows.

    A URL may name a file, a folder, or the common stem of several files; in either case the local path is
    used the same way. What says of itself that it is read in place (`is_read_in_place`), as ranges of inputs
    do, is left as it is.
    """
    known = [root for root in _settings if root]
    if not known:
        return dict(arguments)
    urls: dict[str, str] = {}

    def collect(value: Any) -> Any:
        if any(_is_below(str(value), root) for root in known):
            urls.setdefault(str(value), "")
        return value

    def local(value: Any) -> Any:
        link = urls.get(str(value))
        return value if link is None else link if isinstance(value, str) else Path(link)

    _replaced(dict(arguments), collect)
    urls = {url: str(link) for url, link in _links(list(urls), into).items()}
    return {name: _replaced(value, local) for name, value in arguments.items()}


def _replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Plain data with every text and URL in it changed."""
    if isinstance(value, str | RemotePath):
        return change(value)
    if getattr(value, "is_read_in_place", False):
        return value
    if isinstance(value, Mapping):
        return {key: _replaced(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_replaced(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        changed = {name: _replaced(getattr(value, name), change) for name in fields}
        return dataclasses.replace(value, **changed)
    return value


def _links(urls: Sequence[str], into: Path) -> dict[str, Path]:
    """Link what URLs name into folders of their own, and return the local path that stands for each.

    A name that carries its content's digest is a file, which nobody need ask for. Of others a listing says
    whether they are files, stems or folders: one for each, or for all of a folder.
    """
    listed: dict[str, dict[str, Info]] = {}
    beside = Counter(url.rpartition("/")[0] for url in urls if not CONTENT_NAMED.search(url))

    def copies(numbered: tuple[int, str]) -> Path:
        number, url = numbered
        path = RemotePath(url)
        found = _found(path, listed.get(str(path.parent)))
        for name, info in found.items():
            copy = path.store.fetch(name, info)
            path.store.cache.link(copy, below(into / f"{number:05d}", name.removeprefix(f"{path.parent}/")))
        return into / f"{number:05d}" / path.name

    for folder, count in beside.items():
        if count > _FEW:
            listed[folder] = RemotePath(folder).store.named(f"{folder}/")
    if not urls:
        return {}
    links = RemotePath(urls[0]).store.side_by_side(copies, list(enumerate(urls)))
    return dict(zip(urls, links, strict=True))


_FEW = 3  # names in a folder that are asked for one by one


def _found(path: RemotePath, listed: Mapping[str, Info] | None) -> dict[str, Info | None]:
    url = str(path)
    if CONTENT_NAMED.search(url):
        return {url: None}
    named = path.store.named(url) if listed is None else listed
    if url in named:
        return {url: named[url]}
    parts = {name: info for name, info in named.items() if name.startswith(f"{url}.")}
    return dict(parts) or {name: info for name, info in named.items() if name.startswith(f"{url}/")}


def _is_below(url: str, root: str) -> bool:
    return not root or url == root or url.startswith(f"{root}/")


def _as_stat(info: Info) -> os.stat_result:
    mode = stat.S_IFDIR if info.is_folder else stat.S_IFREG
    return os.stat_result(
        (mode | 0o600, 0, 0, 1, 0, 0, info.size, info.modified, info.modified, info.modified)
    )
