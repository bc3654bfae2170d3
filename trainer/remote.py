"""Shards at a URL, read through a bounded local cache: whole shards are fetched, checked and dropped least
recently used."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gristmill.errors import InputError, IntegrityError, UsageError
from gristmill.token_shards import MANIFEST, TOKENS, TRAINING_FILES, ShardFile
from gristmill.trainer.config import DataSettings
from gristmill.trainer.shards import TOKENIZER_FILES, ShardSet


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
        folder = cache / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._renew(folder)
        super().__init__(folder)
        self._held: OrderedDict[int, int] = OrderedDict()
        largest = max(self._size(index) for index in range(len(self.shards)))
        if largest > cache_bytes:
            raise UsageError(
                f"`data.cache_bytes` is {cache_bytes:,}, one shard takes {largest:,}",
                hint=f"set it to at least {2 * largest:,}",
            )

    def tokenizer(self) -> Path | None:
        for name in filter(None, (self.tokenizer_name, *TOKENIZER_FILES)):
            if not (self.folder / name).is_file() and self.files.exists(f"{self.root}/{name}"):
                self._fetch(name)
        return super().tokenizer()

    def _map(self, shard: int, file: ShardFile) -> npt.NDArray[Any]:
        if shard not in self._held:
            entry = self.shards[shard]
            for needed in TRAINING_FILES:
                path = needed.path(self.folder / entry.name)
                if not path.is_file():
                    self._fetch(path.name, entry.sha256 if needed is TOKENS else "")
            self._held[shard] = self._size(shard)
            while sum(self._held.values()) > self.cache_bytes:
                self._drop(next(iter(self._held)))
        self._held.move_to_end(shard)
        return super()._map(shard, file)

    def _size(self, shard: int) -> int:
        return sum(self._count(shard, file) * file.numbers(self.dtype).itemsize for file in TRAINING_FILES)

    def _drop(self, shard: int) -> None:
        del self._held[shard]
        for file in TRAINING_FILES:  # an array still in use keeps its mapping until it is let go
            self._maps.pop((shard, file.suffix), None)
            file.path(self.folder / self.shards[shard].name).unlink(missing_ok=True)

    def _renew(self, folder: Path) -> None:
        """Fetch the manifest; what was cached of another one is worthless."""
        before = (folder / MANIFEST).read_bytes() if (folder / MANIFEST).is_file() else None
        try:
            now = self.files.cat_file(f"{self.root}/{MANIFEST}")
        except FileNotFoundError as error:
            raise InputError("there is no shard manifest", where=f"{self.url}/{MANIFEST}") from error
        if now != before:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._put(folder / MANIFEST, now)

    def _fetch(self, name: str, sha256: str = "") -> None:
        try:
            data = self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError as error:
            raise IntegrityError("a shard file is missing", where=f"{self.url}/{name}") from error
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise IntegrityError(
                "a fetched shard does not have the digest the manifest promises",
                where=f"{self.url}/{name}",
                hint="fetch it again; if it stays so, write the shards again",
            )
        self._put(self.folder / name, data)

    def _put(self, path: Path, data: bytes) -> None:
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(data)
        aside.replace(path)
