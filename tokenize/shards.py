"""Write token shards, and check them; `gristmill.token_shards` says what their files hold."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.arrays import put_array, write_array
from gristmill.files.disk import named
from gristmill.hashing import sha256_file
from gristmill.token_shards import (
    BYTES,
    ENDS,
    FILES,
    FORMAT_VERSION,
    IDS,
    MEGATRON,
    SOURCES,
    TOKENS,
    inconsistencies,
    read_manifest,
)

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
    ends = np.cumsum(lengths, dtype=ENDS.dtype)
    write_array(TOKENS.path(out), tokens)
    write_array(ENDS.path(out), ends)
    write_array(BYTES.path(out), num_bytes.astype(BYTES.dtype))
    write_array(SOURCES.path(out), sources.astype(SOURCES.dtype))
    IDS.path(out).write_bytes(ids)
    with named(MEGATRON.path(out)), MEGATRON.path(out).open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, 1, _CODES[width], len(lengths), len(lengths) + 1))
        put_array(file, lengths.astype("<i4"))
        put_array(file, ((ends - lengths) * np.uint64(width)).astype("<i8"))
        put_array(file, np.arange(len(lengths) + 1, dtype="<i8"))


def shard_entry(out: Path, tokens: int, docs: int, num_bytes: int) -> dict[str, Any]:
    """A shard's line in the manifest, with the digest of each of its files."""
    digests = {file.suffix: sha256_file(file.path(out)) for file in FILES}
    return {
        "name": out.name,
        "tokens": tokens,
        "docs": docs,
        "bytes": num_bytes,
        "sha256": digests.pop(TOKENS.suffix),
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
    reading: Mapping[str, Any],
    sources: Sequence[dict[str, Any]],
    shards: Sequence[dict[str, Any]],
) -> bytes:
    """The bytes of `manifest.json`; `reading` is a `Reading` as JSON, left out where it says nothing."""
    body = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "dtype": np.dtype(dtype).name,
        "vocab": vocab,
        "tokenizer": tokenizer_file,
        "tokenizer_sha256": tokenizer_sha256,
        **({"tokenizer_reading": dict(reading)} if reading else {}),
        "eos_id": eos_id,
        "split": split,
        "sources": list(sources),
        "shards": list(shards),
    }
    return json.dumps(body, indent=1).encode() + b"\n"


def verify(folder: Path) -> list[str]:
    """Re-check every file of a shard set against its manifest, and the indexes against each other; name what
    is off."""
    manifest = read_manifest(folder, ("tokenizer", "tokenizer_sha256"))
    problems = []
    expected = {manifest["tokenizer"]: manifest["tokenizer_sha256"]}
    for shard in manifest["shards"]:
        digests = {TOKENS.suffix: shard["sha256"], **shard["sidecars"]}
        expected |= {shard["name"] + suffix: digest for suffix, digest in digests.items()}
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif sha256_file(path) != digest:
            problems.append(f"{name} is not what the manifest says: its bytes have changed")
    return problems or [
        problem for shard in manifest["shards"] for problem in inconsistencies(folder, manifest, shard)
    ]
