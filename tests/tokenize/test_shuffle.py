"""The shuffle at its limits: documents longer than a shard, shards on remote storage, billions of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.errors import IntegrityError
from gristmill.files.location import RemotePath, use_storage
from gristmill.files.remote import Access
from gristmill.files.remote_store import RemoteStore, StorageSettings
from gristmill.files.stores import store_of
from gristmill.hashing import sha256_file
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.token_shards import read_documents, read_manifest
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.mixing import gather
from gristmill.tokenize.mixing.places import order_of, shard_of
from gristmill.tokenize.settings import MixSettings
from gristmill.tokenize.shards import verify
from tests.support import object_store
from tests.support.mixing_run import run_mix
from tests.support.small_corpus import TEXTS


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from object_store.serve("shuffle")


def remote(server: str, name: str, cache: Path) -> RemotePath:
    root = f"s3://shuffle/{name}"
    use_storage(root, StorageSettings(Access(object_store.options(server), 3, 20.0), str(cache)))
    return RemotePath(root)


def test_documents_longer_than_a_shard_stay_whole(encoded: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The longest text has more than ten times the tokens that a shard has on average."""
    mix = MixSettings(method="natural", heldout_fraction=0.0, shard_tokens=2000)
    run_mix(encoded, mix, tokenizer, tmp_path / "out")
    folder = tmp_path / "out" / "train"
    sizes = [shard["tokens"] for shard in read_manifest(folder)["shards"]]
    found = {document.id: document.tokens.tolist() for document in read_documents(folder)}
    longest = max(map(len, found.values()))
    assert longest > 10 * mix.shard_tokens and max(sizes) >= longest and verify(folder) == []
    one = tmp_path / "one"
    run_mix(encoded, mix.model_copy(update={"shard_tokens": 1 << 26}), tokenizer, one)
    assert {d.id: d.tokens.tolist() for d in read_documents(one / "train")} == found
    assert sum(sizes) == sum(map(len, found.values()))


@pytest.mark.filterwarnings("default")
def test_a_shard_is_gathered_from_stretches_of_remote_files(
    server: str, encoded: Any, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix = MixSettings(method="natural", heldout_fraction=0.0, shard_tokens=20_000)
    run_mix(encoded, mix, tokenizer, tmp_path / "out")
    there = remote(server, "parts", tmp_path / "cache")
    stems = sorted({path.stem for path in (tmp_path / "out").glob("train-*.cuts")})
    for stem in stems:
        for suffix in (".bin", ".entries", ".cuts"):
            own = (tmp_path / "out" / stem).with_suffix(suffix)
            copy = tmp_path / "copy"
            copy.write_bytes(own.read_bytes())
            store_of(there).place(copy, there / own.name, sha256_file(copy))
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.unlink()

    def never(store: RemoteStore, url: object, *_: object) -> Path:
        raise AssertionError(f"{url} was fetched whole")

    monkeypatch.setattr(RemoteStore, "fetch", never)
    folder = tmp_path / "out" / "train"
    shards = read_manifest(folder)["shards"]
    assert len(shards) > 2
    for number, shard in enumerate(shards):
        parts = [gather.MapOutput(there / stem, number) for stem in stems]
        made = gather.write_shard(parts, tmp_path / f"{number:05d}", "<u2", 2)
        assert {key: made[key] for key in shard} == shard
    with pytest.raises(IntegrityError, match="bytes came of the"):
        list(store_of(there).read_stretches([(there / f"{stems[0]}.cuts", 0, 1 << 20)]))
    with pytest.raises(IntegrityError, match="bytes came of the"):
        list(store_of(folder).read_stretches([(tmp_path / "out" / f"{stems[0]}.cuts", 0, 1 << 20)]))


def test_places_of_many_documents_fill_shards_evenly_from_everywhere() -> None:
    """Of two files of documents each shard has its share, and so has each half of a shard."""
    per_file, num_shards = 200_000, 16
    shards, halves = [], []
    for number in range(2):
        ids = np.random.default_rng(number).bytes(16 * per_file)
        keys = order_of(pa.Array.from_buffers(pa.binary(16), per_file, [None, pa.py_buffer(ids)]), 1, 7)
        shards.append(np.bincount(shard_of(keys, 0, num_shards), minlength=num_shards))
        halves.append(np.bincount(shard_of(keys, 0, 2 * num_shards), minlength=2 * num_shards))
    for counts in (*shards, *halves):
        expected = per_file / len(counts)
        assert abs(counts - expected).max() < 5 * expected**0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_on_ray_write_the_same_shards_to_an_object_store(
    server: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, texts in (("a", TEXTS[:60]), ("b", TEXTS[60:120])):
        lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    recipe = {
        "name": "shuffle",
        "sources": {name: {"inputs": [f"{name}.jsonl"], "dedup": False} for name in ("a", "b")},
        "tokenizer": {"path": str(model)},
        "mix": {"method": "natural", "heldout_fraction": 0.1, "shard_tokens": 20_000},
    }
    plan = build_plan(make_recipe(recipe))
    here = run_plan(plan, tmp_path / "here", EngineSettings(kind="inline"), Progress(quiet=True))
    out = remote(server, "ray", tmp_path / "cache")
    there = run_plan(plan, out, EngineSettings(kind="ray", workers=2), Progress(quiet=True))
    mine, theirs = ({file.path: file.sha256 for file in run.manifests["mix"].files} for run in (here, there))
    assert mine == theirs and sum(path.endswith(".bin") for path in mine) > 5
