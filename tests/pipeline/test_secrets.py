"""No secret of a recipe's inputs or output reaches a file, a message or the list of processes."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from gristmill.pipeline.cli import main
from tests.support.cluster import ROOT, add_node, cluster
from tests.support.small_recipe import pages, write_warc

pytestmark = pytest.mark.filterwarnings("default")  # of the client's sessions

SIGNATURE, TOKEN, PASSWORD, HEADER = (
    f"canary{name}0123456789abcdef" for name in ("Sig", "Tok", "Pwd", "Hdr")
)
SECRETS = (SIGNATURE, TOKEN, PASSWORD, HEADER)


class Presigned:
    """Files behind URLs that a signature opens, on loopback."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.refuses = False
        self.reads_refused: set[str] = set()  # of files that may be asked about
        presigned = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                data = files.get(url.path)
                signed = parse_qs(url.query).get("X-Amz-Signature") == [SIGNATURE]
                reads = self.command == "GET" and url.path in presigned.reads_refused
                if reads or presigned.refuses or not signed or self.headers.get("X-Key") != HEADER:
                    self._answer(403, f"<Error>{self.path}</Error>".encode())
                elif data is None:
                    self._answer(404, b"")
                elif found := self.headers.get("Range"):
                    start, end = (int(part) for part in found.removeprefix("bytes=").split("-"))
                    self._answer(206, data[start : end + 1], f"bytes {start}-{end}/{len(data)}")
                else:
                    self._answer(200, data)

            do_HEAD = do_GET

            def _answer(self, status: int, data: bytes, content_range: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("ETag", '"1"')
                if content_range:
                    self.send_header("Content-Range", content_range)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def url(self, name: str) -> str:
        query = (
            f"X-Amz-Credential=AKIA{TOKEN}&X-Amz-Signature={SIGNATURE}&X-Amz-Security-Token={TOKEN}&part=1"
        )
        return f"http://{self.host}/{name}?{query}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def presigned(tmp_path: Path) -> Iterator[Presigned]:
    write_warc(tmp_path / "w.warc.gz", pages([("a", "A mill grinds wheat. " * 40)])[:3])
    table = pa.table({"text": ["The first text is here.", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "The first text is here."}\nno json\n')
    (tmp_path / "a.csv").write_text("id,text\n1,A text\n1\n")
    (tmp_path / "a.txt").write_text("A text of its own.")
    names = ("w.warc.gz", "a.jsonl", "a.csv", "a.txt", "a.parquet", "a.arrow")
    server = Presigned({f"/{name}": (tmp_path / name).read_bytes() for name in names})
    yield server
    server.close()


@contextlib.contextmanager
def processes_seen() -> Iterator[set[str]]:
    """Collect the command lines of this machine's processes while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes().decode("utf-8", "replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def said(*arguments: str) -> tuple[object, str]:
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    err = io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
    out.flush()
    return code, out.buffer.getvalue().decode("utf-8", "replace") + err.getvalue()  # type: ignore[attr-defined]


def holds_none(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text], text[:3000]


def files_hold_none(out: Path) -> None:
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        holds_none(path.read_bytes().decode("latin-1"))
        if path.suffix == ".parquet" and ".scratch" not in path.parts:  # where a stopped attempt wrote
            holds_none(str(pq.read_table(path).to_pylist()))


def write_recipe(folder: Path, presigned: Presigned, **more: Any) -> None:
    access = {"storage_options": {"headers": {"X-Key": HEADER}}, "request_attempts": 1}
    sources = {
        "w": {"inputs": [presigned.url("w.warc.gz")], **access},
        **{
            name: {"inputs": [presigned.url(f"a.{name}")], **access}
            for name in ("jsonl", "csv", "txt", "parquet", "arrow")
        },
    }
    recipe = {
        "name": "signed",
        "sources": sources,
        "filter": {"presets": []},
        "limits": {"failed_fraction": 0.5},
        "engine": {"kind": "inline", "retries": 0},
        **more,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


@pytest.mark.slow
def test_a_run_over_presigned_urls_leaves_no_secret_anywhere(
    presigned: Presigned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, presigned)
    run = ("run", "recipe.yaml", "--out", "out")
    with processes_seen() as seen:
        code, text = said(*run)
    assert code == 0, text
    holds_none(text)
    holds_none("\n".join(seen))
    files_hold_none(tmp_path / "out")
    assert (tmp_path / "out/report.html").exists()
    for verb in (
        ("plan", "recipe.yaml", "--out", "out"), ("status", "out", "--json"), ("export", "out"),
        ("export", "out", "--failed"), ("inspect", "out"), ("verify", "out"),
    ):  # fmt: skip
        code, text = said(*verb)
        assert code == 0, text
        holds_none(text)


def test_a_run_that_is_refused_says_so_without_a_secret(
    presigned: Presigned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, presigned)
    code, text = said("run", "recipe.yaml", "--out", "first")
    assert code == 0, text
    presigned.refuses = True
    code, text = said("run", "recipe.yaml", "--out", "out")
    assert code in (1, 2) and presigned.host in text
    holds_none(text)
    code, text = said("run", "recipe.yaml", "--out", "out", "--set", "sources.w.inputs=[3]")
    assert code == 2
    holds_none(text)
    for path in (tmp_path / "out", tmp_path / "first"):
        files_hold_none(path)


def test_a_fault_between_planning_and_reading_goes_to_quarantine_without_a_secret(
    presigned: Presigned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.pipeline.run import runner

    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, presigned)
    check_folder = runner.check_folder

    def refusing(*arguments: Any) -> None:
        check_folder(*arguments)
        presigned.refuses = True

    monkeypatch.setattr(runner, "check_folder", refusing)
    code, text = said("run", "recipe.yaml", "--out", "out")
    assert code == 1 and "failed on every attempt" in text
    holds_none(text)
    assert list((tmp_path / "out").glob("steps/*/quarantine/*.txt"))
    files_hold_none(tmp_path / "out")


@pytest.mark.slow
def test_rays_logs_and_the_processes_of_two_nodes_hold_no_secret(
    presigned: Presigned, tmp_path: Path
) -> None:
    """A run that reads all, and one whose tasks are refused what was there when it was planned."""
    write_recipe(tmp_path, presigned, engine={"kind": "ray", "retries": 1, "retry_seconds": 0.1})

    def run(out: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", "gristmill.pipeline.cli", "run", "recipe.yaml"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, "--out", out, "--address", made.address], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip

    with cluster() as made, processes_seen() as seen:
        for _ in range(2):
            add_node(made, 2)
        good = run("out")
        assert good.returncode == 0, good.stdout + good.stderr
        presigned.reads_refused = {"/a.txt", "/w.warc.gz"}
        bad = run("refused")
        assert bad.returncode == 1 and "failed on every attempt" in bad.stderr, bad.stdout + bad.stderr
        logs = Path(made.head_node.get_session_dir_path()) / "logs"
    for text in (good.stdout, good.stderr, bad.stdout, bad.stderr, "\n".join(seen)):
        holds_none(text)
    assert any("raylet" in one for one in seen) and list(logs.glob("worker-*"))
    for folder in (logs, tmp_path / "out", tmp_path / "refused"):
        files_hold_none(folder)


@pytest.mark.parametrize("scheme", ["http", "s3", "ftp"])
def test_a_password_before_a_host_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"{scheme}://user:{PASSWORD}@host.example/a.jsonl"
    recipe = {"name": "signed", "sources": {"a": {"inputs": [url]}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for arguments in (
        ("run", "recipe.yaml", "--out", "out"), ("plan", "recipe.yaml"), ("extract", url, "--out", "o2"),
        ("run", "recipe.yaml", "--out", f"{scheme}://user:{PASSWORD}@host.example/out"),
        ("verify", f"{scheme}://user:{PASSWORD}@host.example/out"),
    ):  # fmt: skip
        code, text = said(*arguments)
        assert code in (1, 2), text
        holds_none(text)
    files_hold_none(tmp_path / "out")
