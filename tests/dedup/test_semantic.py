from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.near import semantic
from gristmill.dedup.near.context import k_means, nearest_centroids
from gristmill.dedup.near.embedding import (
    CONTEXT,
    LENGTH,
    OWN,
    SIZE,
    Model,
    cosines,
    embed_texts,
    embed_words,
)
from gristmill.dedup.settings.near import SemanticSettings
from gristmill.dedup.sorted.runs import SortedRun
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.phases.dedup.semantic import warnings
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.sections.duplicates import duplicates_section
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.dedup_drive import Outcome, balanced_rows, documents, run_semantic, write_shards
from tests.support.made_texts import page

ASKED = SemanticSettings()


def rewritten(words: list[str], chance: random.Random, share: float = 0.04) -> list[str]:
    """The words in another order, some of them others."""
    words = [f"other{word}" if chance.random() < share else word for word in words]
    return chance.sample(words, len(words))


def planted(count: int, seed: int = 1) -> list[str]:
    """Texts, and after them each again, rewritten."""
    chance = random.Random(seed)
    texts = [page(100 + number, 120) for number in range(count)]
    return [" ".join(text) for text in (*texts, *(rewritten(text, chance) for text in texts))]


def run(asked: SemanticSettings, table: pa.Table, folder: Path, sizes: list[int], parts: int = 2) -> Outcome:
    return run_semantic(asked, write_shards(folder / "in", table, sizes), folder / "scratch", parts)


def test_rewritten_texts_are_removed_and_name_the_one_kept(tmp_path: Path) -> None:
    table = documents(planted(40))
    found = run(ASKED, table, tmp_path, [13, 50])
    ids = table["id"].to_pylist()
    partner = {id_: ids[(place + 40) % 80] for place, id_ in enumerate(ids)}
    removed = {row["id"]: row for row in found.decisions.to_pylist() if row["survivor_id"] != row["id"]}
    assert len(removed) == 40 and all(row["survivor_id"] == partner[id_] for id_, row in removed.items())
    assert all(row["cosine"] >= ASKED.threshold and row["verified"] for row in removed.values())
    assert set(found.removed["rule"].to_pylist()) == {"dedup.semantic"}
    assert found.removed["value"].to_pylist() == [
        removed[id_]["cosine"] for id_ in found.removed["id"].to_pylist()
    ]
    balanced_rows(found, table)


@pytest.mark.parametrize(("sizes", "parts"), [([1] * 20, 1), ([50], 5), ([7, 20], 3)])
def test_order_shards_and_parts_do_not_change_who_stays(tmp_path: Path, sizes: list[int], parts: int) -> None:
    table = documents([*planted(40), "", "..."])
    asked = SemanticSettings(cluster_documents=10)
    first = run(asked, table, tmp_path / "a", [])
    shuffled = table.take(pa.array(random.Random(2).sample(range(len(table)), len(table))))
    second = run(asked, shuffled, tmp_path / "b", sizes, parts)
    assert first.decisions.sort_by("id").equals(second.decisions.sort_by("id"))
    assert sum(count["removed"] for count in first.counts) > 30


def test_the_survivor_is_the_one_asked_for(tmp_path: Path) -> None:
    texts = planted(10)
    quality = [0.1] * 10 + [0.9] * 10
    table = documents(texts, quality=quality)
    best = run(SemanticSettings(survivor="best:quality"), table, tmp_path / "a", [])
    assert best.kept["quality"].to_pylist() == [0.9] * 10
    distant = run(ASKED, table, tmp_path / "b", [])
    model = Model.read(tmp_path / "b" / "scratch" / "1-0.run")
    _cluster, near = nearest_centroids(embed_texts(model, table["text"]), model.centroids)
    cosine = dict(zip(table["id"].to_pylist(), near.tolist(), strict=True))
    pairs = [(row["id"], row["survivor_id"]) for row in distant.decisions.to_pylist()]
    assert all(cosine[survivor] <= cosine[id_] + 1e-6 for id_, survivor in pairs)


def test_scope_and_mark(tmp_path: Path) -> None:
    table = documents(planted(5), source=["a"] * 5 + ["b"] * 5)
    assert len(run(SemanticSettings(scope="source"), table, tmp_path / "a", []).kept) == 10
    marked = run(SemanticSettings(mode="mark"), table, tmp_path / "b", [])
    assert len(marked.kept) == 10 and marked.decisions["cluster_size"].to_pylist() == [2] * 10


def test_a_cluster_over_the_bound_is_compared_in_parts_and_counted(tmp_path: Path) -> None:
    table = documents(["the same words again " * 20] * 50 + planted(20))
    asked = SemanticSettings(max_cluster_documents=30)
    found = run(asked, table, tmp_path, [40])
    assert sum(count["uncompared"] for count in found.counts) == 90
    same = [text for text in found.texts() if text.startswith("the same")]
    assert len(same) == 1  # equal vectors have one key, which is never parted
    (said,) = warnings(asked, 90, 0)
    assert said.startswith("90 documents lie in clusters of more than 30")


def test_a_sample_that_memory_does_not_hold_is_cut_and_said(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", documents(planted(30)), [])
    asked = SemanticSettings()
    counts = semantic.map_sample(asked, *shards[0], tmp_path / "sample.run", 60)
    assert counts["sampled"] == 60
    small = asked.model_copy(update={"memory_bytes": 100 * 120 * 10 + 99})
    learned = semantic.learn_model(small, [tmp_path / "sample.0"], 0, 1 << 64, tmp_path / "model")
    assert learned["learned_from"] == 10 and learned["sampled"] == 60
    (said,) = warnings(asked, 0, 50)
    assert said.startswith("50 documents of the sample were left out")


def test_the_sample_is_a_share_of_all_by_hash(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", documents([" ".join(page(1))] * 300), [100])
    asked = SemanticSettings(sample_documents=60, sample_words=10)
    for number, shard in enumerate(shards):
        semantic.map_sample(asked, *shard, tmp_path / f"{number}.run", 300)
    keys = np.concatenate([SortedRun(tmp_path / f"{number}.0").key for number in range(len(shards))])
    assert 30 < len(keys) < 90 and keys.max() < (1 << 64) // 5
    assert (SortedRun(tmp_path / "0.0").columns["length"] == 10).all()


def test_the_stage_tells_why_and_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = planted(12)
    pa.parquet.write_table(
        pa.table({"text": texts, "url": [f"http://a.org/{n}" for n in range(24)]}), "a.parquet"
    )
    recipe = {"name": "near", "sources": {"web": {"inputs": ["a.parquet"]}}, "dedup": {"semantic": {}}}
    result = run_plan(
        build_plan(make_recipe(recipe)), tmp_path / "out", EngineSettings(kind="inline"), Progress(quiet=True)
    )
    step = result.manifests["dedup-semantic"]
    assert step.extra["removed"] == 12 and step.extra["learned_from"] == 24
    (path,) = step.paths("removed")
    gone = pa.parquet.read_table(path).to_pylist()[0]
    life = look_up(tmp_path / "out", gone["url"])
    assert "removed at dedup-semantic by dedup.semantic" in life.verdict
    number = int(gone["url"].rpartition("/")[2])
    assert life.events[-1].facts["survivor"] == f"http://a.org/{(number + 12) % 24}"
    section = duplicates_section(read_view(tmp_path / "out"))
    assert section is not None and "12 of 24 documents were copies" in section.body


def plain_vector(model: Model, words: list[int]) -> list[float]:
    """A text's vector by the definition, in Python's numbers."""
    known = {word: place for place, word in enumerate(model.words.tolist())}
    sums = [0] * SIZE
    for word in set(words):
        times = round(16 * (1 + np.log2(words.count(word))))
        weight = times * (int(model.idf[known[word]]) if word in known else model.unknown_idf)
        for block in range(OWN // 64):
            bits = mixed((word + (block + 1) * 0x9E3779B97F4A7C15) % 2**64)
            for bit in range(64):
                sums[64 * block + bit] += weight if bits >> bit & 1 else -weight
        if word in known:
            for number in range(CONTEXT):
                sums[OWN + number] += weight * int(model.contexts[known[word], number])
    own, context = sums[:OWN], sums[OWN:]
    length = sum(value * value for value in context) ** 0.5
    if length:
        whole = [round(value / length * 1024) for value in context]
        context = [value - int(mean) for value, mean in zip(whole, model.mean, strict=True)]
    parts = []
    for part, share in ((own, 1 - model.context_share), (context, model.context_share)):
        size = sum(value * value for value in part) ** 0.5
        parts += [value / size * share**0.5 if size else 0.0 for value in part]
    return parts


def mixed(h: int) -> int:
    """MurmurHash3's 64-bit finaliser."""
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD % 2**64
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 % 2**64
    return h ^ h >> 33


@given(
    st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=12), min_size=1, max_size=3), st.integers(0, 9)
)
@settings(max_examples=30, deadline=None)
def test_the_kernel_equals_the_definition(texts: list[list[int]], seed: int) -> None:
    chance = np.random.default_rng(seed)
    model = Model(
        np.array([1, 3, 4, 7], np.uint64),
        chance.integers(1, 900, 4),
        1000,
        chance.integers(-127, 128, (4, CONTEXT)).astype(np.int8),
        chance.integers(-20, 20, CONTEXT),
        np.zeros((1, SIZE), np.int8),
        0.3,
    )
    bounds = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    found = embed_words(model, np.array([word for text in texts for word in text], np.uint64), bounds)
    for row, text in zip(found, texts, strict=True):
        assert np.allclose(row, plain_vector(model, text), atol=1e-9)


@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.6, 0.9]), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_who_stays_is_what_a_walk_of_one_by_one_keeps(seed: int, threshold: float, scopes: int) -> None:
    chance = np.random.default_rng(seed)
    basis = chance.integers(-60, 60, (4, SIZE))
    vectors = (basis[chance.integers(0, 4, 30)] + chance.integers(-40, 40, (30, SIZE))).astype(np.int8)
    scope = chance.integers(0, scopes, 30).astype(np.uint64)
    keeper, score, _pairs = semantic.keep_first(vectors, scope, threshold)
    similar = cosines(vectors, vectors)
    kept: list[int] = []
    for member in range(30):
        near = [
            other for other in kept if scope[other] == scope[member] and similar[member, other] >= threshold
        ]
        best = max(near, key=lambda other: (similar[member, other], -other), default=member)
        assert keeper[member] == best
        assert np.isnan(score[member]) if best == member else score[member] == similar[member, best]
        kept += [member] if best == member else []


def test_clusters_are_found_and_products_are_exact() -> None:
    chance = np.random.default_rng(1)
    basis = chance.normal(size=(4, SIZE))
    near = np.concatenate([basis + chance.normal(size=(4, SIZE)) * 0.3 for _ in range(50)])
    vectors = np.rint(near / np.linalg.norm(near, axis=1, keepdims=True) * LENGTH).astype(np.int8)
    nearest, _score = nearest_centroids(vectors, k_means(vectors, 4))
    assert len({tuple(nearest[place::4]) for place in range(4)}) <= 4
    assert all(len(set(nearest[place::4].tolist())) == 1 for place in range(4))
    wide = vectors.astype(np.int64)
    assert np.array_equal(
        (vectors.astype(np.float32) @ vectors.astype(np.float32).T).astype(np.int64), wide @ wide.T
    )
