"""From a token back to its record: the shard's index names the document, sidecars find its row in every step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from gristmill.errors import UsageError
from gristmill.index import find_rows
from gristmill.manifest import Manifest
from gristmill.pipeline.run_folder import finished_steps
from gristmill.tokenize.shards import mapped, read_documents, read_manifest
from gristmill.tokenize.tokenizers import open_tokenizer

_EXCERPT_CHARACTERS = 300


def trace_token(out: Path, split: str, token: str) -> dict[str, Any]:
    """Trace `SHARD:TOKEN`, such as 00000:1234."""
    folder = shard_folder(out, split)
    name, _, number = token.partition(":")
    manifest = read_manifest(folder)
    shard = next((shard for shard in manifest["shards"] if shard["name"] == name), None)
    if shard is None or not number.isdecimal() or int(number) >= shard["tokens"]:
        first = manifest["shards"][0]
        raise UsageError(
            f"there is no token `{token}` in `{folder}`",
            hint=f"shard {first['name']} has the tokens {first['name']}:0 to {first['tokens'] - 1}",
        )
    ends = mapped(folder / f"{name}.bin.index", "<u8")
    row = int(np.searchsorted(ends, int(number), side="right"))
    start, stop = int(ends[row - 1]) if row else 0, int(ends[row])
    id_ = (folder / f"{name}.ids").read_bytes()[16 * row : 16 * row + 16]
    tokens = mapped(folder / f"{name}.bin", np.dtype(manifest["dtype"]).newbyteorder("<"))[start:stop]
    text = open_tokenizer(folder / manifest["tokenizer"]).decode(tokens[: len(tokens) - 1].tolist())
    place = {
        "token": f"{name}:{number}",
        "document": f"tokens {start:,} to {stop:,} of the shard",
        "text": text[:_EXCERPT_CHARACTERS],
    }
    return {**place, **trace_id(finished_steps(out), id_)}


def trace_text(out: Path, split: str, text: str, limit: int) -> list[dict[str, Any]]:
    """Trace every document of the shards whose text holds `text`; all shards are decoded, one document at a time."""
    folder = shard_folder(out, split)
    tokenizer = open_tokenizer(folder / read_manifest(folder)["tokenizer"])
    steps, seen, found = finished_steps(out), set(), []
    for document in read_documents(folder):
        if document.id in seen:
            continue
        seen.add(document.id)
        decoded = tokenizer.decode(document.tokens[:-1].tolist())
        at = decoded.find(text)
        if at >= 0:
            found.append({"text": decoded[max(0, at - 100) : at + 200], **trace_id(steps, document.id)})
            if len(found) == limit:
                break
    if not found:
        raise UsageError(f"no document in `{folder}` holds {text!r}")
    return found


def trace_id(steps: dict[str, Manifest], id_: bytes) -> dict[str, Any]:
    """Where a document came from and which steps kept it, newest last."""
    places = list(_places(steps, id_))
    facts: dict[str, Any] = {"id": id_.hex()}
    for _, path, row in places[:1]:
        document = _row(path, row, ["url", "source", "origin", "date"])
        origin = document["origin"]
        facts |= {
            "url": document["url"],
            "source": document["source"],
            "date": str(document["date"] or ""),
            "file": origin["file"],
            "offset": origin["offset"],
        }
    return {**facts, "steps": [f"{step}: kept, row {row} of {path.name}" for step, path, row in places]}


def shard_folder(out: Path, split: str) -> Path:
    """The shards of a run, or the folder itself when it is one."""
    steps = finished_steps(out)
    if "mix" not in steps:
        raise UsageError(f"`{out}` holds no shards", hint="run its recipe up to `mix`")
    return steps["mix"].folder / "shards" / split


def _places(steps: dict[str, Manifest], id_: bytes) -> Iterator[tuple[str, Path, int]]:
    for name, manifest in steps.items():
        for data, index in zip(manifest.named("documents"), manifest.named("documents-index"), strict=True):
            for row in find_rows(manifest.folder / index.path, id_):
                yield name, manifest.folder / data.path, row


def _row(path: Path, row: int, columns: list[str]) -> dict[str, Any]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if row < size:
                return dict(file.read_row_group(group, columns=columns).slice(row, 1).to_pylist()[0])
            row -= size
    raise IndexError(row)
