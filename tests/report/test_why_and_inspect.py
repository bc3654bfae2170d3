"""What became of one document, and reading many: on a real run of extraction, filters and deduplication."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.document import DOCUMENT
from gristmill.errors import UsageError
from gristmill.files.storage import FileEntry
from gristmill.filters.presets import PRESETS
from gristmill.index import url_key, write_index
from gristmill.manifest import Manifest, put_manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.document.event import Event
from gristmill.pipeline.look.document.inplace import cut
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.document.telling import as_json, tell
from gristmill.pipeline.look.documents import Query, count_documents, find_documents
from gristmill.pipeline.look.printing.terminal import Paper
from gristmill.pipeline.look.reader import page
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.inspect_server import make_server
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.chromium import Tab
from tests.support.run_folders import NASTY, write_run_file
from tests.support.small_recipe import pages, recipe, write_warc

SENTENCE = (
    "The miller of the town said that this is the best flour of all, and that we have to be glad of it."
)
WORDS = " ".join(SENTENCE.replace(".", f" in the year {number}.") for number in range(1, 9))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pages: one good, its copy, a short one, one with a line that goes, a nasty one, a missing one."""
    folder = tmp_path_factory.mktemp("why")
    unlike = " ".join(
        f"It was on day {number} that the baker of the next village came to us with {number} loaves."
        for number in range(9)
    )
    call = "Every page of this site asks you to read the paper of the valley on each day of the week."
    texts = {
        "good": f"{WORDS}</p><p>{call}",
        "copy": f"{WORDS}</p><p>{call}",
        "short": "Buy the flour. It is the best of all that we have. Be quick.",
        "edited": (
            f"{unlike}</p><p>this line has no end mark and goes"
            f" away</p><p>{unlike.replace('baker', 'smith')}</p><p>{call}"
        ),
        "nasty": f"{unlike.replace('village', 'valley')} {NASTY.replace(chr(0), '').replace('<', '&lt;')}",
    }
    found = [
        (number, name, f"<html><body><article><h1>{name}</h1><p>{text}</p></article></body></html>", 200)
        for number, (name, text) in enumerate(texts.items())
    ]
    found.append((99, "gone", pages([])[0][2], 404))
    write_warc(folder / "web-0.warc.gz", found[:3])
    write_warc(folder / "web-1.warc.gz", found[3:])
    said = recipe(
        sources={"web": {"inputs": [str(folder / "web-*.warc.gz")]}},
        dedup={"exact": {}, "lines": {}},
        filter={"presets": ["gopher", "c4-code"]},
    )
    later = ("classify", "ngram", "coverage", "tokenizer", "mix")
    plain = {name: value for name, value in said.items() if name not in later}
    plan = build_plan(make_recipe(plain))
    run_plan(plan, folder / "out", EngineSettings(kind="inline"), Progress(quiet=True))
    return folder / "out"


def url(name: str) -> str:
    return f"http://docs.example/{name}"


def test_a_kept_document_tells_its_whole_life(out: Path) -> None:
    life = look_up(out, url("good"))
    assert [event.step for event in life.events] == [
        "extract/web",
        "filter/web",
        "dedup-exact",
        "dedup-lines",
    ]
    assert life.events[0].facts["file"].endswith("web-0.warc.gz") and life.events[0].facts["offset"] == 0
    words = next(rule for rule in life.events[1].rules if rule["rule"] == "gopher.words")
    assert words["value"] > 50 and words["bound"] == "≥ 50, ≤ 100,000" and not words["fails"]
    assert life.verdict == "kept at dedup-lines, the last step that handled it"
    assert look_up(out, life.id or "").events == life.events


def test_a_removed_document_names_rule_value_and_bound(out: Path) -> None:
    life = look_up(out, url("short"))
    assert life.verdict.startswith("removed at filter/web by gopher.words: ")
    assert life.verdict.endswith(" against 50")
    failing = {rule["rule"] for rule in life.events[-1].rules if rule["fails"]}
    assert "gopher.words" in failing


def test_a_copy_names_its_cluster_and_survivor(out: Path) -> None:
    lives = [look_up(out, url(name)) for name in ("good", "copy")]
    removed = next(life for life in lives if life.verdict.startswith("removed at dedup-exact"))
    kept = next(life for life in lives if life is not removed)
    facts = removed.events[-1].facts
    assert facts["survivor_id"] == kept.id and facts["cluster_size"] == 2
    assert facts["survivor"] == kept.url


def test_a_record_that_met_a_gate_names_the_gate(out: Path) -> None:
    assert look_up(out, url("gone")).verdict == "removed at extract/web by extract.status: 404 against 200"


def test_what_was_never_read_is_said_to_be_absent(out: Path) -> None:
    assert (
        look_up(out, "http://nowhere.example/").verdict
        == "not in the input: none of 6 records of web has this URL"
    )
    assert look_up(out, "00" * 16).id is None
    assert look_up(out, "no page says this").id is None
    with pytest.raises(UsageError, match="too short"):
        look_up(out, "a")


def test_a_piece_of_text_finds_what_the_step_that_brought_it_in_removed(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as that of `recut`, whose folder begins with the filter."""
    more = ["--set", "gopher.words.min=50", "--engine", "inline", "-q"]
    with pytest.raises(SystemExit) as ended:
        main(["recut", str(out), "--out", str(tmp_path / "cut"), *more])
    assert ended.value.code == 0
    capsys.readouterr()
    life = look_up(tmp_path / "cut", "Be quick.")
    assert life.verdict.startswith("removed at filter/web by ")


def test_a_piece_of_text_finds_its_document(out: Path) -> None:
    assert look_up(out, "no end mark and goes").url == url("edited")


def test_a_life_fits_the_terminal_and_is_harmless(out: Path) -> None:
    for name in ("good", "short", "edited", "nasty"):
        life = look_up(out, url(name))
        lines = list(tell(life, Paper(colour=False)))
        assert max(map(len, lines)) <= 80
        assert not any(character in "".join(lines) + as_json(life) for character in "\x1b\x00\u202e")
        assert json.loads(as_json(life))["verdict"] == life.verdict


def test_rules_stand_whole_below_their_filter_and_days_are_dates(out: Path) -> None:
    names = [rule.name for name in ("gopher-repetition", "gopher") for rule in PRESETS[name].rules]
    judged = [
        {"rule": name, "value": 0.25, "bound": "≥ 50, ≤ 100,000", "fails": True, "applies": True}
        for name in names
    ]
    judged.append({"rule": "age.day", "value": 20454.0, "bound": "", "fails": True, "applies": True})
    life = look_up(out, url("good"))
    told = list(tell(replace(life, events=[Event("filter", "removed", rules=judged)]), Paper(colour=False)))
    assert max(map(len, told)) <= 80
    for name in names:
        owner, _, rule = name.partition(".")
        assert f"    {owner}" in told and any(
            line.split()[1:2] == [rule] for line in told if line.startswith("    · ")
        )
    assert "2026-01-01" in told[-1]


def test_a_removed_line_is_shown_in_place(out: Path) -> None:
    (shown,) = [found for found in find_documents(out, Query()) if found.row["url"] == url("edited")]
    part = shown.passes[0]
    gone = [piece for piece in part.pieces if piece.kind == "deleted"]
    assert any("this line has no end mark" in piece.text for piece in gone)
    assert "".join(piece.text for piece in shown.passes[-1].pieces if piece.kind != "deleted") == shown.text
    printed = "\n".join(page(shown, Paper(colour=False)))
    assert "[-" in printed and "this line has no end mark and goes away" in printed


def test_a_line_that_two_pages_repeat_is_told_and_shown_where_it_was_cut(out: Path) -> None:
    lives = {name: look_up(out, url(name)) for name in ("good", "copy", "edited")}
    (name,) = [name for name, life in lives.items() if life.events[-1].edits]
    (edit,) = lives[name].events[-1].edits
    assert edit["rule"] == lives[name].events[-1].step == "dedup-lines"
    (shown,) = [found for found in find_documents(out, Query()) if found.row["url"] == url(name)]
    gone = [piece.text for piece in shown.passes[-1].pieces if piece.kind == "deleted"]
    assert len(gone) == 1 and gone[0].strip().startswith("Every page of this site")
    assert f"dedup-lines: bytes {edit['start']:,} to {edit['end']:,}, deleted" in "\n".join(
        tell(lives[name], Paper(colour=False))
    )


def test_edits_are_cut_at_byte_offsets() -> None:
    text = "größe 1 und 2".encode()
    start = text.index(b"1")
    edits = [
        {"start": start, "end": start + 1, "rule": "pii", "replacement": "N"},
        {"start": 0, "end": 8, "rule": "line", "replacement": ""},
    ]
    pieces = list(cut(text, edits))
    assert [(piece.kind, piece.text) for piece in pieces] == [
        ("deleted", "größe "), ("deleted", "1"), ("inserted", "N"), ("same", " und 2"),
    ]  # fmt: skip


def test_queries_narrow(out: Path) -> None:
    def urls(**narrow: str) -> set[str]:
        return {shown.row["url"].rpartition("/")[2] for shown in find_documents(out, Query(**narrow))}  # type: ignore[arg-type]

    assert urls(outlet="removed", rule="gopher.words") == {"short"}
    assert urls(outlet="removed", rule="extract.status") == {"gone"}
    assert urls(text="BAKER") == {"edited"}
    assert urls(domain="docs.example") == urls() == urls(source="web")
    assert urls(domain="example.org") == set()
    assert {"short", "good"} <= urls(near="gopher.words")
    with pytest.raises(UsageError, match=r"no document of this run fails `gopher\.wrods`"):
        urls(outlet="removed", rule="gopher.wrods")
    with pytest.raises(UsageError, match="no source `books`"):
        urls(source="books")


def test_a_nasty_document_is_harmless_in_the_terminal(out: Path) -> None:
    (shown,) = [found for found in find_documents(out, Query("removed")) if found.row["url"] == url("nasty")]
    printed = "\n".join(page(shown, Paper(colour=False)))
    assert "\x1b" not in printed and "\u202e" not in printed


@pytest.fixture
def served(out: Path) -> Iterator[int]:
    server = make_server(out, Query())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_server_answers_this_machine_by_its_own_name_only(served: int) -> None:
    def status(path: str, host: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", served)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    assert status("/", f"127.0.0.1:{served}")[0] == 200
    assert status("/", "evil.example")[0] == 403
    assert status("/../../etc/passwd", f"localhost:{served}")[0] == 404
    assert status("/document?outlet=all", f"localhost:{served}")[0] == 400
    code, body = status("/document?at=0", f"localhost:{served}")
    assert code == 200 and json.loads(body)["document"]["outlet"] == "kept"


def test_the_reader_in_the_browser_turns_pages_and_runs_nothing(tab: Tab, served: int) -> None:
    def until(script: str) -> None:
        deadline = time.monotonic() + 90
        while not tab.run(script):
            assert time.monotonic() < deadline, script
            time.sleep(0.05)

    tab.open(f"http://127.0.0.1:{served}/")
    until("document.getElementById('position').textContent.startsWith('document 1')")
    first = tab.run("document.getElementById('document').innerText")
    tab.press("j")
    until("document.getElementById('position').textContent.startsWith('document 2 of ')")
    assert tab.run("document.getElementById('document').innerText") != first
    tab.run("[...document.querySelectorAll('#document button')].pop().click()")
    until("document.querySelectorAll('#life h3').length > 1")
    for _ in range(3):
        tab.press("j")
        time.sleep(0.1)
    until("document.getElementById('position').textContent.endsWith('the last')")
    assert tab.run("document.title") == "out · documents"
    assert tab.complaints() == []
    assert all(address.startswith((f"http://127.0.0.1:{served}/", "data:")) for address in tab.requests())


@pytest.mark.slow
def test_why_takes_under_a_second_on_a_thousand_shards_of_ten_million_documents(tmp_path: Path) -> None:
    """Extraction and a filter; sidecars are whole, of the data only the shard that holds the document is
    written."""
    rng = np.random.default_rng(1)
    address = "http://x.example/page"
    wanted, row = hashlib.md5(b"wanted").digest(), 1234
    names = {"extract/web": "extract", "filter/web": "filter"}
    steps = {}
    for name, stage in names.items():
        folder = tmp_path / "steps" / f"{name.replace('/', '-')}-{'ab' * 6}"
        files = []
        for shard in range(1000):
            for kind in ("documents", "removed"):
                files.append(FileEntry(kind, f"data/{kind}-{shard:05d}.parquet", "0" * 64, 1, 10_000, "web"))
                for suffix in ("index", "urls") if stage == "extract" else ("index",):
                    path = folder / f"data/{kind}-{shard:05d}.{suffix}"
                    num = 10_000 if kind == "documents" else 500
                    keys = rng.integers(0, 256, (num, 16), np.uint8)
                    if shard == 777 and kind == "documents":
                        keys[row] = np.frombuffer(url_key(address) if suffix == "urls" else wanted, np.uint8)
                    write_index(path, pa.array([bytes(key) for key in keys], pa.binary(16)))
                    files.append(
                        FileEntry(
                            f"{kind}-{suffix}", path.relative_to(folder).as_posix(), "0" * 64, 1, num, "web"
                        )
                    )
        origin = {"file": "a.warc.gz", "offset": 5, "length": 9}
        found = {
            "id": wanted,
            "url": address,
            "source": "web",
            "date": None,
            "text": "words",
            "language": "en",
        }
        rows = [{**found, "language_score": 0.9, "origin": origin}] * 10_000
        pq.write_table(
            pa.Table.from_pylist(rows, DOCUMENT), folder / "data/documents-00777.parquet", row_group_size=2048
        )
        ingredients = {"stage": stage, "version": 1, "seed": 1, "settings": {}, "inputs": {}, "libraries": {}}
        put_manifest(Manifest(folder, name, "ab" * 32, ingredients, files, [], None, {}))
        steps[name] = folder.relative_to(tmp_path).as_posix()
    write_run_file(tmp_path, steps, list(steps))
    for asked in (address, wanted.hex()):
        began, cpu = time.perf_counter(), time.process_time()
        life = look_up(tmp_path, asked)
        print(f"{time.perf_counter() - began:.2f} s, {time.process_time() - cpu:.2f} s of CPU")
        assert life.id == wanted.hex() and len(life.events) == 2
        assert time.process_time() - cpu < 1


def test_a_search_says_how_many_documents_match(out: Path) -> None:
    whole, some = count_documents(out, Query()), count_documents(out, Query(text="the"))
    assert whole and some and some <= whole
    assert count_documents(out, Query(text="never said anywhere")) == 0
    assert len(list(find_documents(out, Query(text="the")))) == some
    assert count_documents(out, Query(outlet="removed")) == len(
        list(find_documents(out, Query(outlet="removed")))
    )
