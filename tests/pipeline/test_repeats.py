"""Records with one id, spread over shards: the first stays, whatever the number of tasks that look for
them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gristmill.index import PAIR, read_range
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases import repeats
from gristmill.pipeline.run.folder import finished_steps


def write_shards(folder: Path, draws: random.Random) -> list[tuple[str, str]]:
    """Write three files of rows whose ids recur within and across them, half of them with the same text;
    return (id, text) of each first occurrence in order."""
    first: dict[tuple[str, str], None] = {}
    for name in ("a", "b", "c"):
        numbers = [draws.randrange(60) for _ in range(40)]
        rows = [(f"id{number}", f"text of {number} in {draws.randrange(2)}") for number in numbers]
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in rows)
        )
        first |= dict.fromkeys(rows)
    return list(first)


def extract(folder: Path, out: str) -> list[str]:
    inputs = [str(folder / f"{name}.jsonl") for name in "abc"]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "extract",
                *inputs,
                "--out",
                str(folder / out),
                "--engine",
                "inline",
                "--quiet",
                "--set",
                "shard_bytes=700",
            ]
        )
    assert not ended.value.code
    (manifest,) = finished_steps(folder / out).values()
    assert manifest.books and manifest.books.items_out["kept"] + manifest.books.items_out["removed"] == 120
    assert not manifest.named("repeats"), "lists of repeats are no output"
    assert not list(verify(folder / out))
    return [text for path in manifest.paths("documents") for text in pq.read_table(path)["text"].to_pylist()]


@pytest.mark.parametrize("ids_per_task", [1 << 23, 7])
def test_the_first_of_equal_ids_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids_per_task: int
) -> None:
    expected = [text for _, text in write_shards(tmp_path, random.Random(3))]
    monkeypatch.setattr(repeats, "_IDS_PER_TASK", ids_per_task)
    assert sorted(extract(tmp_path, "out")) == sorted(expected)


def test_a_range_of_a_sidecar_is_what_a_scan_finds(tmp_path: Path) -> None:
    keys = np.zeros(1000, PAIR)
    keys["high"] = np.sort(np.random.default_rng(5).integers(0, 1 << 64, 1000, dtype=np.uint64))
    keys.tofile(tmp_path / "x.idx")
    for first, end in [
        (0, 1 << 64),
        (0, 1),
        (1 << 62, 3 << 62),
        (int(keys["high"][10]), int(keys["high"][20])),
        (7, 7),
    ]:
        scanned = [key for key in keys["high"].tolist() if first <= key < end]
        assert read_range(tmp_path / "x.idx", first, end)["high"].tolist() == scanned


def test_a_shard_in_quarantine_does_not_shift_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shard fails; what repeats in the second and third is still let go in the right place."""
    from gristmill.pipeline.extract.extraction import Extraction

    write_shards(tmp_path, random.Random(4))
    whole = Extraction.__iter__

    def broken(self: Extraction):  # type: ignore[no-untyped-def]
        if "a.jsonl" in str(self._shard):
            raise OSError("gone")
        return whole(self)

    monkeypatch.setattr(Extraction, "__iter__", broken)
    rows = [
        json.loads(line) for name in "bc" for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()
    ]
    first = dict.fromkeys((row["id"], row["text"]) for row in rows)
    inputs = [str(tmp_path / f"{name}.jsonl") for name in "abc"]
    settings = [
        "--set",
        "shard_bytes=700",
        "--set",
        "limits.quarantined_shards=9",
        "--set",
        "engine.retries=0",
    ]
    with pytest.raises(SystemExit):
        main(["extract", *inputs, "--out", str(tmp_path / "out"), "--engine", "inline", "--quiet", *settings])
    (manifest,) = finished_steps(tmp_path / "out").values()
    assert manifest.lost[0]["task"] == "00000"
    texts = [text for path in manifest.paths("documents") for text in pq.read_table(path)["text"].to_pylist()]
    assert texts == [text for _, text in first]
