"""Verification finds what the bands' curve promises, in clusters of every size, and says where it stopped."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from gristmill.dedup.near.curve import candidate_probability
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.report.sections.duplicates import duplicates_section
from tests.support.dedup_drive import documents, run_fuzzy, write_shards
from tests.support.dedup_stages import made_stage, read, run
from tests.support.made_stage import MadeSlice
from tests.support.made_texts import VOCABULARY, corpus, jaccard, page

__all__ = ["made_stage"]  # the fixture that names the stage of made documents


def template_pages(count: int, seed: int, *, own: int, changed: int) -> tuple[list[str], list[str]]:
    """Pages of one template with `own` words of their own, and a copy of each with some words changed, five
    words or more apart."""
    chance = random.Random(f"words of {seed}")
    template = page(seed, 200 - own)
    originals, copies = [], []
    for number in range(count):
        words = [*template[:80], *chance.choices(VOCABULARY, k=own), *template[80:]]
        copy = list(words)
        for place in chance.sample(range(5, 195, 6), changed):
            copy[place] = f"new{number}at{place}"
        originals.append(" ".join([*words, "tail end of it"]))
        copies.append(" ".join(copy))
    return originals, copies


def removed_copies(tmp_path: Path, originals: list[str], copies: list[str], **settings: int) -> int:
    keys = [f"{kind}{number}" for kind in ("original", "copy") for number in range(len(copies))]
    shards = write_shards(tmp_path / "in", documents([*originals, *copies], keys=keys), [len(copies)])
    found = run_fuzzy(FuzzySettings(**settings), shards, tmp_path / "scratch")
    return len(found.removed)


@pytest.mark.parametrize("count", [400, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_near_copy_among_pages_of_one_template_is_removed(tmp_path: Path, count: int) -> None:
    originals, copies = template_pages(count, 5, own=24, changed=1)
    assert 0.7 < jaccard(originals[0], originals[1]) < 0.77 and jaccard(originals[0], copies[0]) > 0.9
    assert removed_copies(tmp_path, originals, copies) == count


@pytest.mark.parametrize("size", [1, 8, 64, 320])
def test_the_curve_is_kept_in_clusters_of_every_size(tmp_path: Path, size: int) -> None:
    originals: list[str] = []
    copies: list[str] = []
    for cluster in range(320 // size):
        some, near = template_pages(size, 100 + cluster, own=32, changed=4)
        originals += some
        copies += near
    similar = [jaccard(a, b) for a, b in zip(originals, copies, strict=True)]
    assert min(similar) >= 0.8 and np.mean(similar) < 0.83
    promised = np.mean([candidate_probability(value, 26, 11) for value in similar])
    found = removed_copies(tmp_path, originals, copies) / len(copies)
    assert 0.9 < promised <= found + 3 * np.sqrt(promised * (1 - promised) / len(copies))


def test_the_curve_is_kept_against_an_index(tmp_path: Path) -> None:
    originals, copies = template_pages(200, 7, own=32, changed=4)
    settings = FuzzySettings(index=True)
    run(tmp_path / "old", documents(originals), [50], MadeSlice(fuzzy=settings))
    against = settings.model_copy(update={"against": (str(tmp_path / "old"),)})
    new = documents(copies, keys=[f"new{number}" for number in range(len(copies))])
    found = run(tmp_path / "new", new, [70], MadeSlice(fuzzy=against))["dedup-fuzzy"]
    assert found.rows("removed") >= 0.87 * len(copies)
    assert found.extra["bounded"] == 0 and found.extra["warnings"] == []


def test_documents_whose_comparisons_a_bound_ended_are_counted_and_named(tmp_path: Path) -> None:
    originals, _copies = template_pages(60, 9, own=20, changed=1)
    settings = MadeSlice(fuzzy=FuzzySettings(max_candidates=3, max_comparisons=2))
    step = run(tmp_path / "out", documents(originals), [], settings)["dedup-fuzzy"]
    named = read(step, "bounded")["id"].to_pylist()
    assert len(named) == step.extra["bounded"] > 30
    (warning,) = step.extra["warnings"]
    assert f"{len(named)} documents were kept" in warning and "max_candidates" in warning
    section = duplicates_section(read_view(tmp_path / "out"))
    assert section is not None and warning.split(":")[0] in section.body
    assert any(value.hex() in section.body for value in named)


def test_blocks_of_little_memory_remove_the_same_documents(tmp_path: Path) -> None:
    originals, copies = template_pages(60, 3, own=28, changed=1)
    table = documents([*originals, *copies, *corpus(300, 2)])
    shards = write_shards(tmp_path / "in", table, [100])
    whole = run_fuzzy(FuzzySettings(), shards, tmp_path / "whole")
    blocks = run_fuzzy(FuzzySettings(memory_bytes=1 << 20), shards, tmp_path / "blocks")
    assert whole.removed["id"].equals(blocks.removed["id"]) and len(whole.removed) > 80
