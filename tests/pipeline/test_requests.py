"""What a run asks of an object store, stage by stage: as much for a shard, however many there are."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from gristmill.files.cache import Cache
from gristmill.files.location import RemotePath, use_storage
from gristmill.files.remote import Access
from gristmill.files.remote_store import StorageSettings
from gristmill.pipeline.phases import ranges
from gristmill.pipeline.phases.dedup import frame, fuzzy
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run import runner
from tests.support.counting_store import counting_store
from tests.support.small_recipe import recipe
from tests.support.toy_stage import INLINE, QUIET

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
PAGE = DOCS.read_text(encoding="utf-8")
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


LABELS = {
    "extract/web": "`extract` of a source",
    "filter/web": "`filter` of a source",
    "dedup-exact": "`dedup-exact`, both sources",
    "dedup-fuzzy": "`dedup-fuzzy`, both sources",
    "classify-train": "`classify-train`, both sources",
    "classify-score/web": "`classify-score` of a source",
    "ngram-train": "`ngram-train`, one source",
    "ngram-score/web": "`ngram-score` of a source",
    "ngram-heldout": "`ngram-heldout`, both sources",
    "coverage/web": "`coverage` of a source",
    "tokenizer": "`tokenizer`, both sources",
    "tokenizer-report": "`tokenizer-report`, both sources",
    "encode/web": "`encode` of a source",
    "mix": "`mix`, both sources",
}


def table(few: dict[str, Counter[str]], many: dict[str, Counter[str]]) -> str:
    """The rows of docs/cluster.md: requests of each step per shard of 6 and of 12, and of 12 by kind."""
    rows = ""
    for step, label in LABELS.items():
        shares = ", ".join(f"{sum(found[step].values()) / n:.1f}" for found, n in ((few, 6), (many, 12)))
        kinds = [many[step][kind] for kind in ("put_object", "get_object", "list_objects_v2")]
        deleted = many[step]["delete_objects"] or ""
        rows += f"| {label} | {shares} | {' | '.join(map(str, kinds))} | {deleted}".rstrip() + " |\n"
    return rows


@pytest.mark.slow
def test_the_table_of_the_docs_is_what_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings and deletions to the number, the rest within a twentieth: how often a run states that it is
    alive depends on how long it takes."""
    found = requests_of_stages(tmp_path / "12", 12, monkeypatch)
    cells = {row.split(" | ")[0].strip("| "): row.strip("|").split("|") for row in PAGE.splitlines()}
    assert set(found) - {"extract/prose", "filter/prose", "encode/prose"} == {*LABELS}
    for step, label in LABELS.items():
        counted = found[step]
        _, shares, puts, gets, lists, deletions = (cell.strip() for cell in cells[label])
        assert (int(lists), int(deletions or 0)) == (
            counted["list_objects_v2"],
            counted["delete_objects"],
        ), step
        assert int(puts) == pytest.approx(counted["put_object"], rel=0.05, abs=2), step
        assert int(gets) == pytest.approx(counted["get_object"], rel=0.05, abs=2), step
        assert float(shares.split(", ")[1]) == pytest.approx(sum(counted.values()) / 12, rel=0.05), step


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


def test_reduce_tasks_on_another_node_fetch_the_ranges_that_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deduplication reads parts of large runs that its node does not hold: the same result, and no run is
    fetched whole."""
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path, 2)
    made = {"name": "r", "sources": {"web": {"inputs": ["*-00*.jsonl"]}}, "shard_bytes": 8000}
    made["dedup"] = {"exact": {}, "fuzzy": {}}
    for module in (frame, fuzzy):
        monkeypatch.setattr(module, "num_parts", lambda *_: 5)
    plan = build_plan(make_recipe(made))
    local = runner.run_plan(plan, tmp_path / "local", INLINE, QUIET).manifests
    out = RemotePath("s3://mill/ranges")
    access = Access({"key": "x", "secret": "y", "skip_instance_cache": True})
    use_storage(str(out), StorageSettings(access, str(tmp_path / "cache")))
    monkeypatch.setattr(ranges, "LARGE_BYTES", 0)
    monkeypatch.setattr(Cache, "holds", lambda *_: False)
    with counting_store() as store:
        real, fetched = store._get_object, []

        def get(Key: str, Range: str = "", **asked: Any) -> dict[str, Any]:
            fetched.append((Key, Range))
            return real(Key=Key, Range=Range, **asked)

        store._get_object = get  # type: ignore[method-assign]
        remote = runner.run_plan(plan, out, INLINE, QUIET).manifests
    assert {name: one.content_digest for name, one in remote.items()} == {
        name: one.content_digest for name, one in local.items()
    }
    for kind in ("data/keys-", "data/bands-"):
        asked = [span for key, span in fetched if kind in key]
        assert asked and all(asked)


if __name__ == "__main__":  # writes the table anew
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        counts = [requests_of_stages(Path(folder) / str(n), n, patch) for n in (6, 12)]
        pattern = r"(?<=\n\|---\|---\|---\|---\|---\|---\|\n).*?(?=\| nothing to do)"
        DOCS.write_text(re.sub(pattern, lambda _: table(*counts), PAGE, flags=re.DOTALL), encoding="utf-8")
