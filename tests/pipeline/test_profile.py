"""`run --profile`: where CPU time goes, outside digests, summed by step and shown in the report."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.cli import main
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.report.sections.stages import profile_of
from gristmill.pipeline.run.cpu_profile import KINDS, profiled
from gristmill.text.squeeze import squeeze


def test_each_kind_of_work_is_booked_on_itself(tmp_path: Path) -> None:
    texts = pa.array(["some  words of a text \n" * 2000] * 200, pa.large_string())
    squeeze(texts)  # loads the kernel
    with profiled() as spent:
        squeeze(texts)
        pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", use_dictionary=False)
        pq.read_table(tmp_path / "a.parquet", use_threads=False)
        sum(number * number for number in range(200_000))
        time.sleep(0.05)
    assert set(spent.seconds) == set(KINDS)
    for kind in ("kernel", "writing", "python"):
        assert spent.seconds[kind] > 0, kind
    assert spent.seconds["waiting"] >= 0.04


def test_only_one_profiler_counts(tmp_path: Path) -> None:
    with profiled() as outer:
        with profiled() as inner:
            hashlib.sha256(b"x").digest()
        assert sum(inner.seconds.values()) == 0 or set(inner.seconds) == set(KINDS)
    assert set(outer.seconds) == set(KINDS)


def test_a_profiled_run_tells_by_step_and_writes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(n), "text": f"The mill by the river ground wheat number {n}."} for n in range(50)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text("name: r\nsources: {web: {inputs: a.jsonl}}\ndedup: {exact: {}}\n")
    for out, more in (("plain", []), ("profiled", ["--profile"])):
        with pytest.raises(SystemExit) as ended:
            main(["run", "r.yaml", "--out", out, "--engine", "inline", "--quiet", *more])
        assert not ended.value.code
    plain, profiled_ = (
        sorted((tmp_path / out).glob("steps/*/manifest.json")) for out in ("plain", "profiled")
    )
    assert [path.parent.name for path in plain] == [path.parent.name for path in profiled_]
    for ours, theirs in zip(plain, profiled_, strict=True):
        assert (
            json.loads(ours.read_text())["body"]["files"] == json.loads(theirs.read_text())["body"]["files"]
        )
    for step in read_view(tmp_path / "profiled").steps:
        assert set(profile_of(step)) == set(KINDS)
    for step in read_view(tmp_path / "plain").steps:
        assert not profile_of(step)
    assert "Where CPU time went" in (tmp_path / "profiled" / "report.html").read_text()
    assert "Where CPU time went" not in (tmp_path / "plain" / "report.html").read_text()
