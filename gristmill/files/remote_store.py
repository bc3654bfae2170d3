"""Outputs on remote storage: objects put whole or not at all, read back through a bounded cache on this
machine.

An upload is checked against the digest of the file it was made from before the object comes to be; the store
checks each part it receives. Where the store has conditional writes, put-if-absent is one of them; elsewhere
a record may be put twice, with the same meaning, for two attempts of one task write the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gristmill.damage import damaged
from gristmill.errors import GristmillError, IntegrityError, StorageRefused
from gristmill.files.cache import Cache
from gristmill.files.remote import Access, GaveUp, open_filesystem, patiently, version_of
from gristmill.files.s3_objects import Got, delete, get, in_thousands, is_s3, list_page, put
from gristmill.files.s3_uploads import Leftover, list_uploads, upload_to_s3
from gristmill.files.workspace import borrowed

_RANGE_BYTES = 8 << 20  # of one request for a part of an object; a deadline is for as much
_ASIDE = ".aside"
CONTENT_NAMED = re.compile(
    r"/data/[^/]*-[0-9a-f]{12}(?:\.[A-Za-z0-9]+){0,2}$"
)  # as `storage.publish` names files
_NUM_THREADS = 16  # that ask for small objects side by side

T = TypeVar("T")
Url = str | Path  # a `RemotePath`, or its text
Stretch = tuple[Path, int, int]  # of a file, its bytes from the second to before the third


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
    """Remote storage reached with one set of settings, as one of the stores of `gristmill.files.stores`;
    paths are URLs."""

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
        found = self._listed(f"{folder}/", "/") if self._is_s3(folder) else self._ls(folder)
        names = {item["name"].strip("/"): _as_info(item) for item in found}
        return {f"{folder}/{name.rpartition('/')[2]}": names[name] for name in sorted(names) if name != own}

    def _ls(self, folder: Url) -> list[Mapping[str, Any]]:
        try:
            return list(self._ask(folder, lambda fs, path, timeout: fs.ls(path, detail=True, **timeout)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, folder: Url) -> dict[str, Info]:
        """Return every file below a URL, by URL."""
        if self._is_s3(folder):
            return self.named(f"{folder}/")
        found: dict[str, Info] = {}
        for url, info in self.entries(folder).items():
            found |= self.walk(url) if info.is_folder else {url: info}
        return found

    def named(self, stem: str) -> dict[str, Info]:
        """Return every file whose URL begins with a text, by URL and sorted."""
        if not self._is_s3(stem):
            folder, _, name = stem.rpartition("/")
            return {
                url: info
                for beside, about in self.entries(folder).items()
                if beside.rpartition("/")[2].startswith(name)
                for url, info in (self.walk(beside) if about.is_folder else {beside: about}).items()
            }
        root = stem.partition("://")[0]
        files = self._listed(stem, "")
        return {
            f"{root}://{item['name']}": _as_info(item)
            for item in sorted(files, key=lambda item: str(item["name"]))
            if not item["name"].endswith("/")
        }

    def _listed(self, prefix: str, delimiter: str) -> list[Mapping[str, Any]]:
        """Every page of a listing of S3, each asked for by itself."""
        found: list[Mapping[str, Any]] = []
        token: str | None = None
        while True:
            page = self._ask(
                prefix,
                lambda fs, path, timeout, token=token: list_page(  # type: ignore[misc]
                    fs, prefix, timeout, delimiter=delimiter, token=token
                ),
            )
            found += page.files
            found += [{"name": name, "size": 0, "type": "directory"} for name in page.prefixes]
            token = page.token
            if token is None:
                return found

    def read(self, url: Url) -> bytes:
        """Read a small object."""
        if self._is_s3(url):
            return self._ask(url, lambda fs, path, timeout: get(fs, path, timeout)).data
        return bytes(self._ask(url, lambda fs, path, timeout: fs.cat_file(path, **timeout)))

    def read_all(self, urls: Sequence[Url]) -> Iterator[bytes]:
        """Read many small objects, several at a time, in order."""
        yield from self.side_by_side(self.read, urls)

    def read_stretches(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        """Read a stretch of each of many objects, several at a time, in order, by ranges: none is fetched."""
        for start in range(0, len(stretches), 4 * _NUM_THREADS):
            yield from self.side_by_side(self._stretch, stretches[start : start + 4 * _NUM_THREADS])

    def _stretch(self, stretch: Stretch) -> bytes:
        url, begin, stop = stretch
        whole = range(begin, stop, _RANGE_BYTES)
        parts = [self._part(url, start, min(start + _RANGE_BYTES, stop)) for start in whole]
        return whole_stretch(url, begin, stop, b"".join(parts))

    def _part(self, url: Url, start: int, end: int) -> bytes:
        if is_s3(self._open(url)[0]):
            got = self._range(url, start, end)
            return got.data if got.is_range else got.data[start:end]
        data: bytes = self._ask(
            url, lambda fs, path, timeout: fs.cat_file(path, start=start, end=end, **timeout)
        )
        return data if len(data) <= end - start else data[start:end]  # else it ignores ranges

    def side_by_side(self, ask: Callable[[Any], T], many: Sequence[Any]) -> Iterator[T]:
        """Ask for many things, several at a time, and yield the answers in order."""
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for start in range(0, len(many), 64 * _NUM_THREADS):
                yield from pool.map(ask, many[start : start + 64 * _NUM_THREADS])

    def is_near(self, url: Url) -> bool:
        """Whether the cache of this machine has a file whose name carries its digest."""
        return bool(CONTENT_NAMED.search(str(url))) and self.cache.holds(str(url), Path(url).name)

    def fetch(self, url: Url, info: Info | None = None) -> Path:
        """Return a local copy of an object: read it now, or link it (`Cache.link`) to keep it.

        An object whose name carries its digest is what it was: a copy of it is taken without asking.
        """
        url, name = str(url), Path(url).name
        if CONTENT_NAMED.search(url):
            return self.cache.get(url, name, lambda path: self._download(url, path))
        info = info or self.info(url)
        if info is None or info.is_folder:
            raise FileNotFoundError(errno.ENOENT, "no such object", url)
        return self.cache.get(_key(url, info), name, lambda path: self._download(url, path, info))

    def find_below(self, folder: Url, names: Sequence[str]) -> dict[str, Info]:
        listed = self.walk(folder)
        return {name: listed[url] for name in names if (url := f"{folder}/{name}") in listed}

    def read_anew(self, url: Url, info: Info) -> Path:
        """Return a local copy of what the store has now: that of the cache only where both have one MD5."""
        url, name = str(url), Path(url).name
        key = url if CONTENT_NAMED.search(url) else _key(url, info)
        copy = self.cache.get(key, name, lambda path: self._download(url, path, info))
        if f"ETag:{_md5(copy)}" == info.version:
            return copy
        return self.cache.get(f"{_key(url, info)}|anew", name, lambda path: self._download(url, path, info))

    def place(self, source: Path, url: Url, sha256: str) -> None:
        """Upload a finished local file and keep it in the cache; `sha256` is what it must still hash to."""
        etag, size = self.upload(source, url, sha256), source.stat().st_size
        info = Info(size, f"ETag:{etag}", 0.0, is_folder=False) if etag else self.info(url)
        if info is None or info.size != size:
            raise IntegrityError(
                f"`{url}` is not what was uploaded: {info.size if info else 'no'} bytes are there"
            )
        key = str(url) if CONTENT_NAMED.search(str(url)) else _key(url, info)
        self.cache.enter(key, Path(url).name, source)

    def write(self, url: Url, data: bytes) -> None:
        if self._is_s3(url):
            self._ask(url, lambda fs, path, timeout: put(fs, path, data, timeout, if_absent=False))
            return
        self._ask(url, lambda fs, path, timeout: fs.pipe_file(path, data, **timeout))

    def put_if_absent(self, url: Url, data: bytes, *, settled: bool = True) -> bool:
        try:
            self._ask(url, lambda fs, path, timeout: _create(fs, path, data, timeout))
        except FileExistsError:
            return self.read(url) == data  # ours, if an answer was lost on the way
        return True

    def remove(self, url: Url) -> None:
        """Remove an object, and all below it; one that is not there is no error."""
        self.remove_files([str(url), *self.walk(url)])

    def remove_files(self, urls: Sequence[Url]) -> None:
        """Remove objects by name, a thousand with one request where the store takes as many; those that are
        not there are no error."""
        names = [str(url) for url in urls]
        if names and self._is_s3(names[0]):
            for some in in_thousands(names):
                self._ask(some[0], lambda fs, path, timeout, some=some: delete(fs, some, timeout))  # type: ignore[misc]
            return
        for _ in self.side_by_side(self._remove_file, names):
            pass

    def _remove_file(self, url: str) -> None:
        with suppress(FileNotFoundError, IsADirectoryError):
            self._ask(url, lambda fs, path, timeout: fs.rm_file(path, **timeout))

    def _is_s3(self, url: Url) -> bool:
        return is_s3(self._open(url)[0])

    def check_rights(self, folder: Url) -> None:
        """Raise StorageRefused unless objects can be put, read, listed and deleted below a URL: before a run
        works for hours, and leaves what it cannot remove."""
        probe = f"{folder}/.probe-{secrets.token_hex(6)}"
        try:
            self.write(probe, b"")
            self.named(probe)
            self.read(probe)
            self.remove_files([probe])
        except FileNotFoundError as error:
            raise GristmillError(
                "the output storage does not find an object right after it was put",
                where=str(folder),
                hint="a run needs a store whose objects are there once they were put, as S3's are",
            ) from error
        except StorageRefused as error:
            raise StorageRefused(
                error.message,
                where=str(folder),
                hint=error.hint
                if error.hint and "region" in error.hint
                else "a run needs the rights to put, get, list and delete objects below its output",
            ) from error

    def unfinished(self, url: Url) -> list[Leftover]:
        asides = {name: info for name, info in self.walk(url).items() if name.endswith(_ASIDE)}
        found = [
            Leftover(name, info.size, partial(self.remove_files, [name])) for name, info in asides.items()
        ]
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

    def upload(self, source: Path, url: Url, sha256: str | None = None) -> str:
        """Put a local file, whole or not at all; it must hash to `sha256`, if that is given. Returns the
        object's etag, where the store says it."""
        filesystem, path = self._open(url)
        if is_s3(filesystem):
            return upload_to_s3(
                filesystem, path, source, sha256, lambda attempt: self._give(url, attempt, filesystem)
            )
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
        return ""

    def _download(self, url: str, target: Path, info: Info | None = None) -> None:
        """Write an object to a local file, range by range; the ranges are of one and the same object."""
        filesystem, path = self._open(url)
        if not is_s3(filesystem):
            self._copy(url, target, info or self.info(url), filesystem, path)
            return
        if info is not None and info.size == 0:
            target.touch()
            return
        with target.open("wb") as file:
            first = self._range(url, 0, _RANGE_BYTES)
            file.write(first.data)
            while first.is_range and file.tell() < first.total:  # else it sent the whole at once
                start = file.tell()
                more = self._range(url, start, min(start + _RANGE_BYTES, first.total), first.etag)
                file.write(more.data)

    def _range(self, url: Url, start: int, end: int, etag: str = "") -> Got:
        return self._ask(url, lambda fs, path, timeout: get(fs, path, timeout, start, end, etag))

    def _copy(self, url: str, target: Path, info: Info | None, filesystem: Any, path: str) -> None:
        """The same by fsspec's own means."""
        if info is None or info.is_folder:
            raise FileNotFoundError(errno.ENOENT, "no such object", url)
        with target.open("wb") as file:
            for start in range(0, info.size, _RANGE_BYTES):
                end = min(start + _RANGE_BYTES, info.size)

                def attempt(timeout: Mapping[str, float], start: int = start, end: int = end) -> bytes:
                    data: bytes = filesystem.cat_file(path, start=start, end=end, **timeout)
                    if len(data) not in (end - start, info.size):
                        raise OSError(f"{len(data)} bytes came of {end - start}")
                    return data

                file.write(data := self._give(url, attempt, filesystem))
                if len(data) == info.size:  # it ignores ranges, and sent the whole at once
                    return

    def _ask(self, url: Url, request: Callable[[Any, str, Mapping[str, float]], T], seconds: float = 0) -> T:
        filesystem, path = self._open(url)
        return self._give(url, lambda timeout: request(filesystem, path, timeout), filesystem, seconds)

    def _give(
        self, url: Url, attempt: Callable[[Mapping[str, float]], T], filesystem: Any, seconds: float = 0
    ) -> T:
        try:
            return patiently(attempt, str(url), self.settings.access, filesystem, seconds)
        except GaveUp as gave_up:
            kind = StorageRefused if gave_up.final else GristmillError
            raise kind(
                (
                    f"the output storage does not answer after {gave_up.attempts} attempts: {gave_up.reason}"
                    if not gave_up.final
                    else f"the output storage refuses: {gave_up.reason}"
                ),
                where=str(url),
                hint=gave_up.hint
                or "check the URL, the access and `storage_options`, then run the same command: it resumes",
            ) from gave_up


def whole_stretch(path: Path, start: int, stop: int, data: bytes) -> bytes:
    """Return the bytes read of a stretch; raises IntegrityError where they are too few."""
    if len(data) != stop - start:
        raise damaged(path, f"{len(data):,} bytes came of the {stop - start:,} from byte {start:,} on")
    return data


def _create(filesystem: Any, path: str, data: bytes, timeout: Mapping[str, float]) -> None:
    """Put an object that must not be there; raises FileExistsError."""
    try:
        if is_s3(filesystem):
            put(filesystem, path, data, timeout, if_absent=True)
            return
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


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _key(url: Url, info: Info) -> str:
    return f"{url}|{info.size}|{info.version}"
