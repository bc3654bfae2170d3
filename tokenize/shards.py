"""Token shards on disk: what `mix` writes and any trainer reads.

Per shard `00000.bin` raw little-endian tokens, `.idx` (Megatron's index), `.bin.index` (u64 document ends in
tokens), `.bytes` (u32 UTF-8 bytes per document), `.source` (u16, an index into the manifest's sources),
`.ids` (16 bytes per document). One EOS ends each document and counts no byte. `manifest.json` is written
last.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.errors import InputError, IntegrityError
from gristmill.hashing import sha256_file

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SUFFIXES = (".bin", ".idx", ".bin.index", ".bytes", ".source", ".ids")
_MAGIC = b"MMIDIDX\x00\x00"
_CODES = {2: 8, 4: 4}  # Megatron has no uint32: int32 reads the same bytes for ids below 2^31
_HEADER = struct.Struct("<9sQBQQ")


def write_files(
    out: Path,
    tokens: npt.NDArray[Any],
    lengths: npt.NDArray[Any],
    num_bytes: npt.NDArray[Any],
    sources: npt.NDArray[Any],
    ids: bytes,
) -> None:
    """Write the six files of one shard; `out` is their common stem."""
    width = tokens.dtype.itemsize
    ends = np.cumsum(lengths, dtype="<u8")
    tokens.tofile(_file(out, ".bin"))
    ends.tofile(_file(out, ".bin.index"))
    num_bytes.astype("<u4").tofile(_file(out, ".bytes"))
    sources.astype("<u2").tofile(_file(out, ".source"))
    _file(out, ".ids").write_bytes(ids)
    with _file(out, ".idx").open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, 1, _CODES[width], len(lengths), len(lengths) + 1))
        lengths.astype("<i4").tofile(file)
        ((ends - lengths) * np.uint64(width)).astype("<i8").tofile(file)
        np.arange(len(lengths) + 1, dtype="<i8").tofile(file)


def shard_entry(out: Path, tokens: int, docs: int, num_bytes: int) -> dict[str, Any]:
    """A shard's line in the manifest, with the digest of each of its files."""
    digests = {suffix: sha256_file(_file(out, suffix)) for suffix in SUFFIXES}
    return {
        "name": out.name,
        "tokens": tokens,
        "docs": docs,
        "bytes": num_bytes,
        "sha256": digests.pop(".bin"),
        "sidecars": digests,
    }


def manifest_body(
    *,
    kind: str,
    vocab: int,
    dtype: str,
    eos_id: int,
    split: str,
    tokenizer_file: str,
    tokenizer_sha256: str,
    sources: Sequence[dict[str, Any]],
    shards: Sequence[dict[str, Any]],
) -> bytes:
    """The bytes of `manifest.json`."""
    body = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "dtype": np.dtype(dtype).name,
        "vocab": vocab,
        "tokenizer": tokenizer_file,
        "tokenizer_sha256": tokenizer_sha256,
        "eos_id": eos_id,
        "split": split,
        "sources": list(sources),
        "shards": list(shards),
    }
    return json.dumps(body, indent=1).encode() + b"\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a shard set's manifest; raises InputError when there is none."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        manifest["shards"], manifest["sources"], manifest["dtype"]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "there is no shard manifest", where=str(path), hint="name a folder that `gristmill mix` wrote"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the shard manifest is not readable: {error!r}", where=str(path)) from error
    return manifest


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a shard: its tokens with the closing EOS, and what is known of it."""

    id: bytes
    source: str
    bytes: int
    tokens: npt.NDArray[Any]


def read_documents(folder: Path) -> Iterator[Document]:
    """Yield every document of a shard set, in order, by its index."""
    manifest = read_manifest(folder)
    names = [source["name"] for source in manifest["sources"]]
    dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
    for shard in manifest["shards"]:
        stem = folder / shard["name"]
        tokens, ends = mapped(_file(stem, ".bin"), dtype), mapped(_file(stem, ".bin.index"), "<u8")
        sizes, sources = mapped(_file(stem, ".bytes"), "<u4"), mapped(_file(stem, ".source"), "<u2")
        ids = _file(stem, ".ids").read_bytes()
        start = 0
        for row, end in enumerate(ends.tolist()):
            yield Document(
                ids[16 * row : 16 * row + 16], names[sources[row]], int(sizes[row]), tokens[start:end]
            )
            start = end


def verify(folder: Path) -> list[str]:
    """Re-check every file of a shard set against its manifest, and the indexes against each other; name what
    is off."""
    manifest = read_manifest(folder)
    problems = []
    expected = {manifest["tokenizer"]: manifest["tokenizer_sha256"]}
    for shard in manifest["shards"]:
        digests = {".bin": shard["sha256"], **shard["sidecars"]}
        expected |= {shard["name"] + suffix: digest for suffix, digest in digests.items()}
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif sha256_file(path) != digest:
            problems.append(f"{name} is not what the manifest says: its bytes have changed")
    return problems or [
        problem for shard in manifest["shards"] for problem in _inconsistencies(folder, manifest, shard)
    ]


def _inconsistencies(folder: Path, manifest: dict[str, Any], shard: dict[str, Any]) -> Iterator[str]:
    stem = folder / shard["name"]
    tokens = mapped(_file(stem, ".bin"), np.dtype(manifest["dtype"]).newbyteorder("<"))
    ends = mapped(_file(stem, ".bin.index"), "<u8")
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


def mapped(path: Path, dtype: Any) -> npt.NDArray[Any]:
    """Map a file of numbers; an empty one cannot be mapped."""
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def _file(stem: Path, suffix: str) -> Path:
    return stem.parent / (stem.name + suffix)
