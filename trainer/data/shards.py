"""Token shards, memory-mapped: one manifest, raw little-endian payloads, and sidecars that say where
documents end.

`gristmill.token_shards` says which files a shard has. Document boundaries come from the index, never from
scanning for EOS. Nothing is read but what a batch asks for.
"""

from __future__ import annotations

import hashlib
import mmap
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from gristmill.errors import InputError, IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.inside import below, parsed
from gristmill.token_shards import (
    BYTES,
    ENDS,
    IDS,
    KINDS,
    MANIFEST,
    SOURCES,
    TOKENS,
    ShardFile,
    mapped,
    told_dtype,
)
from gristmill.tokenizer_files import FILE_NAMES, Reading

Ints = npt.NDArray[np.int64]

TOKENIZER_FILES = tuple(sorted(FILE_NAMES.values()))


@dataclass(frozen=True)
class Source:
    """Where tokens come from; `epochs` is a cap and `weight` a proportion of tokens in `kind: sources`."""

    name: str
    tokens: int
    bytes: int = 0
    docs: int = 0
    epochs: float | None = None
    weight: float | None = None


@dataclass(frozen=True)
class TokenShard:
    """One payload file and its sidecars."""

    name: str
    tokens: int
    docs: int
    bytes: int = 0
    sha256: str = ""
    sidecars: Mapping[str, str] = field(default_factory=dict)  # sha256 by suffix, where the writer says

    def digest(self, file: ShardFile) -> str:
        """The sha256 that the manifest promises of one of the shard's files, or nothing."""
        return self.sha256 if file is TOKENS else str(self.sidecars.get(file.suffix, ""))


@dataclass(frozen=True)
class TokenRange:
    """A stretch of one shard: tokens `start` to `start + length`, on document boundaries."""

    shard: int
    start: int
    length: int


class ShardSet:
    """An opened shard folder: the manifest, checked against the files, and its payloads mapped on first
    use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = _read_manifest(self.local(MANIFEST))
        where = str(folder / MANIFEST)
        try:
            self.kind = str(manifest["kind"])
            self.dtype = told_dtype(manifest["dtype"])
            self.vocab = int(manifest["vocab"])
            self.eos_id = int(manifest["eos_id"])
            self.split = str(manifest.get("split", "train"))
            self.tokenizer_name = str(manifest.get("tokenizer", ""))
            self.tokenizer_sha256 = str(manifest.get("tokenizer_sha256", ""))
            self.reading = Reading.from_json(manifest.get("tokenizer_reading", {}))
            self.sources = [Source(**_known(Source, entry)) for entry in manifest["sources"]]
            self.shards = [TokenShard(**_known(TokenShard, entry)) for entry in manifest["shards"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the shard manifest is not readable: {error!r}", where=where) from error
        for name in (*(shard.name for shard in self.shards), self.tokenizer_name or "none"):
            below(folder, name)
        if self.kind not in KINDS:
            raise InputError(
                f"the shard manifest has kind {self.kind!r}; known are {', '.join(KINDS)}", where=where
            )
        if not 0 <= self.eos_id < self.vocab:
            raise IntegrityError(
                f"eos_id {self.eos_id} lies outside the vocabulary of {self.vocab}", where=where
            )
        self.num_tokens = sum(shard.tokens for shard in self.shards)
        self.num_docs = sum(shard.docs for shard in self.shards)
        self.sha256 = hashlib.sha256(read_file(self.local(MANIFEST))).hexdigest()
        self._maps: dict[tuple[int, str], npt.NDArray[Any]] = {}

    def local(self, name: str) -> Path:
        """Return the path of a file of the set on this machine."""
        return self.folder / name

    def tokenizer(self) -> Path | None:
        """Return the tokenizer file that lies beside the shards, if there is one: the manifest's, or one of
        the usual names."""
        names = [name for name in (self.tokenizer_name, *TOKENIZER_FILES) if name]
        return next((self.local(name) for name in names if self.local(name).is_file()), None)

    def payload(self, shard: int) -> npt.NDArray[Any]:
        """Return a shard's tokens, mapped."""
        return self._map(shard, TOKENS)

    def doc_ends(self, shard: int) -> npt.NDArray[np.uint64]:
        """Return where each document of a shard ends, in tokens."""
        return self._map(shard, ENDS)

    def doc_sources(self, shard: int) -> npt.NDArray[np.uint16]:
        """Return the source of each document of a shard, an index into `sources`."""
        return self._map(shard, SOURCES)

    def doc_bytes(self, shard: int) -> npt.NDArray[np.uint32]:
        """Return each document's size in UTF-8 bytes."""
        return self._map(shard, BYTES)

    def doc_ids(self, shard: int) -> npt.NDArray[Any]:
        """Return each document's id, 16 bytes; not every writer leaves them."""
        return self._map(shard, IDS)

    def check(self) -> None:
        """Compare every file's size with the manifest, and every index with its payload; read no tokens."""
        for index, shard in enumerate(self.shards):
            ends = self.doc_ends(index)
            self.payload(index), self.doc_sources(index), self.doc_bytes(index)
            last = int(ends[-1]) if shard.docs else 0
            if last != shard.tokens:
                raise IntegrityError(
                    f"the index ends at token {last}, the manifest says {shard.tokens}",
                    where=str(ENDS.path(self.folder / shard.name)),
                )

    def _count(self, shard: int, file: ShardFile) -> int:
        return self.shards[shard].tokens if file.per == "token" else self.shards[shard].docs

    def _map(self, shard: int, file: ShardFile) -> npt.NDArray[Any]:
        key = (shard, file.suffix)
        if key not in self._maps:
            dtype, count = file.numbers(self.dtype), self._count(shard, file)
            path = self.local(file.path(Path(self.shards[shard].name)).name)
            if not path.is_file():
                raise IntegrityError(
                    "a shard file is missing", where=str(path), hint="write or copy the shard folder again"
                )
            if path.stat().st_size != count * dtype.itemsize:
                raise IntegrityError(
                    f"a shard file has {path.stat().st_size:,} bytes, the manifest promises"
                    f" {count * dtype.itemsize:,}",
                    where=str(path),
                    hint="the file is truncated or of another set; write or copy the shard folder again",
                )
            self._maps[key] = mapped(path, dtype)
        return self._maps[key]


@dataclass(frozen=True)
class Documents:
    """Where each document of a stream starts and stops, its source, and its bytes."""

    starts: Ints
    stops: Ints
    sources: Ints
    bytes: Ints


@dataclass(frozen=True)
class Pieces:
    """Parts of ranges that lie in one shard each, ordered by shard: tokens `starts` to `stops` of `shards`;
    `ranges` is the range each is of, `at` its first token's position in the stream."""

    shards: Ints
    starts: Ints
    stops: Ints
    ranges: Ints
    at: Ints

    def by_shard(self, ends: Ints) -> Iterator[tuple[int, int, int]]:
        """Yield each shard with the slice that its pieces have of a column in which piece i ends at
        `ends[i]`."""
        borders = np.flatnonzero(np.diff(self.shards, append=-1))
        last = 0
        for piece in borders.tolist():
            yield int(self.shards[piece]), last, int(ends[piece])
            last = int(ends[piece])


class Stream:
    """A sequence of tokens made of runs of shards, read by position; documents never span two runs."""

    def __init__(self, shards: ShardSet, runs: list[TokenRange]) -> None:
        self.shards, self.runs = shards, runs
        self._run_ends: Ints = np.cumsum([run.length for run in runs], dtype=np.int64)
        self._run_shards = np.array([run.shard for run in runs], np.int64)
        # added to a position in the stream, the shift of its run gives the one in the run's shard
        lengths = np.array([run.length for run in runs], np.int64)
        self._run_begins = self._run_ends - lengths
        self._shifts = np.array([run.start for run in runs], np.int64) - self._run_begins
        self.ends: list[int] = self._run_ends.tolist()
        self.num_tokens: int = self.ends[-1] if runs else 0

    @classmethod
    def whole(cls, shards: ShardSet) -> Stream:
        """All shards in the manifest's order."""
        return cls(
            shards,
            [TokenRange(index, 0, shard.tokens) for index, shard in enumerate(shards.shards) if shard.tokens],
        )

    @classmethod
    def of_source(cls, shards: ShardSet, source: int) -> Stream:
        """The documents of one source, in the manifest's order; neighbours in a shard become one run."""
        runs = []
        for index in range(len(shards.shards)):
            ends = shards.doc_ends(index).astype(np.int64)
            mine = np.concatenate(([False], shards.doc_sources(index) == source, [False]))
            edges = np.flatnonzero(mine[1:] != mine[:-1])
            starts = np.concatenate(([0], ends))
            runs += [
                TokenRange(index, int(starts[a]), int(starts[b] - starts[a])) for a, b in edges.reshape(-1, 2)
            ]
        return cls(shards, runs)

    def read(self, start: int, stop: int) -> Ints:
        """Return the tokens of a stretch as int64; a token outside the vocabulary is an error that names its
        shard."""
        parts = [
            self._checked(shard, self.shards.payload(shard)[a:b], a)
            for shard, a, b in self.pieces(start, stop)
        ]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def split(self, starts: Ints, stops: Ints) -> Pieces:
        """Cut ranges of the stream, none of them empty, where they pass from one shard's run to another."""
        first = np.searchsorted(self._run_ends, starts, side="right")
        counts = np.searchsorted(self._run_ends, stops - 1, side="right") - first + 1
        ranges = np.repeat(np.arange(len(starts)), counts)
        run = first[ranges] + np.arange(len(ranges)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = np.argsort(self._run_shards[run], kind="stable")
        ranges, run = ranges[order], run[order]
        at = np.maximum(starts[ranges], self._run_begins[run])
        ends = np.minimum(stops[ranges], self._run_ends[run])
        shift = self._shifts[run]
        return Pieces(self._run_shards[run], at + shift, ends + shift, ranges, at)

    def expect(self, pieces: Pieces) -> None:
        """Ask the system for tokens that are about to be read: all that a batch needs comes from the disk at
        once, and whoever copies it then waits for none of it."""
        columns = (pieces.shards.tolist(), pieces.starts.tolist(), pieces.stops.tolist())
        for shard, start, stop in zip(*columns, strict=True):
            will_need(self.shards.payload(shard), start, stop)

    def tokens_at(self, shard: int, places: Ints) -> tuple[Ints, Ints, Ints]:
        """Return, of places of a shard, the token, where its document starts there, and its source."""
        tokens = np.take(self.shards.payload(shard), places)
        if tokens.size and int(tokens.max()) >= self.shards.vocab:
            self._refuse(shard, int(tokens.max()), int(places[tokens.argmax()]))
        ends = self.shards.doc_ends(shard)
        docs = np.searchsorted(ends, places.astype(ends.dtype), side="right")
        starts = np.where(docs > 0, np.take(ends, docs - 1, mode="wrap").astype(np.int64), 0)
        sources = np.take(self.shards.doc_sources(shard), docs).astype(np.int64)
        return tokens.astype(np.int64), starts, sources

    def documents_table(self) -> Documents:
        """Return every document of the stream: memory in proportion to their number."""
        columns: list[tuple[npt.NDArray[Any], ...]] = []
        offset = 0
        for run in self.runs:
            ends = self.shards.doc_ends(run.shard)
            first, last = np.searchsorted(ends, [run.start, run.start + run.length - 1], side="right")
            part = slice(first, last + 1)
            stops = ends[part].astype(np.int64) - run.start + offset
            starts = np.concatenate(([offset], stops[:-1]))
            columns.append(
                (
                    starts,
                    stops,
                    self.shards.doc_sources(run.shard)[part],
                    self.shards.doc_bytes(run.shard)[part],
                )
            )
            offset += run.length
        if not columns:  # shards of no document, as of a mixture that holds nothing out
            return Documents(*(np.zeros(0, np.int64) for _ in range(4)))
        return Documents(*(np.concatenate(column).astype(np.int64) for column in zip(*columns, strict=True)))

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the parts of a stretch that lie in one shard each: (shard, start, stop) in its tokens."""
        index = bisect_right(self.ends, start)
        while start < stop:
            run = self.runs[index]
            offset = start - (self.ends[index] - run.length)
            length = min(stop - start, run.length - offset)
            yield run.shard, run.start + offset, run.start + offset + length
            start, index = start + length, index + 1

    def _checked(self, shard: int, tokens: npt.NDArray[Any], at: int) -> npt.NDArray[Any]:
        if tokens.size and int(tokens.max()) >= self.shards.vocab:
            self._refuse(shard, int(tokens.max()), at + int(tokens.argmax()))
        return tokens

    def _refuse(self, shard: int, token: int, place: int) -> NoReturn:
        raise IntegrityError(
            f"token {token} at position {place:,} is beyond the vocabulary of {self.shards.vocab}",
            where=str(TOKENS.path(self.shards.folder / self.shards.shards[shard].name)),
            hint="the shards were written with another tokenizer, or the payload is damaged",
        )


def will_need(numbers: npt.NDArray[Any], start: int, stop: int) -> None:
    """Tell the system that these numbers of a mapped file will be read; elsewhere nothing is done."""
    file = getattr(numbers, "_mmap", None)
    if file is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    first = start * numbers.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
    file.madvise(mmap.MADV_WILLNEED, first, stop * numbers.itemsize - first)


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            "there is no shard manifest", where=str(path), hint="name a folder that `gristmill mix` wrote"
        )
    try:
        manifest = parsed(read_file(path).decode())
    except ValueError as error:
        raise InputError(f"the shard manifest is not JSON: {error}", where=str(path)) from error
    if not isinstance(manifest, dict):
        raise InputError("the shard manifest is not an object", where=str(path))
    return manifest


def _known(kind: type, entry: dict[str, Any]) -> dict[str, Any]:
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {key: value for key, value in entry.items() if key in fields}
