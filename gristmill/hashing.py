"""Hashes with one meaning everywhere: identities, content digests, and order-independent randomness."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.files.disk import must_be_file, named
from gristmill.splitmix import GOLDEN, finalise

_CHUNK_BYTES = 1 << 20


def digest16(*parts: bytes | str) -> bytes:
    """Hash parts to 16 bytes (BLAKE2b); each part is length-prefixed, so that ("ab", "c") and ("a", "bc")
    differ."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.digest()


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a local file, read in constant memory; raises IntegrityError for what is no
    file."""
    must_be_file(path)
    state = hashlib.sha256()
    with named(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Serialise to the one byte form that digests are taken of: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_json(value: Any) -> str:
    """Return the hex sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def uniform(seed: int, purpose: str, ids: pa.Array) -> npt.NDArray[np.float64]:
    """Draw one number in [0, 1) per 16-byte id: a pure function of (seed, purpose, id), so order and workers
    do not matter.

    `ids` is a fixed_size_binary(16) array without nulls. Two rounds of the splitmix64 finaliser (Steele, Lea
    and Flood 2014) over both halves of the id under a key taken from (seed, purpose); 53 bits of result.
    """
    return (keyed_hash(seed, purpose, ids) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def keyed_hash(seed: int, purpose: str, ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Hash 16-byte ids to u64 under a key taken from (seed, purpose); the order shuffles and samples sort
    by."""
    halves = id_halves(ids)
    key = np.frombuffer(digest16(str(seed), purpose), dtype="<u8")
    with np.errstate(over="ignore"):
        return _mixed(_mixed(halves[:, 0] ^ key[0]) ^ halves[:, 1] ^ key[1])


def id_halves(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """View a fixed_size_binary(16) array as (n, 2) little-endian u64, without a copy."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if len(ids) == 0:
        return np.empty((0, 2), dtype="<u8")
    buffer = ids.buffers()[1]
    return np.frombuffer(buffer, dtype="<u8")[2 * ids.offset : 2 * (ids.offset + len(ids))].reshape(-1, 2)


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return finalise(x + GOLDEN)
