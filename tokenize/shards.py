"""Write token shards, and check them; `gristmill.token_shards` says what their files hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.arrays import write_array
from gristmill.hashing import sha256_file
from gristmill.token_shards import (
    FILES,
    FORMAT_VERSION,
    TOKENS,
    ShardRows,
    inconsistencies,
    read_manifest,
    sums_by_source,
)


def write_files(out: Path, rows: ShardRows) -> None:
    """Write each file that a shard has; `out` is their common stem."""
    for file in FILES:
        write_array(file.path(out), file.make(rows))


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
    problems = problems or [
        problem for shard in manifest["shards"] for problem in inconsistencies(folder, manifest, shard)
    ]
    return problems or [
        f"the shards hold {found[name]:,} {name} of `{source['name']}`, the manifest says {source[name]:,}"
        for source, found in zip(manifest["sources"], sums_by_source(folder, manifest), strict=True)
        for name in found
        if found[name] != source.get(name, found[name])
    ]
