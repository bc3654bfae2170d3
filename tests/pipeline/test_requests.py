"""What a run asks of an object store, stage by stage: as much for a shard, however many there are."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from gristmill.location import RemotePath, use_storage
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run import runner
from gristmill.remote import Access
from gristmill.remote_store import StorageSettings
from tests.support.counting_store import counting_store
from tests.support.small_recipe import recipe
from tests.support.toy_stage import INLINE, QUIET

WORDS = " ".join(topics.values()).split()


def write_shards(folder: Path, count: int) -> None:
    """Write inputs of two sources, each file a shard of its own."""
    for number in range(count):
        for source in ("web", "prose"):
            with (folder / f"{source}-{number:03d}.jsonl").open("w") as file:
                for row in range(2):
                    drawn = random.Random(f"{number}-{row}-{source}").choices(WORDS, k=900)
                    text = " ".join(drawn)[:5300] + f" number {number} {row} {source}"
                    url = f"http://{source}{number}.org/{row}"
                    file.write(json.dumps({"id": f"{source}{number}-{row}", "url": url, "text": text}) + "\n")


def requests_of_stages(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    folder.mkdir()
    write_shards(folder, count)
    monkeypatch.chdir(folder)
    sources = {"web": {"inputs": ["web-*.jsonl"]}, "prose": {"inputs": ["prose-*.jsonl"], "filter": False}}
    made = recipe(shard_bytes=8000, sources=sources, filter={"presets": ["gopher"]})
    made["mix"]["tokens"] = 200 * count
    out = RemotePath(f"s3://mill/requests-{count}")
    access = Access({"key": "x", "secret": "y", "skip_instance_cache": True})
    use_storage(str(out), StorageSettings(access, str(folder / "cache")))
    asked: dict[str, Counter[str]] = {}
    real = runner.execute
    with counting_store() as store:

        def counted(step: Any, *arguments: Any) -> Any:
            store.take()
            manifest = real(step, *arguments)
            asked[step.name] = store.take()
            return manifest

        monkeypatch.setattr(runner, "execute", counted)
        runner.run_plan(build_plan(make_recipe(made)), out, INLINE, QUIET)
        monkeypatch.setattr(runner, "execute", real)
    return asked


@pytest.mark.slow
def test_requests_of_every_stage_grow_with_its_shards_and_no_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {n: requests_of_stages(tmp_path / str(n), n, monkeypatch) for n in (25, 50, 100)}
    for step, few in found[25].items():
        for fewer, more in ((25, 50), (50, 100)):
            before, after = (sum(found[n][step].values()) / n for n in (fewer, more))
            assert after <= before * 1.1, f"{step}: {found[fewer][step]} of {fewer}, {found[more][step]}"
        assert few["head_object"] <= 25
