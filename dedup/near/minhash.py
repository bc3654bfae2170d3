"""MinHash signatures and band keys of shingle sets, in compiled code.

affine32 is datasketch 2's default scheme bit for bit: a 32-bit hash is mixed once by MurmurHash3's finaliser,
then permuted by a * h + b mod 2^32 with odd a. A 64-bit shingle enters it folded: its upper half xor its
lower half. fineweb is datatrove's: a * h + b wraps mod 2^64 first and is then taken mod 2^61 - 1, on the
64-bit shingle itself.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit, types

import gristmill.text.kernel  # noqa: F401  sets the cache folder before any njit
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import U64, Numbers

Bounds = npt.NDArray[np.int64]
I64 = types.Array(types.int64, 1, "C")
U32 = types.Array(types.uint32, 1, "C")
_MERSENNE = (1 << 61) - 1
_LANES = 16  # 32-bit numbers in the widest vector
_BLOCK = 8  # shingles permuted together: more do not stay in registers


@lru_cache(maxsize=8)
def permutations(scheme: str, num_hashes: int, seed: int) -> tuple[npt.NDArray, npt.NDArray]:
    """Draw (a, b) exactly as datasketch 2 (affine32) or datatrove (fineweb) does."""
    generator = np.random.RandomState(seed)
    if scheme == "affine32":
        odd = generator.randint(0, 1 << 31, num_hashes, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        return odd, generator.randint(0, 1 << 32, num_hashes, dtype=np.uint32)
    first = generator.randint(1, _MERSENNE, dtype=np.uint64, size=num_hashes)
    return first, generator.randint(0, _MERSENNE, dtype=np.uint64, size=num_hashes)


@njit([types.uint32(types.uint64)], cache=True, nogil=True, inline="always")
def fold32(shingle):  # type: ignore[no-untyped-def]
    """Fold 64 bits to 32 and mix them by MurmurHash3's finaliser."""
    h = np.uint32(shingle ^ (shingle >> np.uint64(32)))
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit([types.void(U64, I64, U32, U32, types.Array(types.uint32, 2, "C"))], cache=True, nogil=True)
def _signatures32(shingles, bounds, a, b, out):  # type: ignore[no-untyped-def]
    """Take minima of eight shingles at a time: one load and store of them, and of a and b, for eight
    multiplications.

    `a` and `b` are padded to whole vectors, which spares a scalar remainder; the last shingle fills up the
    last eight.
    """
    minima = np.empty(len(a), np.uint32)
    h = np.empty(_BLOCK, np.uint32)
    for doc in range(len(bounds) - 1):
        minima[:] = np.uint32(0xFFFFFFFF)
        start, stop = np.uint64(bounds[doc]), np.uint64(bounds[doc + 1])
        for block in range(start, stop, _BLOCK):
            for i in range(_BLOCK):
                h[i] = fold32(shingles[min(block + np.uint64(i), stop - np.uint64(1))])
            h0, h1, h2, h3, h4, h5, h6, h7 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
            for k in range(len(a)):
                factor, offset = a[k], b[k]
                x0, x1 = np.uint32(factor * h0 + offset), np.uint32(factor * h1 + offset)
                x2, x3 = np.uint32(factor * h2 + offset), np.uint32(factor * h3 + offset)
                x4, x5 = np.uint32(factor * h4 + offset), np.uint32(factor * h5 + offset)
                x6, x7 = np.uint32(factor * h6 + offset), np.uint32(factor * h7 + offset)
                least = min(min(min(x0, x1), min(x2, x3)), min(min(x4, x5), min(x6, x7)))
                minima[k] = min(minima[k], least)
        out[doc] = minima[: out.shape[1]]


@njit([types.void(U64, I64, U64, U64, types.Array(types.uint64, 2, "C"))], cache=True, nogil=True)
def _signatures61(shingles, bounds, a, b, out):  # type: ignore[no-untyped-def]
    prime = np.uint64(0x1FFFFFFFFFFFFFFF)
    for doc in range(len(bounds) - 1):
        signature = out[doc]
        signature[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for i in range(bounds[doc], bounds[doc + 1]):
            shingle = shingles[i]
            for k in range(len(a)):
                x = shingle * a[k] + b[k]
                x = (x & prime) + (x >> np.uint64(61))
                if x >= prime:
                    x -= prime
                signature[k] = min(signature[k], x)


def signatures(settings: FuzzySettings, shingles: Numbers, bounds: Bounds) -> npt.NDArray:
    """Return one row of `num_hashes` minima per document (u32, or u64 for fineweb); no shingles give the
    largest value."""
    a, b = permutations(settings.scheme, settings.num_hashes, settings.seed)
    out = np.empty((len(bounds) - 1, settings.num_hashes), a.dtype)
    if settings.scheme == "affine32":
        _signatures32(
            shingles, bounds, *(np.pad(values, (0, -len(values) % _LANES)) for values in (a, b)), out
        )
    else:
        _signatures61(shingles, bounds, a, b, out)
    return out


_SIGNATURES = [types.Array(kind, 2, "C") for kind in (types.uint32, types.uint64)]


@njit(
    [types.void(matrix, U64, types.int64, types.Array(types.uint64, 2, "C")) for matrix in _SIGNATURES],
    cache=True,
    nogil=True,
)
def _band_keys(matrix, scopes, rows, out):  # type: ignore[no-untyped-def]
    for doc in range(len(matrix)):
        for band in range(out.shape[1]):
            h = scopes[doc] ^ np.uint64((band + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
            for k in range(band * rows, (band + 1) * rows):
                h = (h ^ np.uint64(matrix[doc, k])) * np.uint64(0xFF51AFD7ED558CCD)
                h ^= h >> np.uint64(33)
            h *= np.uint64(0xC4CEB9FE1A85EC53)
            out[doc, band] = h ^ (h >> np.uint64(33))


def band_keys(settings: FuzzySettings, matrix: npt.NDArray, scopes: Numbers) -> Numbers:
    """Hash each band of each signature, with the band's number and the document's scope, to one 64-bit
    key."""
    out = np.empty((len(matrix), settings.bands), np.uint64)
    _band_keys(matrix, scopes, settings.rows, out)
    return out
