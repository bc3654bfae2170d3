"""Nothing finishes that is not whole: what is read is what was planned, and what is damaged stops the run."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest

from gristmill.errors import IncompleteError, IntegrityError, StaleError, StepFailed
from gristmill.files.sealed import open_sealed
from gristmill.hashing import canonical_json, sha256_json
from gristmill.manifest import Manifest, read_manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.export import export_jsonl
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases import filter as filter_stage
from gristmill.pipeline.phases.recut import recut_plan
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.runner import Plan, run_plan, states
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import InputShard
from gristmill.pipeline.sources.settings import SourceSettings
from tests.support.toy_stage import INLINE, QUIET

TEXTS = [f"document {number} of a small input, with a few words of its own" for number in range(8)]


def write_rows(path: Path, tag: str = "old", texts: list[str] = TEXTS) -> None:
    rows = [
        json.dumps({"id": f"{tag}{number}", "text": f"{tag} {text}"}) for number, text in enumerate(texts)
    ]
    path.write_text("".join(f"{row}\n" for row in rows))


def plan_of(**sections: object) -> Plan:
    recipe = {"name": "whole", "sources": {"a": {"inputs": "a.jsonl"}}, **sections}
    return build_plan(make_recipe(recipe))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "a.jsonl")
    return tmp_path


def test_an_input_replaced_after_planning_is_not_read_under_the_old_identity(here: Path) -> None:
    plan = plan_of()
    shutil.copy2("a.jsonl", "a.old")
    write_rows(here / "new.jsonl", "new")
    Path("new.jsonl").replace("a.jsonl")
    with pytest.raises(StepFailed, match="an input changed since the run was planned"):
        run_plan(plan, here / "out", INLINE, QUIET)
    shutil.copy2("a.old", "a.jsonl")
    assert states(plan_of(), here / "out")[0].state == "to run"


def test_an_input_that_appears_after_planning_is_not_read(here: Path) -> None:
    sources = {"a": {"inputs": "*.jsonl"}}
    plan = plan_of(sources=sources)
    write_rows(here / "b.jsonl", "late")
    result = run_plan(plan, here / "out", INLINE, QUIET)
    assert result.manifests["extract/a"].books.items_in == len(TEXTS)  # type: ignore[union-attr]
    assert states(plan_of(sources=sources), here / "out")[0].state == "stale"


@pytest.mark.parametrize("keeps_its_time", [False, True])
def test_an_input_written_to_while_it_is_read_fails_its_task(here: Path, keeps_its_time: bool) -> None:
    settings = SourceSettings(inputs=("a.jsonl",))
    from gristmill.pipeline.sources.plan import plan_shards

    (shard,) = plan_shards(settings, 1 << 20)
    assert isinstance(shard, InputShard)
    records = read_records(shard, settings)
    next(records)
    status = Path("a.jsonl").stat()
    with Path("a.jsonl").open("r+b") as file:
        file.write(b'{"id": "x')
    if keeps_its_time:
        os.utime("a.jsonl", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(Exception, match="an input changed since the run was planned"):
        list(records)


def test_a_rule_edited_while_the_run_is_at_work_stops_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rules.py").write_text("def f(text): return 0\n")
    sections = {"filter": {"presets": [], "rules": [{"function": "rules.py:f", "max": 0.5}]}}
    plan = plan_of(**sections)
    Path("rules.py").write_text("def f(text): return 1\n")
    with pytest.raises(StaleError, match=r"rules.py` changed while the run was at work"):
        run_plan(plan, here / "out", INLINE, QUIET)
    Path("rules.py").write_text("def f(text): return 0\n")
    assert [state.state for state in states(plan_of(**sections), here / "out")] == ["done", "to run"]

    load = filter_stage.compile_filters

    def edited(*arguments: object) -> object:
        """Somebody edits the rule for as long as a task loads it."""
        Path("rules.py").write_text("def f(text): return 1\n")
        filters = load(*arguments)  # type: ignore[arg-type]
        Path("rules.py").write_text("def f(text): return 0\n")
        return filters

    plan = plan_of(**sections)
    monkeypatch.setattr(filter_stage, "compile_filters", edited)
    with pytest.raises(StepFailed, match=r"rules.py` was touched while a task used it"):
        run_plan(plan, here / "out", INLINE, QUIET)


def test_a_flipped_bit_in_a_finished_step_stops_the_step_that_reads_it(here: Path) -> None:
    run_plan(plan_of(), here / "out", INLINE, QUIET)
    (documents,) = here.glob("out/steps/extract-a-*/data/documents-*.parquet")
    data = bytearray(documents.read_bytes())
    data[len(data) // 3] ^= 4
    documents.write_bytes(data)
    with pytest.raises(StepFailed, match="is damaged") as caught:
        run_plan(plan_of(filter={"presets": []}), here / "out", INLINE, QUIET)
    assert caught.value.hint and f"rm -r {documents.parent.parent}" in caught.value.hint


def test_a_missing_file_of_a_finished_step_is_said_before_the_next_one_begins(here: Path) -> None:
    run_plan(plan_of(), here / "out", INLINE, QUIET)
    (documents,) = here.glob("out/steps/extract-a-*/data/documents-*.parquet")
    documents.unlink()
    with pytest.raises(IntegrityError, match=r"step `extract/a` is not whole: .* is missing") as caught:
        run_plan(plan_of(filter={"presets": []}), here / "out", INLINE, QUIET)
    assert not list(here.glob("out/steps/filter-*"))
    command = (caught.value.hint or "").partition("`")[2].partition("`")[0]
    shutil.rmtree(command.removeprefix("rm -r "))
    run_plan(plan_of(filter={"presets": []}), here / "out", INLINE, QUIET)
    assert list(verify(here / "out")) == []


def resign(path: Path, **changes: object) -> None:
    data = json.loads(path.read_bytes())
    data["body"].update(changes)
    data["sha256"] = sha256_json(data["body"])
    path.write_bytes(canonical_json(data) + b"\n")


def test_verify_compares_records_identities_and_inputs_with_what_names_them(here: Path) -> None:
    run_plan(plan_of(filter={"presets": []}), here / "out", INLINE, QUIET)
    assert list(verify(here / "out")) == []
    (record,) = here.glob("out/steps/extract-a-*/records/extract/00000.json")
    whole = record.read_bytes()
    resign(record, counts={"pages": 123_456})
    (finding,) = verify(here / "out")
    assert finding.path == str(record) and "its manifest says" in finding.problem
    resign(record, samples={"kept": 1})  # not of a record's shape
    (finding,) = verify(here / "out")
    assert finding.path == str(record) and "its manifest says" in finding.problem
    record.write_bytes(whole)
    (manifest,) = here.glob("out/steps/filter-a-*/manifest.json")
    facts = json.loads(manifest.read_bytes())["body"]["ingredients"]
    resign(manifest, ingredients={**facts, "inputs": {"extract/a": "0" * 64}})
    problems = [finding.problem for finding in verify(here / "out")]
    assert any("its ingredients hash to" in problem for problem in problems)
    assert any("was made from a `extract/a` of digest 000000000000" in problem for problem in problems)
    resign(manifest, ingredients=facts, identity="f" * 64)
    problems = [finding.problem for finding in verify(here / "out")]
    assert any("its folder is another's" in problem for problem in problems)
    assert any("run.json names" in problem for problem in problems)


def test_a_failed_run_hands_nothing_on_unless_what_is_there_is_asked_for(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("rules.py").write_text("def f(text): return int('no number')\n")
    filtered = {"filter": {"presets": [], "rules": [{"function": "rules.py:f", "max": 0.5}]}}
    with pytest.raises(StepFailed):
        run_plan(plan_of(**filtered), here / "out", INLINE, QUIET)
    said = r"`.*out` is not complete: the step `filter/a` has not been run"
    with pytest.raises(IncompleteError, match=said) as caught:
        export_jsonl(here / "out", "documents", io.BytesIO())
    assert caught.value.hint and "`--partial`" in caught.value.hint
    assert export_jsonl(here / "out", "failed", io.BytesIO()) == 0
    assert export_jsonl(here / "out", "documents", io.BytesIO(), partial=True) == len(TEXTS)
    assert "what follows stands as of `extract/a`" in capfd.readouterr().err
    again = {"inputs": str(here / "out")}
    with pytest.raises(IncompleteError, match=said) as caught:
        plan_of(sources={"b": again})
    assert caught.value.hint and "`partial: true`" in caught.value.hint
    assert [step.name for step in plan_of(sources={"b": {**again, "partial": True}}).steps] == ["adopt/a"]


def test_what_a_filter_lost_whole_is_not_taken_for_what_it_kept(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of `a` a file is lost, of `b` all there is: nothing decided on these, so nothing hands them on."""
    Path("rules.py").write_text("def f(text): return int('poison' not in text) or int('no number')\n")
    write_rows(here / "b.jsonl", "poison")
    write_rows(here / "c.jsonl", "poison")
    recipe = {
        "sources": {"a": {"inputs": ["a.jsonl", "b.jsonl"]}, "b": {"inputs": "c.jsonl"}},
        "filter": {"presets": [], "rules": [{"function": "rules.py:f", "min": 1}]},
        "dedup": {"exact": {}},
        "limits": {"quarantined_shards": 4},
        "shard_bytes": Path("a.jsonl").stat().st_size,
    }
    run_plan(plan_of(**recipe), here / "out", INLINE, QUIET)
    exported = io.BytesIO()
    assert export_jsonl(here / "out", "documents", exported, partial=True) == len(TEXTS)
    assert b"poison" not in exported.getvalue()
    kept = [(level.name, level.documents) for level in build_funnel(read_view(here / "out")).levels]
    assert kept == [("extracted", 3 * len(TEXTS)), ("filtered", len(TEXTS)), ("exact dedup", len(TEXTS))]
    with pytest.raises(IncompleteError, match=r"the step `filter/a` of `.*` is incomplete: lost 1 task"):
        recut_plan(here / "out", lambda piece: piece)
    assert len(recut_plan(here / "out", lambda piece: piece, partial=True).steps) == 2
    assert "partial: the step `filter/b`" in capfd.readouterr().err
    again = plan_of(sources={"c": {"inputs": str(here / "out"), "partial": True}})
    adopted = run_plan(again, here / "again", INLINE, QUIET).manifests
    assert sum(manifest.rows("documents") for manifest in adopted.values()) == len(TEXTS)


def test_a_run_with_more_failures_than_allowed_says_how_many_of_what(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Path("a.jsonl").open("a") as file:
        file.write("no json\n{}\n{}\n")
    Path("recipe.yaml").write_text("name: lossy\nsources: {a: {inputs: a.jsonl}}\nengine: {kind: inline}\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "recipe.yaml", "--out", "my out", "--quiet"])
    err = capfd.readouterr().err
    assert ended.value.code == 3
    assert "3 of 11 records failed, more than `limits.failed_fraction`" in err
    assert "no_text 2" in err and "inspect 'my out' --failed" in err


def test_a_module_that_a_rule_imports_from_beside_it_is_part_of_the_identity(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own").mkdir()
    monkeypatch.syspath_prepend(str(here / "own"))
    Path("own/rules_here.py").write_text("from helper_here import value\ndef f(text): return value()\n")
    Path("own/helper_here.py").write_text("def value(): return 0\n")
    sections = {"filter": {"presets": [], "rules": [{"function": "own/rules_here.py:f", "max": 0.5}]}}
    kept = run_plan(plan_of(**sections), here / "out", INLINE, QUIET).manifests["filter/a"]
    assert kept.rows("documents") == len(TEXTS)
    Path("own/helper_here.py").write_text("def value(): return 1\n")
    assert [state.state for state in states(plan_of(**sections), here / "out")] == ["done", "stale"]
    removed = run_plan(plan_of(**sections), here / "out", INLINE, QUIET).manifests["filter/a"]
    assert removed.rows("documents") == 0


def test_two_runs_of_a_verb_on_other_inputs_do_not_share_its_own_folder(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_rows(here / "b.jsonl", "other")

    def run(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--engine", "inline", "--quiet"])
        return ended.value.code, capfd.readouterr().err

    assert run("dedup", "a.jsonl", "--stages", "exact")[0] in (0, None)
    code, err = run("dedup", "b.jsonl", "--stages", "exact")
    assert code == 2 and "`out/dedup` holds an earlier run of this verb, on `a.jsonl`" in err
    assert "this one reads `b.jsonl`" in err and "name a folder for this run with `--out`" in err
    code, err = run("dedup", "a.jsonl", "--stages", "exact", "--mode", "mark")
    assert code in (0, None) and "holds an earlier run with other settings (dedup)" in err
    assert run("dedup", "b.jsonl", "--stages", "exact", "--out", "out/b")[0] in (0, None)


def test_a_damaged_step_is_said_before_an_earlier_one_is_begun_anew(here: Path) -> None:
    write_rows(here / "b.jsonl", "b")
    sources = {"a": {"inputs": "a.jsonl"}, "b": {"inputs": "b.jsonl"}}
    run_plan(plan_of(sources=sources), here / "out", INLINE, QUIET)
    write_rows(here / "a.jsonl", "other")  # its extraction has to be run again, which may take hours
    (documents,) = here.glob("out/steps/extract-b-*/data/documents-*.parquet")
    documents.write_bytes(documents.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"step `extract/b` is not whole: .* bytes, its manifest says"):
        run_plan(plan_of(sources=sources, filter={"presets": []}), here / "out", INLINE, QUIET)
    assert len(list(here.glob("out/steps/extract-a-*"))) == 1  # nothing was begun


def test_a_manifest_of_another_step_in_a_steps_folder_is_not_taken_for_it(here: Path) -> None:
    run_plan(plan_of(), here / "out", INLINE, QUIET)
    (manifest,) = here.glob("out/steps/extract-a-*/manifest.json")
    resign(manifest, identity="f" * 64)
    with pytest.raises(IntegrityError, match=r"step `extract/a` is not what its folder says") as caught:
        run_plan(plan_of(), here / "out", INLINE, QUIET)
    assert caught.value.hint and f"rm -r {manifest.parent}" in caught.value.hint


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_bits_of_manifests_records_and_every_kind_of_file_are_found(here: Path, every: int) -> None:
    """At each byte another bit; of files that are hashed whole, at five places."""
    plan = plan_of(filter={"presets": ["gopher"]}, dedup={"exact": {}})
    run_plan(plan, here / "out", INLINE, QUIET)
    (step,) = here.glob("out/steps/filter-a-*")
    for path in (step / "manifest.json", *step.glob("records/*/*.json")):
        whole = path.read_bytes()
        for at in range(every // 2, len(whole), every):
            with pytest.raises(IntegrityError):
                open_sealed(path, _flipped(whole, at))
    kinds = {
        entry.kind: manifest.folder / entry.path for manifest in _steps(here) for entry in manifest.files
    }
    for path in (*kinds.values(), step / "manifest.json", *step.glob("records/*/*.json")):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 2)):
            path.write_bytes(_flipped(whole, at))
            folder = next(parent for parent in path.parents if parent.parent.name == "steps")
            assert any(finding.path in (str(path), str(folder)) for finding in verify(folder)), path
        path.write_bytes(whole)


def _steps(here: Path) -> list[Manifest]:
    return [read_manifest(path.parent) for path in here.glob("out/steps/*/manifest.json")]


def _flipped(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
