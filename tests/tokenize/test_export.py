"""Exports, read back by their byte tables alone."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gristmill.errors import InputError
from gristmill.token_shards import read_documents, read_manifest
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.export import FORMATS, export
from gristmill.tokenize.settings import MixSettings
from tests.support.mixing_run import run_mix
from tests.support.write_token_shards import write_shards


@pytest.fixture(scope="module")
def folder(encoded: Any, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    run_mix(
        encoded,
        MixSettings(proportions={"web": 0.5, "books": 0.5}, tokens=30_000, shard_tokens=16_000),
        tokenizer,
        out,
    )
    return Path(out / "train")


def test_llmc_files_have_its_header_and_exactly_its_size(folder: Path, tmp_path: Path) -> None:
    tokens = []
    for path in export(folder, tmp_path, "llmc"):
        magic, version, count = struct.unpack_from("<3i", path.read_bytes())
        assert (magic, version) == (20240520, 1) and path.stat().st_size == 1024 + 2 * count
        tokens += np.fromfile(path, "<u2", offset=1024).tolist()
    assert tokens == [token for document in read_documents(folder) for token in document.tokens.tolist()]


def test_npy_files_are_raw_and_their_boundaries_lie_beside_them(folder: Path, tmp_path: Path) -> None:
    documents = []
    for path in export(folder, tmp_path, "npy"):
        tokens = np.memmap(path, "<u2", "r")
        with gzip.open(path.with_suffix(".csv.gz"), "rt") as file:
            documents += [(id, tokens[int(start) : int(end)].tolist()) for start, end, id in csv.reader(file)]
    assert documents == [(document.id.hex(), document.tokens.tolist()) for document in read_documents(folder)]


def test_mds_samples_are_found_by_offset_and_decode_to_their_columns(folder: Path, tmp_path: Path) -> None:
    (path,) = export(folder, tmp_path, "mds")
    raw = path.read_bytes()
    (count,) = struct.unpack_from("<I", raw)
    offsets = struct.unpack_from(f"<{count + 1}I", raw, 4)
    (entry,) = json.loads((tmp_path / "index.json").read_bytes())["shards"]
    assert entry["samples"] == count and offsets[-1] == len(raw) == entry["raw_data"]["bytes"]
    assert json.loads(raw[4 + 4 * (count + 1) : offsets[0]])["column_names"] == ["id", "source", "tokens"]
    for number, document in enumerate(read_documents(folder)):
        sample = raw[offsets[number] : offsets[number + 1]]
        sizes = struct.unpack_from("<3I", sample)
        id_, source, array = (sample[12 + sum(sizes[:n]) : 12 + sum(sizes[: n + 1])] for n in range(3))
        assert (id_.decode(), source.decode()) == (document.id.hex(), document.source)
        assert array[0] >> 2 == 1  # one axis; its length is in 1 << (array[0] & 3) bytes
        width = 1 << (array[0] & 3)
        assert int.from_bytes(array[1 : 1 + width], "little") == len(document.tokens)
        assert np.frombuffer(array[1 + width :], "<u2").tolist() == document.tokens.tolist()


def test_modded_nanogpt_finds_an_end_token_before_each_document(folder: Path, tmp_path: Path) -> None:
    """Its loader: 256 int32 of header, magic 20240520, version 1, then the tokens as uint16."""
    eos = read_manifest(folder)["eos_id"]
    documents = [document.tokens.tolist() for document in read_documents(folder)]
    found: list[list[int]] = []
    for path in export(folder, tmp_path, "modded-nanogpt"):
        header = np.fromfile(path, "<i4", 256)
        tokens = np.fromfile(path, "<u2", offset=1024)
        assert header[:3].tolist() == [20240520, 1, len(tokens)] and tokens[0] == eos
        starts = np.flatnonzero(tokens == eos)
        found += [part.tolist() for part in np.split(tokens, starts[1:])]
    assert [[*own[1:], eos] for own in found] == documents


def test_nanochat_reads_texts_by_row_group(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = []
    paths = export(folder, tmp_path, "nanochat")
    for path in paths[:-1]:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            texts += file.read_row_group(group).column("text").to_pylist()
    assert texts == [tokenizer.decode(d.tokens[:-1].tolist()) for d in read_documents(folder)]
    held = [tokenizer.decode(d.tokens[:-1].tolist()) for d in read_documents(folder.parent / "heldout")]
    assert pq.read_table(paths[-1])["text"].to_pylist() == held != []


def test_every_rank_of_nanochat_finds_texts_to_validate_on(folder: Path, tmp_path: Path) -> None:
    """Rank r of n reads the row groups r, r + n, ...; without one it would wait for ever."""
    *train, last = (pq.ParquetFile(path).metadata for path in export(folder, tmp_path, "nanochat"))
    assert last.num_row_groups >= min(last.num_rows, 48) and all(m.num_row_groups >= 48 for m in train)


def test_nanochat_without_held_out_documents_is_refused(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    run_mix(encoded, MixSettings(method="natural", heldout_fraction=0.0), tokenizer, tmp_path / "all")
    with pytest.raises(InputError, match="no document is held out"):
        export(tmp_path / "all" / "train", tmp_path / "out", "nanochat")


def test_modded_nanogpt_has_no_wide_tokens(tmp_path: Path) -> None:
    wide = write_shards(tmp_path / "wide", [[([70_000], 0)]], vocab=80_000)
    manifest = json.loads((wide / "manifest.json").read_text())
    (wide / "manifest.json").write_text(json.dumps({**manifest, "tokenizer": "tokenizer.json"}))
    with pytest.raises(InputError, match="two bytes, the vocabulary has 80,000"):
        export(wide, tmp_path / "out", "modded-nanogpt")


def test_tables_for_datasets_hold_text_and_tokens(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [row for path in export(folder, tmp_path, "datasets") for row in pq.read_table(path).to_pylist()]
    documents = list(read_documents(folder))
    assert [row["input_ids"] for row in rows] == [document.tokens.tolist() for document in documents]
    assert [row["id"] for row in rows] == [document.id.hex() for document in documents]
    assert all(tokenizer.decode(row["input_ids"][:-1]) == row["text"] for row in rows)


def test_tar_files_hold_samples_under_one_key_and_repeat(folder: Path, tmp_path: Path) -> None:
    (first,) = export(folder, tmp_path / "a", "webdataset")
    (again,) = export(folder, tmp_path / "b", "webdataset")
    assert first.read_bytes() == again.read_bytes()
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(first) as tar:
        for member in tar:
            key, suffix = member.name.split(".")
            samples.setdefault(key, {})[suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]
    for sample, document in zip(samples.values(), read_documents(folder), strict=True):
        assert np.load(io.BytesIO(sample["npy"])).tolist() == document.tokens.tolist()
        assert json.loads(sample["json"])["id"] == document.id.hex() and sample["txt"]


@pytest.mark.parametrize("format", FORMATS)
def test_files_of_an_earlier_export_are_not_mixed_with_new_ones(
    folder: Path, tmp_path: Path, format: str
) -> None:
    written = export(folder, tmp_path, format)
    assert len(list(tmp_path.glob(f"*{written[0].suffix}"))) >= len(written)
    before = [path.read_bytes() for path in written]
    with pytest.raises(InputError, match="of an earlier export"):
        export(folder, tmp_path, format)
    assert [path.read_bytes() for path in written] == before


def test_held_out_shards_do_not_take_the_place_of_training_shards(folder: Path, tmp_path: Path) -> None:
    export(folder, tmp_path / "npy", "npy")
    with pytest.raises(InputError, match=r"00000\.npy"):
        export(folder.parent / "heldout", tmp_path / "npy", "npy")
    train = export(folder, tmp_path / "llmc", "llmc")
    heldout = export(folder.parent / "heldout", tmp_path / "llmc", "llmc")  # these have names of their own
    assert not {*train} & {*heldout}
