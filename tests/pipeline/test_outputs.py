"""verify, gc, export, status and plan, on a real run of the first stages."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.cli import main
from tests.support.small_recipe import write_recipe

TEXT_ONLY = {"classify": None, "tokenizer": None, "mix": None}


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    out, err = capfd.readouterr()
    return code if isinstance(code, int) else 0 if code is None else 1, out, err


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    recipe = write_recipe(folder, **{name: value for name, value in TEXT_ONLY.items() if value})
    text = recipe.read_text()
    recipe.write_text(text[: text.index("classify:")])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(folder)
        main(["run", "recipe.yaml", "--out", "out", "--engine", "inline", "--quiet"])
    assert ended.value.code == 0
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    for name in ("web-0.warc.gz", "web-1.warc.gz", "web-2.warc.gz", "prose.jsonl"):
        shutil.copystat(finished / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def test_a_second_run_reuses_every_step_in_under_three_seconds_of_work(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.process_time()  # of this process: the clock would tell how busy the machine is
    code, out, err = run(capfd, "run", "recipe.yaml", "--out", "out")
    assert code == 0 and "0 steps run, 5 reused" in err and "filter/web" in out
    assert time.process_time() - began < 3


def test_a_run_in_which_nothing_ran_leaves_the_report_alone(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "out" / "report.html").write_text("mine")
    assert run(capfd, "run", "recipe.yaml", "--out", "out", "--engine", "inline")[0] == 0
    assert (here / "out" / "report.html").read_text() == "mine"
    (here / "out" / "report.html").unlink()
    assert run(capfd, "run", "recipe.yaml", "--out", "out", "--engine", "inline")[0] == 0
    assert (here / "out" / "report.html").exists()


def test_one_changed_bound_runs_only_what_depends_on_it(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        capfd, "plan", "recipe.yaml", "--out", "out", "--set", "dedup.fuzzy.threshold=0.9", "--json"
    )
    states = {step["step"]: (step["state"], step["because"]) for step in json.loads(out)}
    assert code == 0
    assert {name: state for name, (state, _) in states.items()} == {
        "extract/web": "done",
        "extract/prose": "done",
        "filter/web": "done",
        "dedup-exact": "done",
        "dedup-fuzzy": "stale",
    }
    assert states["dedup-fuzzy"][1] == "changed: settings.fuzzy.threshold"


def test_verify_names_the_file_that_is_off(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, "verify", "out")
    assert code == 0 and out.startswith("all is well: 5 steps")
    victim = sorted(here.glob("out/steps/filter-web-*/data/documents-*.parquet"))[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    code, out, _ = run(capfd, "verify", "out")
    assert code == 1 and victim.name in out and "hashes to" in out
    record = sorted(here.glob("out/steps/extract-web-*/records/extract/*.json"))[0]
    record.write_bytes(record.read_bytes().replace(b'"kept":', b'"kept": '))
    victim.unlink()
    code, out, _ = run(capfd, "verify", "out", "--json")
    assert {Path(finding["path"]).name for finding in json.loads(out)["findings"]} >= {victim.name}


def test_gc_removes_what_no_manifest_names_and_nothing_else(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    step = next(here.glob("out/steps/filter-web-*"))
    (step / ".scratch" / "map-0-dead").mkdir(parents=True)
    (step / "data" / "documents-filter-00000-000000000000.parquet").write_bytes(b"orphan")
    shutil.copytree(step, step.parent / "filter-web-0123456789ab")
    code, out, _ = run(capfd, "gc", "out", "--dry-run")
    assert code == 0 and len(out.splitlines()) >= 3
    assert (step / ".scratch").exists()
    assert run(capfd, "gc", "out")[0] == 0
    assert not (step / ".scratch").exists() and not (step.parent / "filter-web-0123456789ab").exists()
    assert run(capfd, "verify", "out")[0] == 0
    assert run(capfd, "gc", "out")[1] == ""


def test_export_writes_kept_removed_and_failed_rows(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "export", "out")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (
        code == 0
        and {row["source"] for row in rows} == {"web", "prose"}
        and f"{len(rows):,} documents rows" in err
    )
    assert len({row["id"] for row in rows}) == len(rows) and all(len(row["id"]) == 32 for row in rows)
    _, out, _ = run(capfd, "export", "out", "--removed")
    steps = {json.loads(line)["step"] for line in out.splitlines()}
    assert {"extract/web", "filter/web"} <= steps
    assert run(capfd, "export", "out", "--format", "parquet", "--to", "kept.parquet")[0] == 0
    assert pq.read_metadata("kept.parquet").num_rows == len(rows)
    code, _, err = run(capfd, "export", "out", "--format", "csv")
    assert code == 2 and "`--format` is 'csv'" in err


def test_status_counts_and_a_folder_that_is_no_output_says_so(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capfd, "status", "out")
    assert code == 0 and out.rstrip().endswith("complete")
    status = json.loads(run(capfd, "status", "out", "--json")[1])
    assert status["complete"] and [step["state"] for step in status["steps"]] == ["done"] * 5
    (here / "mine").mkdir()
    for verb in ("status", "verify", "gc", "export"):
        code, _, err = run(capfd, verb, "mine")
        assert code == 2 and "`mine` is empty: it holds no run.json" in err
    code, _, err = run(capfd, "status", "out/run.json")
    assert code == 2 and "`out/run.json` is a file: it holds no run.json" in err
    code, _, err = run(capfd, "shards", "info", "out/run.json")
    assert code == 1 and "there is no shard manifest" in err
    code, _, err = run(capfd, "shards", "info", "out")
    assert code == 2 and "`out` holds no finished step `mix`" in err
    code, _, err = run(capfd, "trace", str(here / "00000.bin"), "3")
    assert code == 2 and "lies in no output folder of gristmill" in err
    code, _, err = run(capfd, "status", "nowhere")
    assert code == 2 and "`nowhere` does not exist" in err


def test_a_recipe_names_the_sources_inside_an_output_folder(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The folder's own name in the recipe stands for all of them, except where a mixture needs to know
    which."""
    recipe = (
        "name: again\nsources:\n  mine: {inputs: out}\ntokenizer: {vocab_size: 400}\nmix: {proportions:"
        " {SOURCE: 1.0}}\n"
    )
    for source, code in (("prose", 0), ("mine", 2), ("wiki", 2)):
        (here / "again.yaml").write_text(recipe.replace("SOURCE", source))
        ended, out, err = run(capfd, "plan", "again.yaml", "--out", "again", "--json")
        assert ended == code
        if code:
            assert f"`mix.proportions` names the source `{source}`, the recipe has web, prose" in err
        else:
            assert [step["step"] for step in json.loads(out)][-2:] == ["encode/prose", "mix"]
    assert "`mine` is an output folder with several sources" not in err


@pytest.mark.parametrize(
    "said", ["filter --preset gopher", "dedup --mode mark", "dedup --stages exact", "extract --text body"]
)
def test_what_a_recipe_says_itself_is_refused_beside_one(
    here: Path, capfd: pytest.CaptureFixture[str], said: str
) -> None:
    verb, option, value = said.split()
    code, _, err = run(capfd, verb, "recipe.yaml", option, value)
    assert code == 2 and f"`{option}` is for plain files, and a recipe was given" in err


def test_an_output_of_one_verb_is_the_input_of_the_next(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = run(capfd, "dedup", "out", "--out", "again", "--engine", "inline", "--quiet")
    assert code == 0
    first, second = (json.loads(run(capfd, "export", name)[1].splitlines()[0]) for name in ("out", "again"))
    assert first == second
