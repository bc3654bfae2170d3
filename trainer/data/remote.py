"""Shards at a URL, read through a bounded local cache that the ranks of a machine share.

Whole shards are fetched, checked and dropped least recently used. Two locks a shard keep ranks out of each
other's way: who fetches it holds one, so the others wait and find it there; who reads it shares the other,
so nobody drops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gristmill.errors import InputError, IntegrityError, UsageError
from gristmill.token_shards import FILES, MANIFEST, TOKENS, TRAINING_FILES, ShardFile
from gristmill.trainer.config import DataSettings
from gristmill.trainer.data.shards import TOKENIZER_FILES, ShardSet


def open_shards(place: str, settings: DataSettings, run: Path) -> ShardSet:
    """Open a local shard folder, or a remote one (any fsspec URL) through a bounded cache; sizes are
    checked."""
    if "://" in place:
        return RemoteShardSet(place, Path(settings.cache_dir or run / "cache"), settings.cache_bytes)
    shards = ShardSet(Path(place))
    shards.check()
    return shards


class RemoteShardSet(ShardSet):
    """A shard set at any fsspec URL. Windows shuffled over all shards would fetch shards over and over when
    the cache is smaller than the set: then set `data.shuffle_shards`."""

    def __init__(self, url: str, cache: Path, cache_bytes: int) -> None:
        import fsspec

        self.url, self.cache_bytes = url.rstrip("/"), cache_bytes
        self.files, self.root = fsspec.core.url_to_fs(self.url)
        cache.mkdir(parents=True, exist_ok=True)
        super().__init__(self._open_cache(cache))
        self._held: OrderedDict[int, FileLock] = OrderedDict()
        largest = max(self._size(index) for index in range(len(self.shards)))
        if largest > cache_bytes:
            raise UsageError(
                f"`data.cache_bytes` is {cache_bytes:,}, one shard takes {largest:,}",
                hint=f"set it to at least {2 * largest:,}",
            )

    def tokenizer(self) -> Path | None:
        for name in filter(None, (self.tokenizer_name, *TOKENIZER_FILES)):
            if not (self.folder / name).is_file() and self.files.exists(f"{self.root}/{name}"):
                self._fetch(name, self.tokenizer_sha256 if name == self.tokenizer_name else "")
        return super().tokenizer()

    def _map(self, shard: int, file: ShardFile) -> npt.NDArray[Any]:
        if shard not in self._held:
            self._hold(shard)
        self._held.move_to_end(shard)
        if file not in TRAINING_FILES and not self._path(shard, file).is_file():
            self._fetch(self._path(shard, file).name, self.shards[shard].digest(file))
        return super()._map(shard, file)

    def _hold(self, shard: int) -> None:
        """Share the shard with whoever reads it, and fetch it unless it lies there."""
        self._held[shard] = self._lock(f"{self.shards[shard].name}.use", fcntl.LOCK_SH)
        if self._is_there(shard):
            os.utime(self._path(shard, TOKENS))
        else:
            with contextlib.closing(self._lock(f"{self.shards[shard].name}.fetch", fcntl.LOCK_EX)):
                if not self._is_there(shard):  # else another rank has fetched it meanwhile
                    self._make_room(shard)
                    for file in TRAINING_FILES:
                        self._fetch(self._path(shard, file).name, self.shards[shard].digest(file))
        while sum(map(self._size, self._held)) > self.cache_bytes:
            self._drop(next(iter(self._held)))

    def _make_room(self, shard: int) -> None:
        """Drop shards, least recently used first and this rank's own last, until another one fits."""
        there = [index for index in range(len(self.shards)) if index != shard and self._is_there(index)]
        total = self._size(shard) + sum(map(self._size, there))
        others = sorted((index for index in there if index not in self._held), key=self._last_use)
        for index in [*others, *(held for held in self._held if held != shard)]:
            if total <= self.cache_bytes:
                return
            total -= self._size(index) if self._drop(index) else 0

    def _drop(self, shard: int) -> bool:
        """Let go of a shard, and remove its files unless another rank reads them; say whether they went."""
        if (handle := self._held.pop(shard, None)) is not None:
            handle.close()
        for file in FILES:  # an array still in use keeps its mapping until it is let go
            self._maps.pop((shard, file.suffix), None)
        try:
            lock = self._lock(f"{self.shards[shard].name}.use", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with contextlib.closing(lock):
            for file in FILES:
                self._path(shard, file).unlink(missing_ok=True)
        return True

    def _last_use(self, shard: int) -> float:
        """When somebody last began to read the shard; another rank may have dropped it meanwhile."""
        try:
            return self._path(shard, TOKENS).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _is_there(self, shard: int) -> bool:
        return all(self._path(shard, file).is_file() for file in TRAINING_FILES)

    def _path(self, shard: int, file: ShardFile) -> Path:
        return file.path(self.folder / self.shards[shard].name)

    def _size(self, shard: int) -> int:
        return sum(self._count(shard, file) * file.numbers(self.dtype).itemsize for file in TRAINING_FILES)

    def _lock(self, name: str, how: int) -> FileLock:
        return FileLock(self.folder / f".{name}.lock", how)

    def _open_cache(self, cache: Path) -> Path:
        """Return the folder of this set as it is now; those of earlier states of it go, unless in use."""
        try:
            manifest = self.files.cat_file(f"{self.root}/{MANIFEST}")
        except FileNotFoundError as error:
            raise InputError("there is no shard manifest", where=f"{self.url}/{MANIFEST}") from error
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        folder = cache / f"{name}-{hashlib.sha256(manifest).hexdigest()[:16]}"
        with contextlib.closing(FileLock(cache / f".{name}.lock", fcntl.LOCK_EX)):
            for other in cache.glob(f"{name}-*"):
                if other != folder and not _is_read(other):
                    shutil.rmtree(other, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            if not (folder / MANIFEST).is_file():
                _put(folder / MANIFEST, manifest)
            self._open = FileLock(folder / ".set.use.lock", fcntl.LOCK_SH)  # before a shard is held, too
        return folder

    def _fetch(self, name: str, sha256: str = "") -> None:
        try:
            data = self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError as error:
            raise IntegrityError("a shard file is missing", where=f"{self.url}/{name}") from error
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise IntegrityError(
                "a fetched file does not have the digest the manifest promises",
                where=f"{self.url}/{name}",
                hint="fetch it again; if it stays so, write the shards again",
            )
        _put(self.folder / name, data)


def _put(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(data)
    aside.replace(path)


class FileLock:
    """A lock on a file, held until it is closed or nobody knows it any more.

    Raises BlockingIOError where it is taken and `how` does not wait.
    """

    def __init__(self, path: Path, how: int) -> None:
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, how)
        except BlockingIOError:
            raise
        except OSError as error:
            raise InputError(
                f"the cache of remote shards cannot be locked: {error}",
                where=str(path),
                hint="name a folder on a local disk: data.cache_dir",
            ) from error

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    __del__ = close


def _is_read(folder: Path) -> bool:
    return any(_is_locked(path) for path in folder.glob(".*.use.lock"))


def _is_locked(path: Path) -> bool:
    try:
        FileLock(path, fcntl.LOCK_EX | fcntl.LOCK_NB).close()
        return False
    except BlockingIOError:
        return True
