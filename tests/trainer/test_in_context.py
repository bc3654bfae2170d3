"""Shots, positions, sizes and decoding are measured on a model that was trained here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gristmill.errors import UsageError
from gristmill.pipeline.cli import app, register
from gristmill.pipeline.proof.emergence import measure, measure_decoding, write_page
from gristmill.trainer.evaluation import synthetic
from gristmill.trainer.evaluation.in_context import by_position, shots
from gristmill.trainer.train import run
from tests.support.small_tokenizer import write_small_mix


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    mix = write_small_mix(folder / "mix")
    model = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 256}
    how: dict[str, Any] = {
        "shards": str(mix),
        "run": str(folder / "run"),
        "model": model,
        "steps": 3,
        "batch": 2,
    }
    run({**how, "threads": 1, "device": "cpu"})
    return folder / "run"


def test_all_counts_of_shots_are_of_the_same_questions(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [*synthetic.rows("arithmetic", 6), {"prompt": "x" * 2000, "answer": " y"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = shots(trained, file, (0, 1), "Add the numbers.", device="cpu")
    assert [(one["shots"], one["instruction"]) for one in found] == [
        (0, False),
        (1, False),
        (0, True),
        (1, True),
    ]
    assert {(one["rows"] + one["left_out"], one["rows"]) for one in found} == {(7, found[0]["rows"])}
    assert 0 < found[0]["rows"] < 7 and all(one["bits_per_byte"] > 0 for one in found)


def test_a_question_is_never_among_its_own_examples_and_none_that_fits_is_said(
    trained: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = synthetic.rows("arithmetic", 4)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match="4 examples before a question need 5 rows"):
        shots(trained, file, (0, 4), device="cpu")
    file.write_text("".join(json.dumps(row | {"prompt": "x" * 3000}) + "\n" for row in rows))
    with pytest.raises(UsageError, match="no row with 1 examples fits the context of 256"):
        shots(trained, file, (0, 1), device="cpu")


def test_loss_by_position_counts_every_token_once(trained: Path, tmp_path: Path) -> None:
    if not app.registered_commands:
        register()
    file = tmp_path / "texts.jsonl"
    texts = ["return None\n" * 10, "import json", "x = 1\n" * 2000]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    done = CliRunner().invoke(app, ["tasks", "positions", str(trained), str(file), "--device", "cpu"])
    assert done.exit_code == 0 and "1 of 3 texts are longer than the context" in done.output
    found = by_position(trained, file, device="cpu")
    assert [row["from"] for row in found.positions][:4] == [1, 2, 3, 5]
    assert found.positions[0]["tokens"] == 3 and found.positions[-1]["to"] == 256 and found.cut == 1
    assert sum(row["tokens"] for row in found.positions) == sum(n for _, _, n in found.calibration.bins)
    assert f"calibration error {found.calibration.error:.4f}" in done.output


def test_sizes_give_smooth_and_sharp_and_a_page(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in synthetic.rows("arithmetic", 4)))
    (found,) = measure(file, [trained], "cpu")
    assert found["kind"] == "answer" and found["parameters"] > 0 and 0 <= found["smooth"] <= 1
    write_page(tmp_path / "page.html", [found])
    assert "bits per byte of the right answer" in (tmp_path / "page.html").read_text()


def test_decoding_is_measured_by_strategy_and_an_unknown_one_refused(trained: Path, tmp_path: Path) -> None:
    found = measure_decoding(trained, ["import", "def"], "greedy,min-p", 8, None, "cpu")
    assert [one["strategy"] for one in found] == ["greedy", "min-p"]
    assert found[0]["prompts_cut"] == 0
    (cut,) = measure_decoding(trained, ["import " * 300 + "def"], "greedy", 8, None, "cpu")
    (end,) = measure_decoding(trained, ["import " * 200 + "def"], "greedy", 8, None, "cpu")
    assert cut["prompts_cut"] == 1 and {**cut, "prompts_cut": 0} == {**end, "prompts_cut": 0}
    with pytest.raises(UsageError, match="hold no stretch of 50"):
        measure_decoding(trained, ["import"], "greedy", 49, tmp_path, "cpu")
    with pytest.raises(UsageError, match="no decoding `loud`"):
        measure_decoding(trained, ["import"], "loud", 8, None, "cpu")
