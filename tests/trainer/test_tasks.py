"""Tasks are scored while a model trains, by any number of ranks, as `evaluate` scores them afterwards."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import InputError, UsageError
from gristmill.trainer.evaluation.evaluate import Scorer, evaluate, token_scores
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.ranks.launch import launch
from gristmill.trainer.ranks.parallel import Group
from gristmill.trainer.train import run
from tests.support.small_tokenizer import write_small_mix

ROWS: dict[str, list[dict[str, Any]]] = {
    "choices": [
        {"prompt": "a", "choices": ["b", "cc", " d"], "answer": 1},
        {"prompt": "", "choices": ["x", "y"], "answer": 0},
    ],
    "texts": [{"text": "import json\n" * 12}, {"text": "one two three"}],
    "answers": [{"prompt": "return ", "answer": "None"}] * 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(folder / f"{name}.jsonl") for name in ROWS}


@pytest.fixture(scope="module")
def how(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    model = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    settings: dict[str, Any] = {
        "shards": str(write_small_mix(folder / "mix")), "run": str(folder / "run"), "model": model,
        "device": "cpu", "dtype": "fp32", "steps": 4, "batch": 4, "threads": 1, "eval_every": 2,
        "tasks": list(files.values()), "micro_batch": 2,
    }  # fmt: skip
    run(settings)
    return settings


def logged(folder: str) -> list[dict[str, Any]]:
    rows = map(json.loads, (Path(folder) / "log.jsonl").read_text().splitlines())
    return [row for row in rows if row["event"] == "task"]


def test_tasks_are_scored_before_at_each_evaluation_and_after(
    how: dict[str, Any], files: dict[str, str]
) -> None:
    rows = logged(how["run"])
    assert sorted({row["step"] for row in rows}) == [0, 2, 4]
    summary = json.loads((Path(how["run"]) / "summary.json").read_text())
    last = {(row["task"], row["kind"]): row for row in rows if row["step"] == 4}
    assert len(summary["tasks"]) == len(last) == 4  # texts have a last word, too
    for name, file in files.items():
        found = evaluate(Path(how["run"]), Path(file), "cpu")
        for kind in {"choices": ["choices"], "texts": ["text", "last_word"], "answers": ["answer"]}[name]:
            for key, value in found[kind].items():
                if key in last[name, kind]:
                    assert last[name, kind][key] == pytest.approx(value, rel=1e-5), (name, key)


def test_a_resumed_run_has_each_result_once(how: dict[str, Any], tmp_path: Path) -> None:
    again = how | {"run": str(tmp_path / "again")}
    run(again | {"steps": 2, "save_every": 2})
    run(again)
    keys = ("step", "task", "kind", "accuracy", "bits_per_byte")
    assert len(logged(again["run"])) == len(logged(how["run"]))
    first, second = ([[row[key] for key in keys] for row in logged(one["run"])] for one in (how, again))
    assert first[:4] == second[:4] and len({tuple(row[:3]) for row in second}) == 12


def test_ranks_share_batches_and_batches_of_one_shape_give_the_same(how: dict[str, Any]) -> None:
    model, _ = load_model(Path(how["run"]), "cpu")
    rows = [[0, *range(1, 3 + 7 * n)] for n in range(6)]
    firsts = [1, 2, 1, 5, 1, 9]
    alone = token_scores(model, rows, firsts)
    shaped = dataclasses.replace(Scorer.of(model), shape=(2, model.config.context))
    sums: list[torch.Tensor] = []

    class Half(Group):
        """One of two ranks; what it would add is kept for the other."""

        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            sums.append(tensor.clone())
            return tensor

    for rank in range(2):
        token_scores(dataclasses.replace(shaped, group=Half(rank, 2, torch.device("cpu"))), rows, firsts)
    nats = (sums[0] + sums[2]).tolist()
    assert nats == pytest.approx([nat for row in alone for nat, _ in row], rel=1e-5)
    assert (sums[1] + sums[3]).tolist() == [float(right) for row in alone for _, right in row]


def test_what_cannot_be_scored_is_refused_before_training(how: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "choices": ["b", ""], "answer": 0}\n')
    (tmp_path / "none.jsonl").write_text("\n")
    other = how | {"run": str(tmp_path / "run")}
    for tasks, said in (
        (["bad.jsonl"], "cannot be scored"), (["none.jsonl"], "has no rows"),
        (["gone.jsonl"], "no such file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            run(other | {"tasks": [str(tmp_path / name) for name in tasks]})
    with pytest.raises(UsageError, match="called bad"):
        run(other | {"tasks": [str(tmp_path / "bad.jsonl"), "elsewhere/bad.jsonl"]})
    with pytest.raises(UsageError, match="must be a list"):
        run(other | {"tasks": "bad.jsonl"})


def test_evaluation_computes_in_the_type_asked_for(how: dict[str, Any], files: dict[str, str]) -> None:
    kinds = {
        dtype: evaluate(Path(how["run"]), Path(files["texts"]), "cpu", dtype) for dtype in ("fp32", "bf16")
    }
    assert kinds["bf16"]["dtype"] == "bfloat16" and kinds["fp32"]["dtype"] == "float32"
    assert kinds["bf16"]["text"]["nats"] == pytest.approx(kinds["fp32"]["text"]["nats"], rel=0.02)
    assert kinds["bf16"]["text"]["nats"] != kinds["fp32"]["text"]["nats"]


@pytest.mark.slow
def test_two_ranks_train_evaluate_and_continue_as_one(
    how: dict[str, Any], files: dict[str, str], tmp_path: Path
) -> None:
    """Sharded weights and replicas: what tasks come to while training, and what `evaluate` and `generate`
    say on two ranks."""
    for kind in ("fsdp", "ddp"):
        config = tmp_path / f"{kind}.json"
        config.write_text(json.dumps(how | {"run": str(tmp_path / kind), "parallel": kind}))
        assert launch([sys.executable, "-m", "gristmill.trainer.train", "--config", str(config)], 2) == 0
        for one, two in zip(logged(how["run"]), logged(str(tmp_path / kind)), strict=True):
            for key, value in one.items():
                assert two[key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
    for verb in (
        ["evaluate", how["run"], files["texts"], "--json"],
        ["generate", how["run"], "a", "a", "b", "--json"],
    ):
        told = []
        for ranks in (1, 2):
            with (tmp_path / f"{verb[0]}-{ranks}").open("w") as output:
                command = [sys.executable, "-m", "gristmill.pipeline.cli", *verb, "--device", "cpu"]
                assert launch(command, ranks, output=output) == 0
            told.append(
                [
                    json.loads(line)
                    for line in (tmp_path / f"{verb[0]}-{ranks}").read_text().splitlines()
                    if line[0] == "{"
                ]
            )
        if verb[0] == "evaluate":
            assert told[0][0]["text"]["nats"] == pytest.approx(told[1][0]["text"]["nats"], rel=1e-5)
        assert len(told[0]) == len(told[1]) and (verb[0] == "evaluate" or told[0] == told[1])
