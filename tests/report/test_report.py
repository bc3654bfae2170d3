"""The report says what the ledger says, for finished, unfinished, failed, empty and older runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gristmill.errors import UsageError
from gristmill.files.sealed import seal_json
from gristmill.manifest import put_manifest, read_manifest
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.report.follow import followed
from gristmill.pipeline.report.page import render, write_report
from tests.support.run_folders import RULES, books, record, write_run, write_run_file, write_step


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    loaded: dict[str, object] = json.loads(found.group(1))
    return loaded


def test_the_funnel_equals_the_ledger(tmp_path: Path) -> None:
    write_run(tmp_path, num_shards=3, per_shard=100)
    view = read_view(tmp_path)
    funnel = build_funnel(view)
    extract, filtered = (step.manifest for step in view.steps)
    assert extract and filtered and extract.books and filtered.books
    assert funnel.records == extract.books.items_in == 300
    assert [level.documents for level in funnel.levels] == [
        extract.books.items_out["kept"],
        filtered.books.items_out["kept"],
    ]
    assert funnel.text_bytes == filtered.books.bytes_out["kept"]
    assert funnel.levels[1].by_rule_first == filtered.books.by_rule_first
    assert funnel.levels[1].by_rule_any == filtered.books.by_rule_any


def test_every_number_of_the_ledger_stands_on_the_page(tmp_path: Path) -> None:
    write_run(tmp_path, num_shards=7, per_shard=1234)
    view = read_view(tmp_path)
    page = render(view)
    for step in view.steps:
        assert step.manifest and step.manifest.books
        ledger = step.manifest.books
        for number in (
            ledger.items_out["kept"],
            *ledger.by_rule_first.values(),
            *ledger.by_rule_any.values(),
            *ledger.by_error.values(),
        ):
            assert f">{number:,}<" in page


def test_samples_of_all_shards_are_those_with_the_smallest_hashes(tmp_path: Path) -> None:
    write_run(tmp_path, num_shards=5)
    (step,) = read_view(tmp_path).of_stage("filter")
    hashes = [sample["hash"] for sample in step.totals.samples["kept"]]
    every = sorted(
        (number * 2654435761) % (1 << 63)
        for shard in range(5)
        for number in range(shard * 100, shard * 100 + 8)
    )
    assert hashes == every[:8]


def test_what_a_later_phase_wrote_anew_is_counted_once(tmp_path: Path) -> None:
    first = record("extract", 0, books(90, 0, 10), "web")
    again = record("once", 0, books(0, 0, 0), "web")
    again.books.items_out.update(kept=-2, removed=2)  # type: ignore[union-attr]
    again.books.by_rule_first["input.repeated_record"] = 2  # type: ignore[union-attr]
    again.extra["tallies"]["kept.language"] = {"en": 88}
    folder = write_step(tmp_path, "extract/web", "extract", [first, again], finished=False)
    write_step(
        tmp_path, "extract/web", "extract", [again]
    )  # the manifest names the second phase's documents only
    manifest_path = tmp_path / folder / "manifest.json"
    envelope = json.loads(manifest_path.read_text())
    entry = {"phase": "extract", "task": "00000", "path": "records/extract/00000.json", "sha256": "0" * 64}
    envelope["body"]["records"].insert(0, entry)
    changed = replace(read_manifest(tmp_path / folder), records=envelope["body"]["records"])
    manifest_path.unlink()
    put_manifest(changed)
    write_run_file(tmp_path, {"extract/web": folder}, ["extract/web"])
    totals = read_view(tmp_path).steps[0].totals
    assert totals.tallies["web"]["kept.language"] == {"en": 88}
    assert totals.books.items_out["kept"] == 88


def test_an_unfinished_run_says_how_far_it_came(tmp_path: Path) -> None:
    records = [record("extract", number, books(95, 0, 5), "web") for number in range(2)]
    write_step(tmp_path, "extract/web", "extract", records, finished=False)
    write_run_file(tmp_path, {}, ["extract/web", "filter/web"], complete=False)
    view = read_view(tmp_path)
    assert [step.state for step in view.steps] == ["stopped", "waiting"]
    page = render(view)
    assert "not complete, not running: 0 of 2 steps are done" in page
    assert ">190<" in page


def test_a_failed_run_names_the_shards_and_the_last_line_of_their_tracebacks(tmp_path: Path) -> None:
    folder = write_step(
        tmp_path, "extract/web", "extract", [record("extract", 0, books(95, 0, 5), "web")], finished=False
    )
    quarantine = tmp_path / folder / "quarantine"
    quarantine.mkdir()
    (quarantine / "extract-00001.txt").write_text(
        "Traceback (most recent call last):\n  ...\nValueError: poisoned <b>shard</b>\n"
    )
    write_run_file(tmp_path, {}, ["extract/web"], complete=False)
    page = render(read_view(tmp_path))
    assert "failed at extract/web (1 shards failed)" in page
    assert "ValueError: poisoned &lt;b&gt;shard&lt;/b&gt;" in page


def test_a_run_without_a_record_says_so(tmp_path: Path) -> None:
    write_run_file(tmp_path, {}, ["extract/web"], complete=False)
    assert "Nothing has been read yet; the first step is extract/web." in render(read_view(tmp_path))
    write_run_file(tmp_path, {}, [])
    assert "This run has no steps yet." in render(read_view(tmp_path))
    empty = write_step(tmp_path, "extract/web", "extract", [record("extract", 0, books(0, 0, 0), "web")])
    write_run_file(tmp_path, {"extract/web": empty}, ["extract/web"])
    assert "The inputs held no records" in render(read_view(tmp_path))


def test_older_and_damaged_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**run, "format": 0}))
    folder = tmp_path / run["steps"][1]["folder"]
    (folder / "records/filter/00001.json").write_bytes(seal_json({"format": 0}, {})[1])
    (folder / "records/filter/00002.json").write_text('{"body": {"for')
    page = render(read_view(tmp_path))
    assert "run.json has format 0, this version reads format 1" in page
    assert "the record `filter/00001.json` has format 0, not 1" in page
    assert "records/filter/00002.json` is not a whole record" in page
    assert ">285<" in page  # extraction is whole

    (folder / "manifest.json").write_text("{}")
    (tmp_path / "run.json").write_text("{")
    page = render(read_view(tmp_path))
    assert "is damaged" in page
    assert ">285<" in page


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is empty: it holds no run\.json"):
        write_report(tmp_path)


def test_the_report_replaces_itself_whole(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = write_report(tmp_path)
    first = path.read_text()
    assert write_report(tmp_path) == path
    assert first.endswith("</html>\n")
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".aside")] == []


def test_a_living_run_has_its_report_rewritten_and_a_failing_report_ends_no_run(tmp_path: Path) -> None:
    said: list[str] = []
    with followed(tmp_path, said.append, every_seconds=0.02):
        write_run(tmp_path)
        deadline = time.monotonic() + 90
        while not (tmp_path / "report.html").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "report.html").exists()
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    with followed(tmp_path, said.append):
        pass
    assert said and said[-1].startswith("  the report could not be written")


def test_the_page_stays_small_however_long_the_samples(tmp_path: Path) -> None:
    records = []
    for number in range(3):
        one = record("filter", number, books(60, 30, 0), "web")
        for rule in range(150):
            one.samples[f"rule-{rule}"] = [
                {"hash": n, "id": f"{n:032x}", "text": "字" * 1200} for n in range(8)
            ]
        records.append(one)
    folder = write_step(tmp_path, "filter/web", "filter", records)
    write_run_file(tmp_path, {"filter/web": folder}, ["filter/web"])
    page = render(read_view(tmp_path))
    assert len(page.encode()) < 5_000_000
    groups = data_of(page)["samples"]
    assert isinstance(groups, dict) and len(groups["rule-149"]["samples"]) == 8
    assert re.search(r"Texts are cut at [\d,]+ characters", page)


def test_the_largest_cut_of_a_rule_is_drawn_inside_its_chart(tmp_path: Path) -> None:
    page = render(read_view(write_run(tmp_path)))
    for rule in RULES:
        assert f"{rule}: kept and removed" in page
    places = [float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*class="cut"', page)]
    assert len(places) == 2
    assert all(0 < x < 360 for x in places)


@pytest.mark.slow
def test_a_thousand_shards_of_ten_million_documents_take_under_thirty_seconds_and_a_gigabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds of CPU on one core: others may be busy on the machine that tests."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # writing them is not what is measured
    write_run(tmp_path, num_shards=1000, per_shard=10_000, num_rules=40)
    code = (
        "import sys, time; from pathlib import Path; from gristmill.pipeline.run.attempt import peak_bytes;"
        "from gristmill.pipeline.report.page import write_report;began = time.perf_counter();"
        " print(write_report(Path(sys.argv[1])).stat().st_size, time.process_time(),time.perf_counter() -"
        " began, peak_bytes())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    size, cpu, wall, peak = map(float, run.stdout.split())
    print(f"{cpu:.1f} s of CPU, {wall:.1f} s in all, {peak / 1e6:.0f} MB, page of {size:,.0f} bytes")
    assert cpu < 30
    assert peak < 1e9
    assert size < 5_000_000


def test_the_n_gram_model_lies_beside_the_transformer_or_alone(tmp_path: Path) -> None:
    heldout = {
        "source": "web",
        "docs": 2,
        "words": 100,
        "bytes": 800,
        "bits": 1234.0,
        "bits_per_byte": 1.5425,
        "perplexity": 5163.0,
    }
    steps = {
        "ngram-heldout": write_step(
            tmp_path, "ngram-heldout", "ngram-heldout", [], extra={"heldout": [heldout]}
        )
    }
    write_run_file(tmp_path, steps, list(steps))
    page = render(read_view(tmp_path))
    assert "n-gram bits per byte" in page and ">1.542<" in page and "bound nothing" in page
    steps["train"] = write_step(tmp_path, "train", "train", [], extra={"parameters": 1000})
    rows = [
        {"event": "eval", "step": 5, "source": name, "docs": 2, "bytes": 800, "bits_per_byte": 1.25}
        for name in ("web", "all")
    ]
    rows += [
        {"event": "task", "step": step, "task": "arc", "kind": "choices", "accuracy": step / 10}
        for step in (0, 5)
    ]
    log = tmp_path / steps["train"] / "train" / "run" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(map(json.dumps, rows)))
    write_run_file(tmp_path, steps, list(steps))
    page = render(read_view(tmp_path))
    assert "of the n-gram model" in page and page.count(">1.542<") == 2
    assert "Accuracy on tasks" in page and "arc choices" in page
