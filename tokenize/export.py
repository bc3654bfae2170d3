"""Write shards in other trainers' forms: llm.c's header, MosaicML's MDS, OLMo's .npy, or as text."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import InputError
from gristmill.files.disk import read_file
from gristmill.token_shards import (
    ENDS,
    IDS,
    TOKENS,
    ShardDocument,
    read_documents,
    read_manifest,
    token_dtype,
)
from gristmill.tokenize import export_text

FORMATS = ("llmc", "modded-nanogpt", "mds", "npy", "nanochat", "datasets", "webdataset")
# llm.c, dev/data/data_common.py: magic and version of GPT-2's uint16 and Llama 3's uint32 files.
_LLMC = {"uint16": (20240520, 1), "uint32": (20240801, 7)}
_MDS_SHARD_BYTES = 1 << 26  # MosaicML's own default


def export(folder: Path, out: Path, format: str) -> list[Path]:
    """Write a shard set in one of `FORMATS`, with the tokenizer beside it; return the files written.

    llmc: 256 int32 of header, then the shard's tokens, EOS last; modded-nanogpt: the same, EOS first.
    mds: one sample per document, columns tokens (ndarray), id and source. npy: raw tokens, boundaries in
    .csv.gz. nanochat, datasets and webdataset: gristmill.tokenize.export_text.

    Raises InputError where `out` holds such files already: trainers read all that have the name, so fewer
    new ones would be read with the rest of the old.
    """
    manifest = read_manifest(folder, ("tokenizer", "vocab", "eos_id"))
    _check_target(out, format, manifest["split"])
    out.mkdir(parents=True, exist_ok=True)
    writers: dict[str, Callable[[Path, Path, dict[str, Any]], Iterator[Path]]] = {
        "llmc": _llmc,
        "modded-nanogpt": partial(_llmc, end_first=True),
        "mds": _mds,
        "npy": _npy,
        "nanochat": export_text.nanochat,
        "datasets": export_text.datasets,
        "webdataset": export_text.webdataset,
    }
    written = list(writers[format](folder, out, manifest))
    shutil.copyfile(folder / manifest["tokenizer"], out / manifest["tokenizer"])
    return written


def _llmc_name(split: str) -> str:
    return "train" if split == "train" else "val"


# The files of an export; those with the split in their names may lie beside the other split's.
_NAMES: dict[str, Callable[[str], str]] = {
    "llmc": lambda split: f"{_llmc_name(split)}_*.bin",
    "modded-nanogpt": lambda split: f"{_llmc_name(split)}_*.bin",
    "mds": lambda split: "shard.*.mds",
    "npy": lambda split: "*.npy",
    "nanochat": lambda split: "shard_*.parquet",
    "datasets": lambda split: f"{split}-*.parquet",
    "webdataset": lambda split: f"{split}-*.tar",
}


def _check_target(out: Path, format: str, split: str) -> None:
    if there := sorted(out.glob(_NAMES[format](split))):
        raise InputError(
            f"the folder holds `{there[0].name}` of an earlier export ({len(there):,} such files)",
            where=str(out),
            hint="name a new folder, or remove these: a trainer would read them with the new ones",
        )


def _llmc(folder: Path, out: Path, manifest: dict[str, Any], *, end_first: bool = False) -> Iterator[Path]:
    """llm.c's files; with `end_first` the end token stands before each document, as its scripts have it."""
    if end_first and manifest["dtype"] != "uint16":
        raise InputError(
            f"modded-nanogpt reads tokens of two bytes, the vocabulary has {manifest['vocab']:,}",
            where=str(folder),
            hint="encode with a vocabulary of at most 65,536, or export `--format llmc`",
        )
    magic, version = _LLMC[manifest["dtype"]]
    name = _llmc_name(manifest["split"])
    for number, shard in enumerate(manifest["shards"]):
        if shard["tokens"] >= 1 << 31:
            raise InputError(
                f"shard {shard['name']} has {shard['tokens']:,} tokens, llm.c counts to 2^31",
                hint="mix smaller shards",
            )
        path = out / f"{name}_{number:06d}.bin"
        with path.open("wb") as file:
            header = np.zeros(256, "<i4")
            header[:3] = magic, version, shard["tokens"]
            file.write(header.tobytes())
            with TOKENS.path(folder / shard["name"]).open("rb") as tokens:
                if end_first and shard["tokens"]:
                    width = token_dtype(manifest["vocab"]).itemsize
                    file.write(int(manifest["eos_id"]).to_bytes(width, "little"))
                shutil.copyfileobj(tokens, file)
                if end_first and shard["tokens"]:
                    file.truncate(1024 + width * shard["tokens"])  # the last end token went to the front
        yield path


def _npy(folder: Path, out: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """OLMo maps `.npy` as raw numbers, without numpy's own header."""
    for shard in manifest["shards"]:
        path = out / f"{shard['name']}.npy"
        shutil.copyfile(TOKENS.path(folder / shard["name"]), path)
        ends = ENDS.read(folder / shard["name"]).tolist()
        ids = read_file(IDS.path(folder / shard["name"]))
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        for row, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            writer.writerow([start, end, ids[16 * row : 16 * row + 16].hex()])
        (out / f"{shard['name']}.csv.gz").write_bytes(gzip.compress(rows.getvalue().encode(), mtime=0))
        yield path


def _mds(folder: Path, out: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    columns = {"id": "str", "source": "str", "tokens": f"ndarray:{manifest['dtype']}"}
    config = {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": _MDS_SHARD_BYTES,
        "column_names": list(columns),
        "column_encodings": list(columns.values()),
        "column_sizes": [None] * len(columns),
    }
    index = []
    for number, samples in enumerate(_groups(read_documents(folder))):
        path = out / f"shard.{number:05d}.mds"
        raw = _mds_shard(samples, config)
        path.write_bytes(raw)
        facts = {
            "raw_data": {"basename": path.name, "bytes": len(raw), "hashes": {}},
            "zip_data": None,
            "samples": len(samples),
        }
        index.append({**config, **facts})
        yield path
    (out / "index.json").write_text(json.dumps({"version": 2, "shards": index}, sort_keys=True))


def _mds_shard(samples: list[bytes], config: dict[str, Any]) -> bytes:
    """`u32 n; u32 offset[n + 1]; JSON; samples`, offsets from the start of the file."""
    head = json.dumps(config, sort_keys=True).encode()
    begin = 4 + 4 * (len(samples) + 1) + len(head)
    offsets = begin + np.concatenate(([0], np.cumsum([len(sample) for sample in samples])))
    return struct.pack("<I", len(samples)) + offsets.astype("<u4").tobytes() + head + b"".join(samples)


def _groups(documents: Iterator[ShardDocument]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for document in documents:
        sample = _mds_sample(document)
        if group and size + len(sample) > _MDS_SHARD_BYTES:
            yield group
            group, size = [], 0
        group.append(sample)
        size += len(sample) + 4
    if group:
        yield group


def _mds_sample(document: ShardDocument) -> bytes:
    """Sizes of the columns as u32, then the columns; an ndarray of known type carries its number of axes and
    its shape."""
    tokens = document.tokens
    code = 0 if len(tokens) < 1 << 8 else 1 if len(tokens) < 1 << 16 else 2  # of the width of the shape
    array = bytes([1 << 2 | code]) + len(tokens).to_bytes(1 << code, "little") + tokens.tobytes()
    values = [document.id.hex().encode(), document.source.encode(), array]
    return np.array([len(value) for value in values], "<u4").tobytes() + b"".join(values)
