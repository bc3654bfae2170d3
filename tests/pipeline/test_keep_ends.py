"""Steps that work in the tasks of the step before them (`keep: ends`): the same bytes, books and answers as
with a file between every two."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from gristmill.errors import StepFailed, UsageError
from gristmill.files.parquet import read_parquet
from gristmill.manifest import Manifest
from gristmill.pipeline.look.collect import collect
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases import filter as filtering
from gristmill.pipeline.phases.adopt import adoptable
from gristmill.pipeline.phases.recut import recut_plan
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run import attempt, execute, onward
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import Plan, run_plan, states
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.small_recipe import write_inputs

INLINE = EngineSettings(kind="inline", retries=0, retry_seconds=0)
QUIET = Progress(quiet=True)
TWICE = {
    "name": "ends",
    "sources": {"web": {"inputs": ["web-*.warc.gz"]}, "prose": {"inputs": ["prose.jsonl"]}},
    "stages": ["filter", {"filter": {"presets": ["c4-code"]}}, "dedup.exact"],
    "filter": {"presets": ["gopher", "fineweb"], "pii": {}},
    "dedup": {"exact": {}},
    "shard_bytes": 30_000,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ends")
    write_inputs(folder)
    return folder


def plan(folder: Path, values: dict[str, Any], **changes: Any) -> Plan:
    sources = {
        name: {**source, "inputs": [str(folder / path) for path in source["inputs"]]}
        for name, source in values["sources"].items()
    }
    return build_plan(make_recipe({**values, "sources": sources, **changes}))


def run(folder: Path, values: dict[str, Any], out: Path, **changes: Any) -> dict[str, Manifest]:
    return run_plan(plan(folder, values, **changes), out, INLINE, QUIET).manifests


def told(manifest: Manifest) -> dict[str, Any]:
    """What a step wrote and counted, but for kept documents."""
    files = [
        (entry.kind, entry.path, entry.sha256, entry.rows)
        for entry in manifest.files
        if entry.kind != "documents"
    ]
    books = manifest.books.as_json() if manifest.books else None
    return {"files": files, "books": books, "extra": {**manifest.extra, "notes": None}}


def same(one: dict[str, Manifest], other: dict[str, Manifest]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert told(one[name]) == told(other[name]), name
        if not other[name].handed_on:
            assert one[name].content_digest == other[name].content_digest, name


def test_ends_have_the_same_bytes_and_inner_steps_the_same_books(inputs: Path, tmp_path: Path) -> None:
    steps = run(inputs, TWICE, tmp_path / "steps")
    ends = run(inputs, TWICE, tmp_path / "ends", keep="ends")
    assert {name: manifest.handed_on for name, manifest in ends.items() if manifest.handed_on} == {
        "extract/web": "filter/web",
        "extract/prose": "filter/prose",
        "filter/web": "filter-2/web",
        "filter/prose": "filter-2/prose",
    }
    same(steps, ends)
    assert not ends["extract/web"].named("documents") and ends["extract/web"].shards()
    assert steps["dedup-exact"].identity == ends["dedup-exact"].identity
    assert [state.state for state in states(plan(inputs, TWICE, keep="ends"), tmp_path / "ends")] == [
        "done"
    ] * len(ends)
    json.dumps(ends["extract/web"].ingredients)


SCORED = {
    "name": "scored",
    "sources": {
        "good": {"inputs": ["prose.jsonl"], "filter": False},
        "bad": {"inputs": ["web-0.warc.gz"]},
        "web": {"inputs": ["web-1.warc.gz", "web-2.warc.gz"], "licence": "cc-by-4.0"},
    },
    "extract": {"extractor": "resiliparse"},
    "rights": {"apply_to": ["web"]},
    "filter": {"presets": ["gopher"]},
    "classify": {
        "positives": ["good"],
        "negatives": ["bad"],
        "apply_to": ["web"],
        "classifier": {"keep": {"rule": "pareto", "alpha": 0.5}},
    },
    "shard_bytes": 20_000,
}


@pytest.mark.slow
def test_rights_filter_and_score_work_in_the_tasks_of_extraction(inputs: Path, tmp_path: Path) -> None:
    steps = run(inputs, SCORED, tmp_path / "steps")
    ends = run(inputs, SCORED, tmp_path / "ends", keep="ends")
    handed = {name: manifest.handed_on for name, manifest in ends.items() if manifest.handed_on}
    assert handed == {
        "extract/bad": "filter/bad",
        "extract/web": "rights/web",
        "rights/web": "filter/web",
        "filter/web": "classify-score/web",
    }
    assert len(ends["extract/web"].shards()) > 2
    same(steps, ends)
    assert not list(verify(tmp_path / "ends"))


def rows(folder: Path) -> dict[str, Any]:
    """A recipe over three files whose ids and texts recur, as ids of their own and as none."""
    draws = random.Random(5)
    said = [text for text in topics.values() if len(text) > 600]
    for name in "abc":
        lines = [{"id": f"id{draws.randrange(60)}", "text": draws.choice(said)[:2000]} for _ in range(40)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        texts = [{"text": f"{text}\n{text}"} for text in (draws.choice(said)[:900] for _ in range(40))]
        (folder / f"plain-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in texts))
    return {
        "name": "rows",
        "sources": {"own": {"inputs": ["?.jsonl"]}, "plain": {"inputs": ["plain-?.jsonl"]}},
        "filter": {"presets": ["gopher-repetition", "c4-code"]},
        "dedup": {"exact": {}},
        "extract": {"language": "off"},
        "shard_bytes": 20_000,
    }


@pytest.mark.slow
def test_shards_with_repeated_records_are_read_twice_and_end_as_ever(tmp_path: Path) -> None:
    values = rows(tmp_path)
    steps = run(tmp_path, values, tmp_path / "steps")
    ends = run(tmp_path, values, tmp_path / "ends", keep="ends")
    same(steps, ends)
    for source in ("own", "plain"):
        head = ends[f"extract/{source}"]
        anew = {entry.path for entry in head.named("documents")}
        assert anew and len(anew) < len(head.shards()), "some shards repeat records, others do not"
        assert any("read twice" in note for note in head.extra["notes"])
        order = [entry.path.rsplit("-", 2)[1] for entry in steps[f"extract/{source}"].named("documents")]
        assert order == sorted(order), "shards stand in the order of the inputs"
    assert steps["dedup-exact"].identity == ends["dedup-exact"].identity
    assert not list(verify(tmp_path / "ends"))


class Killed(BaseException):
    """As a kill: nothing is tidied up but what a finally does."""


class Deadly:
    """Dies at one of many calls: before it where their number is odd, else just after."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def around(self, whole: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self.at and self.at % 2:
                raise Killed
            made = whole(*arguments, **named)
            if self.count == self.at:
                raise Killed
            return made

        return call


def small(folder: Path) -> dict[str, Any]:
    values = rows(folder)
    return {**values, "sources": {"own": values["sources"]["own"]}, "shard_bytes": 40_000}


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.crash)])
def test_a_run_killed_at_any_record_or_manifest_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    values = {name: value for name, value in small(tmp_path).items() if name != "dedup"}
    expected = run(tmp_path, values, tmp_path / "whole", keep="ends")
    same(run(tmp_path, values, tmp_path / "steps"), expected)
    calls = [(attempt, "put_record"), (onward, "put_record"), (onward, "put_if_absent")]
    calls += [(execute, "put_manifest"), (execute, "put_summary")]
    for number in itertools.count(1, step):
        out, deadly = tmp_path / f"killed-{number}", Deadly(number)
        with monkeypatch.context() as patch:
            for module, name in calls:
                patch.setattr(module, name, deadly.around(getattr(module, name)))
            with suppress(Killed):
                run(tmp_path, values, out, keep="ends")
        if deadly.count < number:  # it ended before
            break
        collect(out)
        same(expected, run(tmp_path, values, out, keep="ends"))
        assert not list(verify(out))
        shutil.rmtree(out)
    assert number > 8, "there was something to kill"


def test_a_lost_record_of_the_step_behind_has_its_shard_done_again(tmp_path: Path) -> None:
    values = small(tmp_path)
    expected = run(tmp_path, values, tmp_path / "out", keep="ends")
    folder = expected["filter/own"].folder
    (folder / "manifest.json").unlink()
    record = min((folder / "records" / "filter").iterdir())
    record.unlink()
    again = run_plan(plan(tmp_path, values, keep="ends"), tmp_path / "out", INLINE, QUIET)
    assert again.ran == ["extract/own", "filter/own"]
    same(expected, again.manifests)
    shutil.rmtree(folder)
    same(expected, run(tmp_path, values, tmp_path / "out", keep="ends"))
    shutil.rmtree(expected["extract/own"].folder)
    same(expected, run(tmp_path, values, tmp_path / "out", keep="ends"))
    assert not list(verify(tmp_path / "out"))


def test_a_task_that_fails_is_lost_to_all_steps_and_mended_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = small(tmp_path)
    expected = run(tmp_path, values, tmp_path / "whole", keep="ends")
    out, lossy = tmp_path / "out", {"limits": {"quarantined_shards": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(filtering, "open_filter", _failing(filtering.open_filter))
        with pytest.raises(StepFailed, match="extract/own"):
            run(tmp_path, values, out, keep="ends")
        found = run(tmp_path, values, out, keep="ends", **lossy)
    assert [found[name].lost[0]["task"] for name in ("extract/own", "filter/own")] == ["00001", "00001"]
    report = next((found["extract/own"].folder / "quarantine").iterdir()).read_text()
    assert "while the step `filter/own` worked on what this task hands on" in report
    assert {state.state for state in states(plan(tmp_path, values, keep="ends"), out)} >= {"incomplete"}
    same(expected, run(tmp_path, values, out, keep="ends", **lossy))


def _failing(opened: Any) -> Any:
    def open_filter(attempts: Any, schema: Any) -> Any:
        work = opened(attempts, schema)
        if attempts["filter"].record.task == "00001":
            raise RuntimeError("this shard is poison")
        return work

    open_filter.__module__, open_filter.__qualname__ = opened.__module__, opened.__qualname__
    return open_filter


def test_turned_on_and_off_what_stands_behind_the_chain_stays_done(tmp_path: Path) -> None:
    values, out = small(tmp_path), tmp_path / "out"

    def run_now(**changes: Any) -> list[str]:
        return run_plan(plan(tmp_path, values, **changes), out, INLINE, QUIET).ran

    def told_now(**changes: Any) -> dict[str, tuple[str, str]]:
        found = states(plan(tmp_path, values, **changes), out)
        return {state.step.name: (state.state, state.because) for state in found}

    assert run_now(keep="ends") == ["extract/own", "filter/own", "dedup-exact"]
    assert told_now(keep="ends")["extract/own"] == ("done", "its documents were handed on to filter/own")
    assert run_now(keep="ends") == []
    off = told_now()
    assert off["extract/own"] == ("stale", "its documents were handed on to filter/own and are wanted")
    assert off["filter/own"][0] == "stale"
    assert run_now() == ["extract/own", "filter/own"], "what reads the filtered documents finds the same"
    assert {state for state, _ in told_now(keep="ends").values()} == {"done"}
    assert run_now(keep="ends") == [], "documents that are there are no reason to make them anew"
    changed = {"filter": {"presets": ["c4-code"]}}
    assert run_now(keep="ends", **changed) == ["filter/own", "dedup-exact"]
    assert not list(verify(out))


def test_another_filter_reads_the_source_again(tmp_path: Path) -> None:
    values, out = small(tmp_path), tmp_path / "out"
    run(tmp_path, values, out, keep="ends")
    changed = plan(tmp_path, values, keep="ends", filter={"presets": ["c4-code"]})
    found = {state.step.name: state.state for state in states(changed, out)}
    assert found == {"extract/own": "stale", "filter/own": "stale", "dedup-exact": "stale"}
    again = run_plan(changed, out, INLINE, QUIET)
    assert again.ran[:2] == ["extract/own", "filter/own"]
    same(run(tmp_path, values, tmp_path / "steps", filter={"presets": ["c4-code"]}), again.manifests)


def test_a_document_is_told_of_through_steps_that_wrote_none(inputs: Path, tmp_path: Path) -> None:
    steps = run(inputs, TWICE, tmp_path / "steps")
    run(inputs, TWICE, tmp_path / "ends", keep="ends")
    asked = [steps["dedup-exact"], steps["filter/web"], steps["filter-2/prose"]]
    found = []
    for manifest in asked:
        for kind in ("documents", "removed"):
            for path in manifest.paths(kind)[:2]:
                found += read_parquet(path, columns=["id", "url", "text"]).to_pylist()[:2]
    assert len(found) > 6
    for row in found:
        for name in (row["id"].hex(), row["url"], (row["text"] or "")[40:140]):
            if not name:
                continue
            one, other = (look_up(tmp_path / out, name) for out in ("steps", "ends"))
            if name in (row["text"] or "") and not (one.id and other.id):  # edits took or made this text
                assert other.id or "handed on and not written" in other.verdict
                continue
            assert one.verdict == other.verdict and one.id == other.id
            for before, after in zip(one.events, other.events, strict=True):
                shard = {"shard": after.facts.get("shard")}
                assert {**asdict(before), "facts": before.facts | shard} == asdict(after)


@pytest.mark.slow
def test_verbs_that_want_documents_of_an_inner_step_say_what_writes_them(
    inputs: Path, tmp_path: Path
) -> None:
    ends = run(inputs, TWICE, tmp_path / "ends", keep="ends")
    assert not list(verify(tmp_path / "ends"))
    with pytest.raises(UsageError, match="handed on to `filter-2/web`") as refused:
        adoptable(str(ends["filter/web"].folder), partial=False)
    assert "--set keep=steps" in str(refused.value.hint)
    assert {part.step for part in adoptable(str(tmp_path / "ends"), partial=False)} == {"dedup-exact"}
    bounds = recut_plan(tmp_path / "ends", lambda piece: piece)
    with pytest.raises(UsageError, match="handed on to `filter/web`"):
        run_plan(bounds, tmp_path / "recut", INLINE, QUIET)
    steps = run(inputs, TWICE, tmp_path / "ends")
    recut = run_plan(recut_plan(tmp_path / "ends", lambda piece: piece), tmp_path / "recut", INLINE, QUIET)
    kept = steps["filter-2/web"].books
    again = recut.manifests["filter-2/web"].books
    assert kept and again and kept.items_out == again.items_out


@pytest.mark.slow
def test_on_ray_the_bytes_are_the_same(tmp_path: Path) -> None:
    values = rows(tmp_path)
    ray = EngineSettings(kind="ray", workers=2)
    there = run_plan(plan(tmp_path, values, keep="ends"), tmp_path / "ray", ray, QUIET).manifests
    same(run(tmp_path, values, tmp_path / "steps"), there)
