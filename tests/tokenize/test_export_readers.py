"""Exports, read back by the programs they are written for.

`datasets` and `webdataset` are installed with `.[dev]`. nanochat and modded-nanogpt are no packages: with
`GRISTMILL_PEERS` naming a folder of their checkouts their own code reads; else only `test_export.py` does, by
the same rules. Both passed with nanochat 92d63d4 and modded-nanogpt f411b3d.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.token_shards import read_documents, read_manifest
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.export import export
from gristmill.tokenize.settings import MixSettings
from tests.support.mixing_run import run_mix


@pytest.fixture(scope="module")
def folder(encoded: Any, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("readers") / "out"
    mix = MixSettings(
        proportions={"web": 0.5, "books": 0.5}, tokens=20_000, shard_tokens=10_000, heldout_fraction=0.05
    )
    run_mix(encoded, mix, tokenizer, out)
    return Path(out / "train")


@pytest.fixture
def texts(folder: Path, tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.decode(document.tokens[:-1].tolist()) for document in read_documents(folder)]


def checkout(name: str) -> Path:
    """The folder of a program's own code, or skip."""
    found = Path(os.environ.get("GRISTMILL_PEERS", "peers")) / name
    if not found.is_dir():
        pytest.skip(f"{name} is no package: set GRISTMILL_PEERS to a folder with its checkout")
    return found


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_datasets_loads_texts_and_tokens(
    folder: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets: Any = pytest.importorskip("datasets")
    files = [str(path) for path in export(folder, tmp_path / "out", "datasets")]
    loaded = datasets.load_dataset(
        "parquet", data_files={"train": files}, split="train", cache_dir=str(tmp_path / "cache")
    )
    documents = list(read_documents(folder))
    assert loaded["text"][:] == texts
    assert loaded["input_ids"][:] == [document.tokens.tolist() for document in documents]
    assert loaded["id"][:] == [document.id.hex() for document in documents]
    streamed = datasets.load_dataset("parquet", data_files={"train": files}, split="train", streaming=True)
    assert [row["source"] for row in streamed] == [document.source for document in documents]


@pytest.mark.filterwarnings("ignore")
def test_webdataset_reads_samples_of_text_tokens_and_facts(
    folder: Path, texts: list[str], tmp_path: Path
) -> None:
    webdataset: Any = pytest.importorskip("webdataset")
    files = [str(path) for path in export(folder, tmp_path, "webdataset")]
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode().to_tuple("txt", "npy", "json"))
    for (text, tokens, facts), document, own in zip(samples, read_documents(folder), texts, strict=True):
        assert text == own and tokens.tolist() == document.tokens.tolist()
        assert facts == {"id": document.id.hex(), "source": document.source, "bytes": document.bytes}


NANOCHAT = """
import json, sys
from nanochat.dataset import parquets_iter_batched
read = {split: sum(parquets_iter_batched(split), []) for split in ("train", "val")}
print(json.dumps(read))
"""


def test_nanochats_own_code_reads_training_and_validation(
    folder: Path, texts: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    code = checkout("nanochat")
    export(folder, tmp_path / "base_data_climbmix", "nanochat")
    (tmp_path / "base_data_climbmix" / "tokenizer.model").unlink(missing_ok=True)
    environment = {**os.environ, "NANOCHAT_BASE_DIR": str(tmp_path), "PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, "-c", NANOCHAT], env=environment, check=True, capture_output=True, text=True
    )
    read = json.loads(done.stdout.splitlines()[-1])
    held = read_documents(folder.parent / "heldout")
    assert read["train"] == texts
    assert read["val"] == [tokenizer.decode(document.tokens[:-1].tolist()) for document in held] != []


def own_code(path: Path, names: set[str]) -> Iterator[ast.stmt]:
    """The functions and classes of these names, to be run without a GPU: pinned memory needs one."""
    source = path.read_text().replace("pin_memory=True", "pin_memory=False")
    yield from (node for node in ast.parse(source).body if getattr(node, "name", "") in names)


def test_modded_nanogpts_own_code_reads_tokens_and_finds_documents(folder: Path, tmp_path: Path) -> None:
    import threading

    import torch

    path = checkout("modded-nanogpt") / "train_gpt.py"
    eos = read_manifest(folder)["eos_id"]
    module = ast.Module(list(own_code(path, {"_load_data_shard", "Shard"})), [])
    names: dict[str, Any] = {
        "torch": torch, "Tensor": torch.Tensor, "Path": Path, "threading": threading, "np": np, "BOS_ID": eos,
    }  # fmt: skip
    exec(compile(module, str(path), "exec"), names)
    documents = iter(read_documents(folder))
    for file in export(folder, tmp_path, "modded-nanogpt"):
        tokens = names["_load_data_shard"](file)
        shard = names["Shard"](tokens)
        shard._ready.wait()
        starts = [*shard._full_idx.tolist(), len(tokens)]
        for start, stop in pairwise(starts):
            assert tokens[start:stop].tolist() == [eos, *next(documents).tokens[:-1].tolist()]
    assert next(documents, None) is None
