"""Write small shard folders straight from the format's byte table, independent of the shard writer."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

Document = tuple[list[int], int]  # tokens without EOS, source index


def write_shards(
    folder: Path,
    shards: list[list[Document]],
    *,
    vocab: int = 300,
    eos_id: int = 0,
    sources: tuple[str, ...] = ("web", "code"),
    split: str = "train",
    kind: str = "mixed",
    weights: dict[str, float] | None = None,
    epochs: dict[str, float] | None = None,
) -> Path:
    """Write one `.bin` with sidecars per list of documents, and the manifest; a token counts as one byte, EOS
    as none."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.dtype("<u2" if vocab <= 65536 else "<u4")
    totals = [
        dict(
            name=name,
            tokens=0,
            bytes=0,
            docs=0,
            epochs=(epochs or {}).get(name),
            weight=(weights or {}).get(name),
        )
        for name in sources
    ]
    entries: list[dict[str, Any]] = []
    for number, documents in enumerate(shards):
        name = f"{number:05d}"
        payload = np.array([t for tokens, _ in documents for t in [*tokens, eos_id]], dtype)
        lengths = np.array([len(tokens) + 1 for tokens, _ in documents], "<i4")
        ends = np.cumsum(lengths).astype("<u8")
        (folder / f"{name}.bin").write_bytes(payload.tobytes())
        (folder / f"{name}.bin.index").write_bytes(ends.tobytes())
        (folder / f"{name}.bytes").write_bytes(
            np.array([len(tokens) for tokens, _ in documents], "<u4").tobytes()
        )
        (folder / f"{name}.source").write_bytes(
            np.array([source for _, source in documents], "<u2").tobytes()
        )
        (folder / f"{name}.ids").write_bytes(
            b"".join(hashlib.md5(bytes([i % 256])).digest() for i in range(len(documents)))
        )
        header = b"MMIDIDX\x00\x00" + struct.pack(
            "<QBQQ", 1, 8 if dtype.itemsize == 2 else 4, len(documents), len(documents) + 1
        )
        pointers = (np.concatenate(([0], ends[:-1])) * dtype.itemsize).astype("<i8")
        (folder / f"{name}.idx").write_bytes(
            header
            + lengths.tobytes()
            + pointers.tobytes()
            + np.arange(len(documents) + 1, dtype="<i8").tobytes()
        )
        entries.append(
            dict(name=name, tokens=len(payload), docs=len(documents),
                bytes=int(lengths.sum()) - len(documents),
                 sha256=hashlib.sha256(payload.tobytes()).hexdigest())
        )  # fmt: skip
        for tokens, source in documents:
            totals[source]["tokens"] += len(tokens) + 1
            totals[source]["bytes"] += len(tokens)
            totals[source]["docs"] += 1
    manifest = dict(
        kind=kind,
        dtype=dtype.name,
        vocab=vocab,
        tokenizer_sha256="0" * 64,
        eos_id=eos_id,
        split=split,
        sources=totals,
        shards=entries,
    )
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def random_documents(
    count: int, seed: int, vocab: int = 300, longest: int = 60, num_sources: int = 2
) -> list[Document]:
    """Draw documents of uneven length from a skewed distribution over tokens 1..vocab-1."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, vocab)
    weights /= weights.sum()
    lengths = rng.integers(1, longest, count)
    return [
        (rng.choice(np.arange(1, vocab), size, p=weights).tolist(), int(rng.integers(num_sources)))
        for size in lengths
    ]
