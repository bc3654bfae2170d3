"""The quickstart's inputs: enough real text, as a crawl would hold it, and the same bytes every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from gristmill.errors import InputError
from gristmill.pipeline.demo import corpus
from gristmill.pipeline.demo.corpus import build_corpus, read_facts
from gristmill.pipeline.demo.harvest import DemoPassage, read_module
from gristmill.pipeline.demo.pages import DemoPage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, build_corpus(folder, 1)


@pytest.fixture(scope="module")
def records(built: tuple[Path, dict[str, Any]]) -> list[tuple[str, str, str, bytes, str]]:
    """(type, url, status, body, content type) of every record."""
    found = []
    for path in sorted(built[0].glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file):
                http = record.http_headers
                status = http.get_statuscode() if http and record.rec_type == "response" else ""
                kind = http.get_header("Content-Type", "") if http else ""
                url = record.rec_headers.get_header("WARC-Target-URI", "")
                found.append((record.rec_type, url, status, record.content_stream().read(), kind))
    return found


def test_there_are_well_over_a_thousand_pages_on_several_hosts(built: tuple[Path, dict[str, Any]]) -> None:
    assert built[1]["pages"] > 1_000
    assert len(built[1]["hosts"]) == 5


def test_every_response_comes_with_its_request_and_metadata(
    records: list[tuple[str, str, str, bytes, str]],
) -> None:
    counts = Counter(kind for kind, *_ in records)
    assert counts["request"] == counts["response"] == counts["metadata"] > 1_000
    assert counts["warcinfo"] == 8


def test_what_a_crawler_picks_up_besides_is_there(records: list[tuple[str, str, str, bytes, str]]) -> None:
    responses = [record for record in records if record[0] == "response"]
    assert {status for _, _, status, _, _ in responses} == {"200", "301", "404", "500"}
    kinds = {kind for *_, kind in responses}
    assert {
        "text/css",
        "image/png",
        "text/html; charset=iso-8859-1",
        "text/html; charset=windows-1252",
    } <= kinds


def test_pages_decode_in_the_charset_they_name(records: list[tuple[str, str, str, bytes, str]]) -> None:
    for kind, _, _, body, content_type in records:
        if kind == "response" and "charset=" in content_type:
            assert "</html>" in body.decode(content_type.partition("charset=")[2]).lower() or not body


def test_copies_differ_from_their_originals_in_furniture_or_in_little(
    records: list[tuple[str, str, str, bytes, str]],
) -> None:
    pages = {url: body for kind, url, _, body, _ in records if kind == "response"}
    older = [url for url in pages if url.startswith("https://docs.example/2/") and "?" not in url]
    pairs = [(pages[url], pages[url.replace("example/2/", "example/3/")]) for url in older]
    assert len(pairs) > 20
    assert all(old != new for old, new in pairs)


def test_curated_prose_and_code_are_rows_with_text(built: tuple[Path, dict[str, Any]]) -> None:
    for name, least in (("prose.jsonl", 100), ("code.jsonl", 50)):
        rows = [json.loads(line) for line in (built[0] / name).read_bytes().splitlines()]
        assert len(rows) > least
        assert len({row["id"] for row in rows}) == len(rows)
        assert all(row["text"].strip() for row in rows)


def test_a_second_build_leaves_the_files_alone(built: tuple[Path, dict[str, Any]]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in built[0].iterdir()}
    assert build_corpus(built[0], 1) == built[1]
    assert {path.name: path.stat().st_mtime_ns for path in built[0].iterdir()} == before


def test_a_file_that_went_missing_is_made_again(
    built: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DemoPage("https://docs.example/a", b"<html>a</html>")
    monkeypatch.setattr(corpus, "build_pages", lambda seed: [page] * 300)
    monkeypatch.setattr(corpus, "_prose", lambda seed: [DemoPassage("a", "A", "Some text.")])
    folder = built[0].parent / "missing"
    facts = build_corpus(folder, 1)
    (folder / "prose.jsonl").unlink()
    assert build_corpus(folder, 1) == facts == read_facts(folder)
    assert (folder / "prose.jsonl").exists()


def test_a_python_that_documents_nothing_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "build_pages", lambda seed: [])
    with pytest.raises(InputError, match="0 pages only") as caught:
        build_corpus(tmp_path, 1)
    assert "files of your own" in str(caught.value)


def test_a_module_is_read_without_running_it() -> None:
    module = read_module("noisy", '"""Says."""\nraise SystemExit\ndef f(a, *, b=1):\n    """Adds."""\n')
    assert module is not None
    assert [(member.name, member.signature, member.text) for member in module.members] == [
        ("noisy.f", "(a, *, b=1)", "Adds.")
    ]


def test_source_that_is_no_python_has_no_documentation() -> None:
    assert read_module("broken", "def (") is None


@pytest.mark.slow
def test_another_process_with_another_hash_seed_writes_the_same_bytes(
    built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib; from gristmill.pipeline.demo.corpus import build_corpus;"
        " build_corpus(pathlib.Path(sys.argv[1]), 1)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in built[0].iterdir()
    }
