"""The texts that models are judged on: sets by path, and documents that variants hold out.

A text is known by a digest of its bytes, so that what one variant trains on, or holds out in another form, is
found by comparing digests. A long document is cut at a number of bytes; which documents of a large set are
taken is decided by hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.errors import InputError
from gristmill.files.storage import read_tables
from gristmill.hashing import digest16, keyed_hash
from gristmill.manifest import Manifest
from gristmill.pipeline.proof.comparing import Floats
from gristmill.trainer.data.shards import ShardSet, Stream
from gristmill.trainer.evaluation.tokenizer import ShardTokenizer

PREFIX = "target-"  # of the sources that targets by path are, in the merged plan
HELDOUT = "held-out "  # before a source's name


class Text(NamedTuple):
    key: str  # hex digest of the text
    text: str


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of a target is scored: documents at most, and bytes of each."""

    documents: int = 400
    bytes: int = 4000

    def as_arguments(self) -> dict[str, int]:
        """As the tasks that read targets take it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets by path, as the merged plan has read them: documents and their digest by the target's name,
    and how much of each is scored."""

    paths: Mapping[str, Sequence[str]]
    digests: Mapping[str, str]
    amount: Amount

    @classmethod
    def of(cls, manifests: Mapping[str, Manifest], names: Iterable[str], amount: Amount) -> Targets:
        read = {name: manifests[f"extract/{PREFIX}{name}"] for name in names}
        written = {name: [one.folder / entry.path for entry in one.written()] for name, one in read.items()}
        paths = {name: [str(path) for path in own] for name, own in written.items()}
        return cls(paths, {name: one.content_digest for name, one in read.items()}, amount)


def target_texts(paths: Sequence[str], amount: Amount, seed: int) -> list[Text]:
    """Take a target's documents, the first by hash of their ids; raises InputError where there are none."""
    found: list[tuple[int, str]] = []
    for path in paths:
        for table in read_tables(Path(path), ["id", "text"]):
            ids = table["id"].combine_chunks()
            order = keyed_hash(seed, "target", ids).tolist()
            found += zip(order, table["text"].to_pylist(), strict=True)
        found = sorted(found, key=lambda pair: pair[0])[: amount.documents]
    texts = [cut(text, amount.bytes) for _, text in found]
    made = {_key(text): text for text in texts if text.strip()}
    if not made:
        raise InputError("a target holds no text", where=", ".join(paths[:1]))
    return [Text(key, text) for key, text in made.items()]


def cut(text: str, num_bytes: int) -> str:
    """The beginning of a text of at most so many bytes, cut between characters."""
    raw = text.encode("utf-8", "surrogatepass")
    return text if len(raw) <= num_bytes else raw[:num_bytes].decode("utf-8", "ignore")


def shard_texts(
    folder: Path, tokenizer: ShardTokenizer, order: int | None = None
) -> Iterator[tuple[str, str, int]]:
    """Yield (source, text, tokens) of a folder's documents, in order or, with a number, one it draws."""
    shards = ShardSet(folder)
    stream = Stream.whole(shards)
    table = stream.documents_table()
    rows = np.arange(len(table.starts))
    if order is not None:
        rows = np.argsort(_drawn_keys(shards, order), kind="stable")
    for row in rows.tolist():
        start, stop = int(table.starts[row]), int(table.stops[row])
        ids = [token for token in stream.read(start, stop).tolist() if token != shards.eos_id]
        yield shards.sources[int(table.sources[row])].name, tokenizer.decode(ids), stop - start


def _drawn_keys(shards: ShardSet, draw: int) -> npt.NDArray[np.uint64]:
    """A number for each document, by its id: variants draw the same documents, as far as they have them."""
    ids = b"".join(shards.doc_ids(number).tobytes() for number in range(len(shards.shards)))
    return keyed_hash(
        draw, "draw", pa.Array.from_buffers(pa.binary(16), len(ids) // 16, [None, pa.py_buffer(ids)])
    )


def heldout_texts(folder: Path, tokenizer: ShardTokenizer, amount: Amount) -> dict[str, list[Text]]:
    """The documents that a variant holds out, by target; of a source the first by their digests."""
    by_source: dict[str, dict[str, str]] = {}
    for source, text, _ in shard_texts(folder, tokenizer):
        text = cut(text, amount.bytes)
        if text.strip():
            by_source.setdefault(source, {})[_key(text)] = text
    return {
        f"{HELDOUT}{source}": [Text(key, texts[key]) for key in sorted(texts)[: amount.documents]]
        for source, texts in sorted(by_source.items())
    }


def sizes(texts: Sequence[Text]) -> Floats:
    return np.array([len(text.encode("utf-8", "surrogatepass")) for _, text in texts], np.float64)


def _key(text: str) -> str:
    return digest16(text).hex()
