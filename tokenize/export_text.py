"""Write shards for trainers that tokenize themselves or read tables: nanochat, Hugging Face datasets, tar."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.errors import InputError
from gristmill.files.parquet import Writer
from gristmill.token_shards import MANIFEST, ShardDocument, read_documents, read_manifest
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings

# nanochat (nanochat/dataset.py at 92d63d4) reads shards of row groups of 1,024 documents, each rank every
# n-th group, and validates on the last shard: a rank that finds no group there waits for ever.
_GROUP_ROWS, _SHARD_GROUPS, _LEAST_GROUPS = 1024, 50, 48
_TEXT = pa.schema([pa.field("text", pa.large_string())])
_TAR_DOCUMENTS = 10_000
_TABLE = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("input_ids", pa.list_(pa.int32())),
    ]
)


def nanochat(folder: Path, out: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Parquet shards `shard_00000.parquet` with one column `text`; the held-out split is the last of them.

    Raises InputError where nothing is held out: nanochat would take the last training shard out of training.
    """
    heldout = folder.parent / "heldout"
    if manifest["split"] != "train" or not (heldout / MANIFEST).is_file() or not _documents(heldout):
        raise InputError(
            "nanochat validates on the last file, and no document is held out beside these",
            where=str(heldout),
            hint="mix with a `mix.heldout_fraction` above 0, and export the run's shards/train",
        )
    number = 0
    for split, most in ((folder, _GROUP_ROWS * _SHARD_GROUPS), (heldout, _documents(heldout))):
        texts, left = _texts(split, manifest), _documents(split)
        while left:
            count = min(left, most)
            rows = max(1, min(_GROUP_ROWS, count // _LEAST_GROUPS))
            path = out / f"shard_{number:05d}.parquet"
            with Writer(path, _TEXT, compression="zstd", write_statistics=False) as writer:
                for _ in range(0, count, rows):
                    some = pa.array(islice(texts, min(rows, count)), pa.large_string())
                    writer.write_table(pa.table([some], schema=_TEXT), row_group_size=rows)
                    count -= len(some)
                    left -= len(some)
            number += 1
            yield path


def datasets(folder: Path, out: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Parquet for `datasets.load_dataset("parquet", ...)`: id, source, text and input_ids, a file a shard."""
    tokenizer = _tokenizer(folder, manifest)
    documents = read_documents(folder)
    for number, shard in enumerate(manifest["shards"]):
        rows = [
            {
                "id": document.id.hex(),
                "source": document.source,
                "text": _text(tokenizer, document),
                "input_ids": document.tokens.astype(np.int32),
            }
            for document in islice(documents, shard["docs"])
        ]
        count = len(manifest["shards"])
        path = out / f"{manifest['split']}-{number:05d}-of-{count:05d}.parquet"
        pq.write_table(
            pa.Table.from_pylist(rows, _TABLE), path, row_group_size=_GROUP_ROWS, compression="zstd"
        )
        yield path


def webdataset(folder: Path, out: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Tar files of samples: `KEY.txt`, `KEY.npy` (tokens) and `KEY.json` (id, source) under one key each."""
    tokenizer = _tokenizer(folder, manifest)
    documents = enumerate(read_documents(folder))
    number = 0
    while some := list(islice(documents, _TAR_DOCUMENTS)):
        path = out / f"{manifest['split']}-{number:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row, document in some:
                array = io.BytesIO()
                np.save(array, np.asarray(document.tokens))
                facts = {"id": document.id.hex(), "source": document.source, "bytes": document.bytes}
                for suffix, content in (
                    ("txt", _text(tokenizer, document).encode()),
                    ("npy", array.getvalue()),
                    ("json", json.dumps(facts, sort_keys=True).encode()),
                ):
                    member = tarfile.TarInfo(f"{row:09d}.{suffix}")  # no time, no owner: the same bytes again
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        number += 1
        yield path


def _documents(folder: Path) -> int:
    return sum(shard["docs"] for shard in read_manifest(folder)["shards"])


def _texts(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    tokenizer = _tokenizer(folder, manifest)
    return (_text(tokenizer, document) for document in read_documents(folder))


def _tokenizer(folder: Path, manifest: dict[str, Any]) -> Tokenizer:
    return open_tokenizer(folder / manifest["tokenizer"], TokenizerSettings(eos=manifest["eos_id"]))


def _text(tokenizer: Tokenizer, document: ShardDocument) -> str:
    return tokenizer.decode(document.tokens[:-1].tolist())
