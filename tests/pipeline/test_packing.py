"""What a job takes along, what it names by absolute paths, and how a dead address is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.errors import EngineError, UsageError
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.cluster import packing
from gristmill.pipeline.run.cluster.packing import pack
from gristmill.pipeline.run.cluster.submit import check_job_server

RECIPE = """
name: x
sources:
  web: {inputs: [crawl/*.warc.gz, s3://bucket/more/, '@lists/warc.paths'], columns: layout.yaml}
filter:
  presets: [gopher]
  rules: [{function: 'code/own.py:measure', max: 1}]
  wordlists: [{name: bad, path: lists/bad.txt}]
tokenizer: {path: tokenizer.model}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "code/own.py": "import beside",
        "code/beside.py": "",
        "lists/bad.txt": "bad",
        "lists/warc.paths": "a",
    }
    files |= {"tokenizer.model": "m", "layout.yaml": "text: t", "recipe.yaml": RECIPE, "plain.py": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_job_takes_along_what_the_recipe_names_by_relative_paths(here: Path) -> None:
    packed = pack(Path("recipe.yaml"), [])
    packed.copy_to(here / "job")
    there = sorted(
        str(path.relative_to(here / "job")) for path in (here / "job").rglob("*") if path.is_file()
    )
    assert there == [
        "code/beside.py", "code/own.py", "layout.yaml", "lists/bad.txt", "lists/warc.paths", "plain.py",
        "recipe.yaml", "tokenizer.model",
    ]  # fmt: skip
    inputs = [f"{here}/crawl/*.warc.gz", "s3://bucket/more/", "@lists/warc.paths"]
    assert packed.resolved == [f"sources.web.inputs={json.dumps(inputs)}"]
    goes, stays = packed.told()
    assert "code/own.py" in goes and stays.endswith(f"every node must see: {here}/crawl/*.warc.gz")


def test_what_the_command_line_names_travels_too_and_what_is_absolute_stays(here: Path) -> None:
    model = here / "lid.bin"
    model.write_text("m")
    packed = pack(Path("recipe.yaml"), [f"tokenizer.path={model}", "sources.web.inputs=[mine/*.jsonl]"])
    assert str(model) in packed.seen and "lid.bin" not in packed.travels
    assert packed.resolved == [f'sources.web.inputs=["{here}/mine/*.jsonl"]']


def test_a_model_of_another_run_is_named_by_its_place(here: Path) -> None:
    (here / "quality").mkdir()
    (here / "quality" / "run.json").write_text("{}")
    packed = pack(Path("recipe.yaml"), ["classify.classifier.model=quality"])
    assert (
        f'classify.classifier.model="{here}/quality"' in packed.resolved and "quality" not in packed.travels
    )


def test_a_path_that_leads_outside_is_refused_before_anything_runs(here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "r.yaml").write_text("name: x\nsources: {a: {inputs: /data/a.jsonl}}\n")
    (here / "sub" / "list.txt").write_text("x")
    assert pack(here / "sub" / "r.yaml", []).resolved == []
    with pytest.raises(UsageError, match="outside of the folder that goes with the job"):
        pack(here / "sub" / "r.yaml", [f"filter.wordlists=[{{name: b, path: ../{here.name}/lists/bad.txt}}]"])


def test_more_than_a_job_takes_is_refused_with_the_largest(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_BYTES", 10)
    with pytest.raises(UsageError, match="a job takes 10 along"):
        pack(Path("recipe.yaml"), [])


@pytest.fixture
def locked_server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401 if self.path == "/api/version" else 404)

        def log_message(self, *args: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_cluster_that_wants_a_token_says_so(locked_server: str) -> None:
    with pytest.raises(EngineError, match="wants a token, and ours is not it") as refused:
        check_job_server(locked_server)
    assert "RAY_AUTH_MODE=token" in (refused.value.hint or "")


def test_a_dead_address_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "r.yaml").write_text("name: x\nsources: {a: {inputs: /data/a.jsonl}}\n")
    with pytest.raises(SystemExit) as stopped:
        main(["submit", "r.yaml", "--address", "127.0.0.1:1", "--out", "/data/out"])
    said = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 1
    assert said[-2] == "error: no job server answers at `http://127.0.0.1:1`: [Errno 111] Connection refused"
    assert said[-1].startswith("hint: is the cluster up")
