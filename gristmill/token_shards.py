"""The format of token shards, said once: a shard's files, the numbers they hold, and how they are read.

Needs numpy and the standard library only, so that a trainer reads shards on a machine that has nothing else.
A folder holds `manifest.json` (written last), the tokenizer, and for each shard the files of `FILES`. One EOS
ends each document and counts no byte; boundaries come from the index, never from scanning for EOS.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gristmill.errors import InputError, IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.inside import below, parsed

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
KINDS = ("mixed", "sources")
TOKEN_TYPES = ("uint16", "uint32")


@dataclass(frozen=True, slots=True)
class ShardRows:
    """What a shard's files are made of: its tokens, and of the rest a number per document, in order."""

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[Any]  # in tokens, the closing EOS included
    num_bytes: npt.NDArray[Any]  # of the text, in UTF-8
    sources: npt.NDArray[Any]
    ids: npt.NDArray[Any]  # of type V16

    @property
    def ends(self) -> npt.NDArray[np.uint64]:
        return np.cumsum(self.lengths, dtype="<u8")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file of a shard: its suffix, its numbers (per token or document), whether training reads it, and
    what it is made of.

    Without a `dtype` the numbers are tokens, as wide as the manifest says; `per` "other" is no flat array.
    """

    suffix: str
    dtype: str | None
    per: Literal["token", "document", "other"]
    training: bool
    made_of: Callable[[ShardRows], npt.NDArray[Any]]

    def numbers(self, tokens: Any) -> np.dtype[Any]:
        """The type of the file's numbers, given the manifest's `dtype` of tokens."""
        return np.dtype(self.dtype) if self.dtype else np.dtype(tokens).newbyteorder("<")

    def path(self, stem: Path) -> Path:
        """The file of the shard whose files share this stem."""
        return stem.parent / (stem.name + self.suffix)

    def make(self, rows: ShardRows) -> npt.NDArray[Any]:
        """The file's numbers for a shard of these rows."""
        return self.made_of(rows).astype(self.numbers(rows.tokens.dtype), copy=False)

    def read(self, stem: Path, tokens: Any = "<u2") -> npt.NDArray[Any]:
        """Map the file's numbers."""
        return mapped(self.path(stem), self.numbers(tokens))


def _megatron(rows: ShardRows) -> npt.NDArray[np.uint8]:
    """Megatron-LM's index: a header, lengths in tokens, starts in bytes, and documents of one sequence."""
    width, num_docs = rows.tokens.dtype.itemsize, len(rows.lengths)
    header = _MEGATRON_HEADER.pack(b"MMIDIDX\x00\x00", 1, _MEGATRON_CODES[width], num_docs, num_docs + 1)
    starts = (rows.ends - rows.lengths.astype("<u8")) * np.uint64(width)
    parts = rows.lengths.astype("<i4"), starts.astype("<i8"), np.arange(num_docs + 1, dtype="<i8")
    return np.concatenate([np.frombuffer(header, "u1"), *(part.view("u1") for part in parts)])


_MEGATRON_HEADER = struct.Struct("<9sQBQQ")
_MEGATRON_CODES = {2: 8, 4: 4}  # it has no uint32: int32 reads the same bytes for ids below 2^31

TOKENS = ShardFile(".bin", None, "token", True, lambda rows: rows.tokens)
MEGATRON = ShardFile(".idx", "u1", "other", False, _megatron)
ENDS = ShardFile(".bin.index", "<u8", "document", True, lambda rows: rows.ends)  # in tokens
BYTES = ShardFile(".bytes", "<u4", "document", True, lambda rows: rows.num_bytes)
# A number in the manifest's sources:
SOURCES = ShardFile(".source", "<u2", "document", True, lambda rows: rows.sources)
IDS = ShardFile(".ids", "V16", "document", False, lambda rows: rows.ids)
FILES = (TOKENS, MEGATRON, ENDS, BYTES, SOURCES, IDS)
SUFFIXES = tuple(file.suffix for file in FILES)
TRAINING_FILES = tuple(file for file in FILES if file.training)


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """uint16 iff every id fits."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def told_dtype(said: Any) -> np.dtype[Any]:
    """Return the type of tokens that a manifest names; raises ValueError for any but these two: a file of
    objects, mapped, would be followed as pointers."""
    if said not in TOKEN_TYPES:
        raise ValueError(f"its dtype must be {' or '.join(TOKEN_TYPES)}, it says {ascii(said)[:40]}")
    kind: np.dtype[Any] = np.dtype(said)
    return kind.newbyteorder("<")


def mapped(path: Path, dtype: Any) -> npt.NDArray[Any]:
    """Map a file of numbers; an empty one cannot be mapped."""
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def read_manifest(folder: Path, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Read a shard set's manifest; raises InputError when there is none, IntegrityError if damaged or without
    a key that the caller needs."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = parsed(read_file(path))
        names = [shard["name"] for shard in manifest["shards"]]
        manifest["sources"], told_dtype(manifest["dtype"])
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "there is no shard manifest", where=str(path), hint="name a folder that `gristmill mix` wrote"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the shard manifest is not readable: {error!r}", where=str(path)) from error
    for name in (*names, manifest.get("tokenizer", "tokenizer")):
        below(folder, name)
    if lacking := [key for key in needs if key not in manifest]:
        raise IntegrityError(f"the shard manifest lacks `{'`, `'.join(lacking)}`", where=str(path))
    return manifest


@dataclass(frozen=True, slots=True)
class ShardDocument:
    """One document of a shard: its tokens with the closing EOS, and what is known of it."""

    id: bytes
    source: str
    bytes: int
    tokens: npt.NDArray[Any]


def read_documents(folder: Path) -> Iterator[ShardDocument]:
    """Yield every document of a shard set, in order, by its index."""
    manifest = read_manifest(folder)
    names = [source["name"] for source in manifest["sources"]]
    for shard in manifest["shards"]:
        yield from shard_documents(folder / shard["name"], manifest["dtype"], names)


def shard_documents(stem: Path, dtype: str, sources: list[str]) -> Iterator[ShardDocument]:
    """Yield the documents of one shard, in order."""
    tokens, ends = TOKENS.read(stem, dtype), ENDS.read(stem)
    sizes, numbers, ids = BYTES.read(stem), SOURCES.read(stem), read_file(IDS.path(stem))
    start = 0
    for row, end in enumerate(ends.tolist()):
        id_ = ids[16 * row : 16 * row + 16]
        yield ShardDocument(id_, sources[numbers[row]], int(sizes[row]), tokens[start:end])
        start = end


def inconsistencies(folder: Path, manifest: Mapping[str, Any], shard: Mapping[str, Any]) -> Iterator[str]:
    """Hold a shard's index, payload and manifest entry against each other; name what is off."""
    stem = folder / shard["name"]
    tokens, ends = TOKENS.read(stem, manifest["dtype"]), ENDS.read(stem)
    if len(tokens) != shard["tokens"] or len(ends) != shard["docs"]:
        yield (
            f"{shard['name']} holds {len(ends)} documents and {len(tokens)} tokens, the manifest says"
            " otherwise"
        )
    elif len(ends) and (
        int(ends[-1]) != len(tokens) or not (tokens[ends.astype(np.int64) - 1] == manifest["eos_id"]).all()
    ):
        yield f"{shard['name']}: a document does not end with EOS"
    elif tokens.size and int(tokens.max()) >= manifest["vocab"]:
        yield f"{shard['name']}: a token is beyond the vocabulary"
    elif (np.diff(ends.astype(np.int64), prepend=0) < 1).any():
        yield f"{shard['name']}: a document ends before it begins"
    else:
        sizes, numbers = BYTES.read(stem), SOURCES.read(stem)
        if not len(sizes) == len(numbers) == len(ends) or int(sizes.sum(dtype=np.int64)) != shard["bytes"]:
            yield f"{shard['name']}: its documents have not the bytes that the manifest says"
        elif len(numbers) and int(numbers.max()) >= len(manifest["sources"]):
            yield f"{shard['name']}: a document is of a source beyond the manifest's"


def sums_by_source(folder: Path, manifest: Mapping[str, Any]) -> list[dict[str, int]]:
    """Tokens, bytes and documents that the shards of a set hold of each of the manifest's sources."""
    count = len(manifest["sources"])
    sums = {name: np.zeros(count, np.int64) for name in ("tokens", "bytes", "docs")}
    for shard in manifest["shards"]:
        stem = folder / shard["name"]
        numbers = SOURCES.read(stem)
        lengths = np.diff(ENDS.read(stem).astype(np.int64), prepend=0)
        for name, values in (("tokens", lengths), ("bytes", BYTES.read(stem))):
            np.add.at(sums[name], numbers, values.astype(np.int64))
        sums["docs"] += np.bincount(numbers, minlength=count)
    return [{name: int(column[number]) for name, column in sums.items()} for number in range(count)]
