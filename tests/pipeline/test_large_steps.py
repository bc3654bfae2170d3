"""Steps of very many shards: what they come to is one small file, and their lists lie in parts."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gristmill import entries
from gristmill import manifest as manifests
from gristmill.entries import Entries
from gristmill.errors import IntegrityError
from gristmill.files.storage import FileEntry
from gristmill.ledger import Books
from gristmill.manifest import Manifest, TaskRecord, put_manifest, read_manifest
from gristmill.pipeline.look import reading
from gristmill.pipeline.look.collect import collect
from gristmill.pipeline.look.live import read_status
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.page import render
from gristmill.pipeline.run.cluster.attempts import Pending
from gristmill.pipeline.run.cluster.calls import Caller
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.records.summary import add_up, body_of, put_summary, read_summary
from gristmill.pipeline.run.records.totals import MOST_DOMAINS
from gristmill.pipeline.run.runner import Plan, run_plan, states
from tests.support.run_folders import books, record, write_run
from tests.support.small_corpus import TEXTS
from tests.support.toy_stage import INLINE, QUIET


def corpus(folder: Path, *, repeats: bool = False) -> Plan:
    """Four shards of one source, filtered; with `repeats` each shares a document with the one before."""
    for number in range(4):
        texts = TEXTS[3 * number : 3 * number + (4 if repeats else 3)]
        rows = [json.dumps({"id": text[:40], "text": text[:1500]}) + "\n" for text in texts]
        (folder / f"a-{number}.jsonl").write_text("".join(rows))
    sources = {"a": {"inputs": str(folder / "a-*.jsonl")}}
    recipe = {"name": "large", "sources": sources, "shard_bytes": 4000, "filter": {"presets": ["gopher"]}}
    return build_plan(make_recipe(recipe))


def many_files(count: int) -> list[FileEntry]:
    kinds = ("documents", "removed", "documents-ids")
    return [
        FileEntry(kinds[n % 3], f"data/{kinds[n % 3]}-{n:05d}.parquet", f"{n:064x}", n, 2 * n, "ab"[n % 2])
        for n in range(count)
    ]


def put_many(folder: Path, count: int) -> Manifest:
    named = [
        {"phase": "ab"[n > count // 2], "task": str(n), "path": f"records/p/{n}.json", "sha256": f"{n:064x}"}
        for n in range(count)
    ]
    made = Manifest(folder, "s", "id", {"stage": "s"}, many_files(count), named, None, {"n": 1})
    put_manifest(made)
    return made


def test_lists_in_parts_are_those_of_the_manifest_and_only_what_is_asked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_INLINE", 50)
    monkeypatch.setattr(entries, "PART_ENTRIES", 7)
    made = put_many(tmp_path, 40)
    opened: list[str] = []
    real = entries.open_sealed
    monkeypatch.setattr(entries, "open_sealed", lambda path, raw: opened.append(path.name) or real(path, raw))
    found = read_manifest(tmp_path)
    assert isinstance(found.files, Entries) and len(found.files) == len(found.records) == 40
    assert found.content_digest == made.content_digest and not opened
    assert found.named("removed") == made.named("removed")
    assert found.rows("removed") == made.rows("removed") and found.sources("removed") == ["b", "a"]
    assert opened and all(name.startswith("files-removed-") for name in opened)
    assert list(found.files) == list(made.files) and list(found.records) == list(made.records)
    assert found.files[3:5] == made.files[3:5] and found.hash_content() == made.content_digest
    assert len(opened) == len(set(opened))  # each once
    small = put_many(tmp_path / "small", 20)
    assert read_manifest(tmp_path / "small").files == small.files
    assert not (tmp_path / "small" / entries.FOLDER).exists()


@pytest.mark.parametrize("harm", ["gone", "altered", "another's"])
def test_a_part_that_is_not_as_the_manifest_says_is_refused_by_name(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_INLINE", 50)
    put_many(tmp_path, 40)
    (path,) = (tmp_path / entries.FOLDER).glob("files-removed-*")
    if harm == "gone":
        path.unlink()
    elif harm == "altered":
        path.write_bytes(path.read_bytes().replace(b"removed-00001", b"removed-00009"))
    else:
        (other,) = (tmp_path / entries.FOLDER).glob("files-documents-ids-*")
        path.write_bytes(other.read_bytes())
    found = read_manifest(tmp_path)
    assert len(found.named("documents")) == 14
    with pytest.raises(IntegrityError, match="files-removed-"):
        found.named("removed")


def test_a_part_may_not_name_files_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_INLINE", 0)
    files = [replace(many_files(1)[0], path="../../etc/passwd")]
    put_manifest(Manifest(tmp_path, "s", "id", {}, files, [], None, {}))
    with pytest.raises(IntegrityError, match="no path inside"):
        read_manifest(tmp_path).named("documents")


def test_a_run_with_lists_in_parts_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities, files, resuming, `verify` and `gc` do not depend on where the lists lie."""
    plan = corpus(tmp_path)
    whole = run_plan(plan, tmp_path / "whole", INLINE, QUIET)
    monkeypatch.setattr(entries, "MOST_INLINE", 2)
    parted = run_plan(plan, tmp_path / "parted", INLINE, QUIET)
    for name, manifest in whole.manifests.items():
        other = parted.manifests[name]
        assert other.identity == manifest.identity and other.content_digest == manifest.content_digest
        assert list(other.files) == list(manifest.files)
    assert any(isinstance(manifest.files, Entries) for manifest in parted.manifests.values())
    assert {state.state for state in states(plan, tmp_path / "parted")} == {"done"}
    assert list(verify(tmp_path / "parted")) == [] and collect(tmp_path / "parted") == []
    assert run_plan(plan, tmp_path / "parted", INLINE, QUIET).ran == []
    (step,) = (tmp_path / "parted").glob("steps/filter-*")
    next((step / entries.FOLDER).glob("files-*")).unlink()
    (finding,) = verify(tmp_path / "parted")
    assert finding.path == str(step) and "is missing" in finding.problem


def shuffled_records(count: int) -> list[TaskRecord]:
    made = [record("filter", n, books(10 + n, 5, 2), "ab"[n % 2]) for n in range(count)]
    for n, one in enumerate(made):
        one.extra |= {"bounded": [f"{n:032x}", f"{n + 7:032x}"]}
        one.extra["clusters"] = [
            {"cluster_id": f"{k:032x}", "hash": k * 37 % 101, "size": 9, "members": [{"id": f"{n}-{k}"}]}
            for k in range(n % 5, n % 5 + 4)
        ]
    random.Random(5).shuffle(made)
    return made


def test_a_summary_is_the_same_whatever_order_the_records_came_in_and_reads_as_their_sum(
    tmp_path: Path,
) -> None:
    one, other = shuffled_records(40), sorted(shuffled_records(40), key=lambda found: found.task)
    totals = add_up(one, set())
    assert body_of(totals) == body_of(add_up(other, set()))
    said = put_summary(tmp_path, totals, one, set())
    assert put_summary(tmp_path, add_up(other, set()), other, set())["sha256"] == said["sha256"]
    found = read_summary(tmp_path, said)
    assert body_of(found) == body_of(totals) and found.times["filter"].num == 40
    assert found.times["filter"].num_stragglers == 1
    assert [task.task for task in found.times["filter"].stragglers] == ["00001"]
    assert found.times["filter"].usual == totals.times["filter"].usual == 2.0


def test_a_summary_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    def size(count: int) -> int:
        made = []
        for n in range(count):
            one = record("filter", n, books(10, 5, 2), "web")
            one.extra["tallies"]["kept.domain"] = {f"site-{n * 300 + k}.example": 1 + k for k in range(300)}
            made.append(one)
        totals = add_up(made, set())
        said = put_summary(tmp_path / str(count), totals, made, set())
        found = read_summary(tmp_path / str(count), said)
        assert len(found.tallies["web"]["kept.domain"]) == min(300 * count, MOST_DOMAINS)
        left = found.left_out.get("web", {}).get("kept.domain", [0, 0])
        assert left[0] == max(0, 300 * count - MOST_DOMAINS)
        assert left[1] + sum(found.tallies["web"]["kept.domain"].values()) == count * 45150
        return (tmp_path / str(count) / said["path"]).stat().st_size

    assert size(80) < 1.1 * size(20)


def test_who_looks_at_a_finished_run_opens_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = corpus(tmp_path)
    run_plan(plan, tmp_path / "out", INLINE, QUIET)
    by_records = _without_summaries(tmp_path / "out", monkeypatch)
    monkeypatch.setattr(reading, "read_record", _refuse)
    monkeypatch.setattr(manifests, "read_records", _refuse)
    view = read_view(tmp_path / "out")
    assert not view.problems and render(view) and read_status(tmp_path / "out")["complete"]
    assert {step.name: body_of(step.totals) for step in view.steps} == by_records


def _without_summaries(out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    with monkeypatch.context() as patch:
        real = reading.read_manifest
        patch.setattr(reading, "read_manifest", lambda folder: replace(real(folder), summary=None))
        return {step.name: body_of(step.totals) for step in read_view(out).steps}


def _refuse(*_: object, **__: object) -> Any:
    raise AssertionError("a record was opened")


def test_documents_that_a_later_phase_wrote_anew_count_once(tmp_path: Path) -> None:
    """Equal ids: the shard that loses some is written again, and what it saw first is left out."""
    plan = corpus(tmp_path, repeats=True)
    manifest = run_plan(plan, tmp_path / "out", INLINE, QUIET).manifests["extract/a"]
    assert manifest.summary is not None and manifest.books is not None
    totals = read_summary(manifest.folder, manifest.summary)
    kept = manifest.books.items_out["kept"]
    assert sum(totals.tallies["a"]["kept.language"].values()) == kept == sum(totals.lengths["a"]["kept"])
    assert list(verify(tmp_path / "out")) == []


def test_a_damaged_summary_is_said_and_the_records_are_read_instead(tmp_path: Path) -> None:
    plan = corpus(tmp_path)
    run_plan(plan, tmp_path / "out", INLINE, QUIET)
    before = {step.name: body_of(step.totals) for step in read_view(tmp_path / "out").steps}
    (path,) = (tmp_path / "out").glob("steps/filter-*/summary-*.json")
    path.write_bytes(path.read_bytes().replace(b'"records":', b'"record5":'))
    view = read_view(tmp_path / "out")
    assert {step.name: body_of(step.totals) for step in view.steps} == before
    (problem,) = view.problems
    assert "was altered" in problem and "its records are read instead" in problem
    (finding,) = verify(tmp_path / "out")
    assert finding.path == str(path)
    path.unlink()
    assert "is missing" in read_view(tmp_path / "out").problems[0]


def test_a_run_of_an_earlier_release_has_no_summaries_and_is_read_by_its_records(tmp_path: Path) -> None:
    view = read_view(write_run(tmp_path))
    assert not view.problems and view.steps[0].totals.num_records == 3
    assert Books.total(view.steps[0].totals.by_source.values()) == view.steps[0].totals.books


class _Ray:
    """What a `Caller` asks of Ray: it keeps the options of each call."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.cloudpickle = self

    def dumps(self, value: object) -> bytes:
        return b""

    def put(self, value: object) -> object:
        return value

    def remote(self, function: object) -> Any:
        def options(**asked: Any) -> Any:
            self.options.append(asked)
            return SimpleNamespace(remote=lambda *_: object())

        return SimpleNamespace(options=options)


def test_calls_on_ray_hold_gpus_where_a_phase_takes_them(tmp_path: Path) -> None:
    ray, task = _Ray(), Task("00000", many_files)
    nodes = SimpleNamespace(
        cpus_for=lambda phase: 1, gpus_for=lambda phase: phase.num_gpus, selector=lambda avoided: None
    )
    for gpus in (0, 0.5):
        phase = Phase("train", [task], num_gpus=gpus)
        Caller(ray, nodes, tmp_path, phase, None, {}).call([Pending(task)])  # type: ignore[arg-type]
    assert [asked.get("num_gpus") for asked in ray.options] == [None, 0.5]


def test_calls_on_ray_carry_the_keys_of_their_shards(tmp_path: Path) -> None:
    ray = _Ray()
    nodes = SimpleNamespace(cpus_for=lambda phase: 1, gpus_for=lambda phase: 0, selector=lambda avoided: None)
    tasks = [Task(f"{number:05d}", many_files) for number in range(3)]
    caller = Caller(ray, nodes, tmp_path / "filter-web-12ab", Phase("filter", tasks), None, {})  # type: ignore[arg-type]
    caller.call([Pending(tasks[0])])
    caller.call([Pending(task) for task in tasks[1:]])
    names = [asked["name"] for asked in ray.options]
    assert names == ["filter-web-12ab:filter:00000", "filter-web-12ab:filter:00001..00002"]
