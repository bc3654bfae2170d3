"""Shards: independent readers read them, and no flipped bit goes unseen."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gristmill.errors import InputError
from gristmill.token_shards import FILES, SUFFIXES, TRAINING_FILES, ShardFile, read_documents, read_manifest
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.settings import MixSettings
from gristmill.tokenize.shards import verify
from gristmill.trainer.data.remote import RemoteShardSet
from tests.support.mixing_run import run_mix


@pytest.fixture(scope="module")
def folder(encoded: Any, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "out"
    run_mix(
        encoded,
        MixSettings(
            proportions={"web": 0.5, "books": 0.5}, tokens=40_000, shard_tokens=20_000, split_documents=False
        ),
        tokenizer,
        out,
    )
    return Path(out / "train")


def test_megatrons_index_reads_as_its_byte_table_says(folder: Path) -> None:
    """Read `.idx` by offsets alone: 9 bytes of magic, version, dtype code, two counts, lengths, pointers,
    document indices."""
    documents = [document.tokens.tolist() for document in read_documents(folder)]
    found = []
    for shard in read_manifest(folder)["shards"]:
        raw = (folder / f"{shard['name']}.idx").read_bytes()
        payload = (folder / f"{shard['name']}.bin").read_bytes()
        assert raw[:9] == b"MMIDIDX\x00\x00" and struct.unpack_from("<Q", raw, 9) == (1,) and raw[17] == 8
        sequences, bounds = struct.unpack_from("<QQ", raw, 18)
        assert bounds == sequences + 1 and len(raw) == 34 + 20 * sequences + 8
        lengths = struct.unpack_from(f"<{sequences}i", raw, 34)
        pointers = struct.unpack_from(f"<{sequences}q", raw, 34 + 4 * sequences)
        assert struct.unpack_from(f"<{bounds}q", raw, 34 + 12 * sequences) == tuple(range(bounds))
        found += [
            list(struct.unpack_from(f"<{n}H", payload, at)) for n, at in zip(lengths, pointers, strict=True)
        ]
    assert found == documents


def test_nanogpt_and_nanotron_read_payload_and_ends(folder: Path, encoded: Any, tokenizer: Tokenizer) -> None:
    """nanoGPT maps the payload as uint16; nanotron reads cumulative u64 ends, with no count and no leading
    zero."""
    texts = {
        row["id"]: row["text"]
        for parts in encoded.values()
        for part in parts
        for row in pq.read_table(part.documents).to_pylist()
    }
    eos = read_manifest(folder)["eos_id"]
    for shard in read_manifest(folder)["shards"]:
        name = shard["name"]
        tokens, ends = (
            np.memmap(folder / f"{name}.bin", np.uint16, "r"),
            np.fromfile(folder / f"{name}.bin.index", np.uint64),
        )
        ids = (folder / f"{name}.ids").read_bytes()
        assert ends[-1] == len(tokens) and (np.diff(ends) > 0).all()
        for row, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
            assert tokens[end - 1] == eos
            assert tokenizer.decode(tokens[start : end - 1].tolist()) == texts[ids[16 * row : 16 * row + 16]]


def test_datatroves_own_reader_which_is_nanotrons_too_finds_tokens_and_boundaries(folder: Path) -> None:
    from datatrove.utils.dataset import DatatroveFileDataset

    name, width = read_manifest(folder)["shards"][0]["name"], 64
    tokens, ends = (
        np.fromfile(folder / f"{name}.bin", "<u2"),
        np.fromfile(folder / f"{name}.bin.index", "<u8"),
    )
    starts = {0, *ends.tolist()}
    windows = DatatroveFileDataset(
        str(folder / f"{name}.bin"), width - 1, token_size=2, return_positions=True
    )
    assert len(windows) == len(tokens) // width > 100
    for number in range(len(windows)):
        first, window = number * width, windows[number]
        assert window["input_ids"].tolist() == tokens[first : first + width].tolist()
        begins = {
            first + place for place, position in enumerate(window["positions"].tolist()) if position == 0
        }
        assert begins == {first, *(place for place in range(first, first + width) if place in starts)}


def test_bytes_are_those_of_the_texts(folder: Path, tokenizer: Tokenizer) -> None:
    for document in read_documents(folder):
        assert len(tokenizer.decode(document.tokens[:-1].tolist()).encode()) == document.bytes


def test_a_file_that_is_declared_once_is_written_verified_and_fetched(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard file that stands in this test alone: the tokens of a document for each of its bytes."""
    rate = ShardFile(".rate", "<f4", "document", True, lambda rows: rows.lengths / rows.num_bytes)
    monkeypatch.setattr("gristmill.tokenize.shards.FILES", (*FILES, rate))
    monkeypatch.setattr("gristmill.trainer.data.remote.TRAINING_FILES", (*TRAINING_FILES, rate))
    run_mix(encoded, MixSettings(proportions={"web": 1}, tokens=5_000), tokenizer, tmp_path / "out")
    folder = tmp_path / "out" / "train"
    (shard,) = read_manifest(folder)["shards"]
    documents = [len(document.tokens) / document.bytes for document in read_documents(folder)]
    assert rate.read(folder / shard["name"]).tolist() == pytest.approx(documents)
    assert ".rate" in shard["sidecars"] and verify(folder) == []

    fetched = RemoteShardSet(f"file://{folder}", tmp_path / "cache", 1 << 30)
    fetched.payload(0)
    assert rate.read(fetched.folder / shard["name"]).tolist() == pytest.approx(documents)
    rate.path(folder / shard["name"]).write_bytes(b"")
    assert verify(folder) == [f"{shard['name']}.rate is not what the manifest says: its bytes have changed"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_bit_is_found_and_its_file_named(folder: Path, suffix: str) -> None:
    assert verify(folder) == []
    path = folder / f"{read_manifest(folder)['shards'][0]['name']}{suffix}"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    old = path.read_bytes()
    path.write_bytes(raw)
    assert verify(folder) == [f"{path.name} is not what the manifest says: its bytes have changed"]
    path.write_bytes(old)


def test_a_manifest_that_says_other_numbers_than_its_shards_hold_is_found(folder: Path) -> None:
    path = folder / "manifest.json"
    old = path.read_bytes()
    try:
        for place in ("tokens", "bytes", "docs"):
            changed = json.loads(old)
            changed["sources"][1][place] += 1
            path.write_text(json.dumps(changed))
            (problem,) = verify(folder)
            assert f"{place} of `books`, the manifest says {changed['sources'][1][place]:,}" in problem
        changed = json.loads(old)
        changed["shards"][0]["bytes"] -= 1
        path.write_text(json.dumps(changed))
        assert verify(folder) == ["00000: its documents have not the bytes that the manifest says"]
        changed = json.loads(old)
        del changed["sources"][1]
        path.write_text(json.dumps(changed))
        assert "a document is of a source beyond the manifest's" in verify(folder)[0]
    finally:
        path.write_bytes(old)


def test_a_missing_file_is_named(folder: Path) -> None:
    path = folder / "00000.ids"
    old = path.read_bytes()
    path.unlink()
    assert verify(folder) == ["00000.ids is missing"]
    path.write_bytes(old)


def test_a_folder_without_manifest_is_no_shard_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no shard manifest"):
        read_manifest(tmp_path)
