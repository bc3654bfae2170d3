"""Outputs on remote storage: objects put whole or not at all, read back through a bounded cache on this
machine.

An upload is checked against the digest of the file it was made from before the object comes to be; the store
checks each part it receives. Where the store has conditional writes, put-if-absent is one of them; elsewhere
a record may be put twice, with the same meaning, for two attempts of one task write the same bytes.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gristmill.cache import Cache
from gristmill.errors import GristmillError, IntegrityError
from gristmill.remote import Access, GaveUp, open_filesystem, patiently, version_of
from gristmill.s3_uploads import Leftover, list_uploads, upload_to_s3
from gristmill.workspace import borrowed

_RANGE_BYTES = 8 << 20  # of one request for a part of an object; a deadline is for as much
_ASIDE = ".aside"
_NUM_THREADS = 16  # that ask for small objects side by side

T = TypeVar("T")
Url = str | Path  # a `RemotePath`, or its text


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """How an output on remote storage is reached, and where its files are kept meanwhile."""

    access: Access = field(default_factory=Access)
    cache: str | None = None  # a folder of this machine
    cache_bytes: int = 10 << 30


@dataclass(frozen=True, slots=True)
class Info:
    """What a store says about an object, or about a prefix that objects lie below."""

    size: int
    version: str
    modified: float  # seconds since 1970; 0 where the store does not say
    is_folder: bool


class RemoteStore:
    """Remote storage reached with one set of settings, as one of the stores of `gristmill.stores`; paths are
    URLs."""

    def __init__(self, settings: StorageSettings) -> None:
        self.settings = settings
        self.cache = Cache(Path(settings.cache) if settings.cache else None, settings.cache_bytes)
        self._filesystems: dict[str, Any] = {}

    def scratch(self, folder: Path, name: str) -> Path:
        return self.cache.scratch(name)

    def clear_scratch(self, folder: Path) -> None:
        """Scratch lies on the machines that work; each clears its own."""

    def settle(self, folder: Path) -> None:
        """An object that was put is there to stay."""

    def info(self, url: Url) -> Info | None:
        try:
            found = self._ask(url, lambda fs, path, timeout: fs.info(path, **timeout))
        except FileNotFoundError:
            return None
        return _as_info(found)

    def entries(self, folder: Url) -> dict[str, Info]:
        """Return what lies right below a URL, files and folders, by URL and sorted; nothing below a file or
        what is not there.

        One page of a listing is one request: an operation of several would be lost with any of them.
        """
        own = self._open(folder)[1].strip("/")
        try:
            found = self._ask(folder, lambda fs, path, timeout: fs.ls(path, detail=True, **timeout))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        names = {item["name"].strip("/"): _as_info(item) for item in found}
        return {f"{folder}/{name.rpartition('/')[2]}": names[name] for name in sorted(names) if name != own}

    def walk(self, folder: Url) -> dict[str, Info]:
        """Return every file below a URL, by URL."""
        found: dict[str, Info] = {}
        for url, info in self.entries(folder).items():
            found |= self.walk(url) if info.is_folder else {url: info}
        return found

    def read(self, url: Url) -> bytes:
        """Read a small object."""
        return bytes(self._ask(url, lambda fs, path, timeout: fs.cat_file(path, **timeout)))

    def read_all(self, urls: Sequence[Url]) -> Iterator[bytes]:
        """Read many small objects, several at a time, in order."""
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for start in range(0, len(urls), 64 * _NUM_THREADS):
                yield from pool.map(self.read, urls[start : start + 64 * _NUM_THREADS])

    def fetch(self, url: Url) -> Path:
        """Return a local copy of an object: read it now, or link it (`Cache.link`) to keep it."""
        info = self.info(url)
        if info is None or info.is_folder:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(url))
        url, name = str(url), Path(url).name
        return self.cache.get(_key(url, info), name, lambda path: self._download(url, info, path))

    def place(self, source: Path, url: Url, sha256: str) -> None:
        """Upload a finished local file and keep it in the cache; `sha256` is what it must still hash to."""
        self.upload(source, url, sha256)
        info = self.info(url)
        if info is None or info.size != source.stat().st_size:
            raise IntegrityError(
                f"`{url}` is not what was uploaded: {info.size if info else 'no'} bytes are there"
            )
        self.cache.enter(_key(url, info), Path(url).name, source)

    def write(self, url: Url, data: bytes) -> None:
        self._ask(url, lambda fs, path, timeout: fs.pipe_file(path, data, **timeout))

    def put_if_absent(self, url: Url, data: bytes) -> bool:
        try:
            self._ask(url, lambda fs, path, timeout: _create(fs, path, data, timeout))
        except FileExistsError:
            return self.read(url) == data  # ours, if an answer was lost on the way
        return True

    def remove(self, url: Url) -> None:
        """Remove an object, and all below it; one that is not there is no error."""
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            list(pool.map(self._remove_file, [str(url), *self.walk(url)]))

    def _remove_file(self, url: str) -> None:
        with suppress(FileNotFoundError, IsADirectoryError):
            self._ask(url, lambda fs, path, timeout: fs.rm_file(path, **timeout))

    def unfinished(self, url: Url) -> list[Leftover]:
        asides = {name: info for name, info in self.walk(url).items() if name.endswith(_ASIDE)}
        found = [Leftover(name, info.size, partial(self._remove_file, name)) for name, info in asides.items()]
        return found + self._ask(url, lambda fs, path, timeout: list_uploads(fs, path, timeout), seconds=600)

    def workspace(self, folder: Path) -> AbstractContextManager[Path]:
        return borrowed(self, str(folder), self.cache.kept(str(folder)))

    def download(self, url: str, target: Path) -> None:
        """Write an object to a local file."""
        shutil.copyfile(self.fetch(url), target)

    def _open(self, url: Url) -> tuple[Any, str]:
        """Return the filesystem of a URL, opened once per process, and the path in it."""
        protocol = str(url).partition("://")[0]
        if protocol not in self._filesystems:
            self._filesystems[protocol] = open_filesystem(str(url), self.settings.access)[0]
        filesystem = self._filesystems[protocol]
        return filesystem, str(filesystem._strip_protocol(str(url)))

    def upload(self, source: Path, url: Url, sha256: str | None = None) -> None:
        """Put a local file, whole or not at all; it must hash to `sha256`, if that is given."""
        filesystem, path = self._open(url)
        if hasattr(filesystem, "call_s3"):
            upload_to_s3(
                filesystem, path, source, sha256, lambda attempt: self._give(url, attempt, filesystem)
            )
            return
        seconds = self.settings.access.seconds * (1 + source.stat().st_size / _RANGE_BYTES)
        aside = f"{path}.{secrets.token_hex(6)}{_ASIDE}"

        def attempt(timeout: Mapping[str, float]) -> None:
            if getattr(filesystem, "async_impl", False):  # these put whole objects
                filesystem.put_file(str(source), path, **timeout)
                return
            filesystem.makedirs(filesystem._parent(path), exist_ok=True)
            filesystem.put_file(str(source), aside)
            filesystem.mv(aside, path)

        self._give(url, attempt, filesystem, seconds)

    def _download(self, url: str, info: Info, target: Path) -> None:
        filesystem, path = self._open(url)
        with target.open("wb") as file:
            for start in range(0, info.size, _RANGE_BYTES):
                end = min(start + _RANGE_BYTES, info.size)

                def attempt(timeout: Mapping[str, float], start: int = start, end: int = end) -> bytes:
                    data: bytes = filesystem.cat_file(path, start=start, end=end, **timeout)
                    if len(data) != end - start:
                        raise OSError(f"{len(data)} bytes came of {end - start}")
                    return data

                file.write(self._give(url, attempt, filesystem))

    def _ask(self, url: Url, request: Callable[[Any, str, Mapping[str, float]], T], seconds: float = 0) -> T:
        filesystem, path = self._open(url)
        return self._give(url, lambda timeout: request(filesystem, path, timeout), filesystem, seconds)

    def _give(
        self, url: Url, attempt: Callable[[Mapping[str, float]], T], filesystem: Any, seconds: float = 0
    ) -> T:
        try:
            return patiently(attempt, str(url), self.settings.access, filesystem, seconds)
        except GaveUp as gave_up:
            raise GristmillError(
                (
                    f"the output storage does not answer after {gave_up.attempts} attempts: {gave_up.reason}"
                    if not gave_up.final
                    else f"the output storage refuses: {gave_up.reason}"
                ),
                where=str(url),
                hint="check the URL, the access and `storage_options`, then run the same command: it resumes",
            ) from gave_up


def _create(filesystem: Any, path: str, data: bytes, timeout: Mapping[str, float]) -> None:
    """Put an object that must not be there; raises FileExistsError."""
    try:
        filesystem.pipe_file(path, data, mode="create", **timeout)
        return
    except (NotImplementedError, TypeError):
        pass  # a filesystem without conditional writes
    except OSError as error:
        if error.errno != errno.ENOSYS:  # what a store without them says
            raise
    if filesystem.exists(path):
        raise FileExistsError(path)
    filesystem.pipe_file(path, data, **timeout)


def _as_info(found: Mapping[str, Any]) -> Info:
    modified = found.get("LastModified") or found.get("created") or found.get("mtime") or 0.0
    seconds = modified.timestamp() if hasattr(modified, "timestamp") else float(modified)
    return Info(int(found.get("size") or 0), version_of(found), seconds, found["type"] == "directory")


def _key(url: Url, info: Info) -> str:
    return f"{url}|{info.size}|{info.version}"
