"""Held-out documents that lie inside one document of training are found, counted and moved."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.dedup import heldout as splitting
from gristmill.errors import GristmillError
from gristmill.files.parquet import read_parquet
from gristmill.heldout import is_heldout, units
from gristmill.manifest import Manifest
from gristmill.pipeline.phases.heldout import LIST_FILE
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.stages.heldout import HeldoutFacts

FRACTION, SEED = 0.3, 7


def words(generator: random.Random, count: int) -> list[str]:
    return [f"w{generator.randrange(100_000)}" for _ in range(count)]


def write_texts(path: Path) -> None:
    """Thirty long texts and sixty short ones: twenty are passages of a long one, ten hold two fifths of a
    passage, ten are passages of another short one, twenty are alone."""
    generator = random.Random(3)
    long = [words(generator, 400) for _ in range(30)]
    rows = [(f"long-{n}", text) for n, text in enumerate(long)]
    passages = [long[n][100:160] for n in range(20)]
    rows += [(f"inside-{n}", text) for n, text in enumerate(passages)]
    rows += [(f"partly-{n}", long[n][200:224] + words(generator, 36)) for n in range(10)]
    rows += [(f"nested-{n}", [*passages[n][10:40], *words(generator, 10)]) for n in range(10)]
    rows += [(f"alone-{n}", words(generator, 60)) for n in range(20)]
    with path.open("w") as file:
        for name, text in rows:
            file.write(json.dumps({"id": name, "text": " ".join(text)}) + "\n")


def truth(texts: dict[bytes, str], held: dict[bytes, bool]) -> set[bytes]:
    """Held-out documents, half of whose 5-grams are in one document of training or in such a document."""

    def grams(text: str) -> set[tuple[str, ...]]:
        split = text.split()
        return {tuple(split[i : i + 5]) for i in range(len(split) - 4)}

    all_grams = {id_: grams(text) for id_, text in texts.items()}
    found: set[bytes] = set()
    trained = {id_ for id_ in texts if not held[id_]}
    while True:
        fresh = {
            id_
            for id_ in texts
            if held[id_] and id_ not in found
            for other in trained | found
            if other != id_ and len(all_grams[id_] & all_grams[other]) >= len(all_grams[id_]) / 2
        }
        if not fresh:
            return found
        found |= fresh


def run(folder: Path, how: dict[str, Any], out: str, shard_bytes: int = 1 << 20) -> dict[str, Manifest]:
    recipe: dict[str, Any] = {
        "name": "split", "seed": SEED, "dedup": {},
        "sources": {"docs": {"inputs": [str(folder / "docs.jsonl")]}},
        "heldout": how, "shard_bytes": shard_bytes,
        "mix": {"heldout_fraction": FRACTION}, "tokenizer": {"vocab_size": 300},
    }  # fmt: skip
    plan = build_plan(make_recipe(recipe), until="heldout")
    result = run_plan(plan, folder / out, EngineSettings(kind="inline"), Progress(quiet=True))
    return dict(result.manifests)


def documents(manifest: Manifest) -> pa.Table:
    return pa.concat_tables([read_parquet(path) for path in manifest.paths("documents")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heldout")
    write_texts(path / "docs.jsonl")
    return path


@pytest.fixture(scope="module")
def moved(folder: Path) -> dict[str, Manifest]:
    return run(folder, {"decontaminate": "move"}, "moved", 20_000)


def expected(before: pa.Table) -> tuple[set[bytes], dict[bytes, bool]]:
    ids = before["id"].to_pylist()
    held = dict(zip(ids, is_heldout(SEED, FRACTION, units(before)).tolist(), strict=True))
    return truth(dict(zip(ids, before["text"].to_pylist(), strict=True)), held), held


def test_documents_inside_others_are_found_as_by_comparing_all_pairs(
    folder: Path, moved: dict[str, Manifest]
) -> None:
    before = documents(moved["extract/docs"])
    found, held = expected(before)
    assert 5 < len(found) < sum(held.values())
    for manifest in (moved["heldout"], run(folder, {}, "counted")["heldout"]):
        (listed,) = [read_parquet(path) for path in manifest.paths("contained")]
        assert set(listed["id"].to_pylist()) == found
        facts = manifest.stated(HeldoutFacts)
        assert (facts.heldout, facts.found) == (sum(held.values()), len(found))
        assert f"{len(found):,} of {sum(held.values()):,} held-out documents" in (facts.notes or [""])[0]
    assert not manifest.paths("documents") and facts.moved == 0


def test_moved_documents_are_trained_on_and_nothing_that_is_held_out_lies_in_training(
    moved: dict[str, Manifest],
) -> None:
    before, after = documents(moved["extract/docs"]), documents(moved["heldout"])
    found, held = expected(before)
    assert after["id"].to_pylist() == before["id"].to_pylist()
    assert after["text"].to_pylist() == before["text"].to_pylist()
    again, held_now = expected(after)
    assert not again
    assert {id_ for id_, was in held.items() if was and not held_now[id_]} == found
    assert moved["heldout"].stated(HeldoutFacts).moved == len(found)


def test_an_ngram_of_very_many_says_nothing_and_what_has_no_other_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "MOST", 3)
    with (tmp_path / "docs.jsonl").open("w") as file:
        for number in range(200):
            file.write(json.dumps({"id": str(number), "text": "this page is not there any more"}) + "\n")
    facts = run(tmp_path, {}, "out")["heldout"].stated(HeldoutFacts)
    assert facts.without_ngrams == facts.heldout > 3 and facts.found == 0 and facts.common_ngrams == 3
    assert "have only 5-grams that more than 3 share" in (facts.notes or [""])[0]


def test_a_split_without_held_out_documents_is_refused(folder: Path) -> None:
    with pytest.raises(GristmillError, match="needs held-out documents"):
        make_recipe(
            {
                "name": "x",
                "sources": {"docs": {"inputs": [str(folder / "docs.jsonl")]}},
                "heldout": {},
            }
        )


def test_a_cluster_moves_as_one(tmp_path: Path) -> None:
    rows = [{"id": bytes([n]) * 16, "cluster_id": bytes([9]) * 16 if n < 3 else None} for n in range(5)]
    table = pa.Table.from_pylist(rows, pa.schema([("id", pa.binary(16)), ("cluster_id", pa.binary(16))]))
    pq.write_table(table, tmp_path / "t.parquet")
    targets = pa.Table.from_pylist([{"unit": bytes([9]) * 16, "target": bytes([4]) * 16}], splitting.TARGETS)
    after = splitting.with_targets(table, targets)["cluster_id"].to_pylist()
    assert after == [bytes([4]) * 16] * 3 + [None, None] and LIST_FILE == "contained.parquet"
