"""The trainer end to end on one CPU: from shards to a log, a checkpoint, a continuation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gristmill.errors import GristmillError, InputError, IntegrityError, Interrupted, StepFailed, UsageError
from gristmill.trainer.checkpoints.checkpoint import Checkpoints, find
from gristmill.trainer.command import with_settings
from gristmill.trainer.config import LossSettings, MeshSettings, OptimizerSettings, Settings
from gristmill.trainer.data.documents import documents
from gristmill.trainer.data.loader import BatchLoader
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.generate import Sampling, generate, load_model
from gristmill.trainer.logs.log import EVAL_KEYS, STEP_KEYS
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.memory import advice, sample_bytes
from gristmill.trainer.model.presets import preset
from gristmill.trainer.ranks.parallel import Group
from gristmill.trainer.train import run

Corpus = Callable[..., Path]

SMALL = {"num_layers": 2, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}


def settings(shards: Path, run: Path, **more: Any) -> dict[str, Any]:
    return {
        "shards": str(shards),
        "run": str(run),
        "model": SMALL,
        "device": "cpu",
        "dtype": "fp32",
        "batch": 4,
        "steps": 6,
        "threads": 1,
    } | more


def rows(folder: Path, event: str) -> list[dict[str, Any]]:
    return [
        row
        for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        if row["event"] == event
    ]


def test_a_run_learns_and_leaves_a_log_a_summary_and_a_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    heldout = corpus("heldout", (10,), split="heldout")
    summary = run(
        settings(
            corpus(), tmp_path / "run", heldout=str(heldout), steps=30, log_every=5, optimizer={"lr": 1e-2}
        )
    )
    steps, evaluations = rows(tmp_path / "run", "step"), rows(tmp_path / "run", "eval")
    assert all(set(row) == {"event", *STEP_KEYS} for row in steps)
    assert all(set(row) == {"event", *EVAL_KEYS} for row in evaluations)
    assert [row["step"] for row in steps] == [1, 5, 10, 15, 20, 25, 30]
    before, after = summary["evaluations"]["before"][-1], summary["evaluations"]["after"][-1]
    assert after["loss"] < before["loss"] - 0.5
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == json.loads(json.dumps(summary))
    model, meta = load_model(Path(summary["checkpoint"]), "cpu")
    assert meta.step == 30
    assert len(generate(model, [[0, 5]], meta.eos_id, Sampling(max_tokens=4, temperature=1.0))[0]) <= 4


def test_every_held_out_token_and_byte_is_counted_once(corpus: Corpus, tmp_path: Path) -> None:
    heldout = corpus("heldout", (10, 7), split="heldout")
    manifest = json.loads((heldout / "manifest.json").read_text())
    summary = run(settings(corpus(), tmp_path / "run", heldout=str(heldout), steps=1))
    found = {
        row["source"]: (row["tokens"], row["bytes"], row["docs"]) for row in summary["evaluations"]["before"]
    }
    assert {
        s["name"]: (s["tokens"], s["bytes"], s["docs"]) for s in manifest["sources"]
    }.items() <= found.items()


@pytest.mark.slow
def test_importing_the_trainer_needs_torch_and_numpy_only() -> None:
    code = (
        "import sys, gristmill.trainer.train, gristmill.trainer.evaluation.generate\n"
        "print([m for m in ('pyarrow',"
        " 'pydantic', 'ray', 'numba', 'yaml', 'typer', 'transformers', 'sentencepiece', 'safetensors') if m"
        " in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert out.stdout.strip() == "[]"


def test_an_unknown_setting_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match=r"optimizer\.weight_decy") as caught:
        run({"shards": "x", "run": "y", "optimizer": {"weight_decy": 0.1}})
    assert "optimizer.weight_decay" in str(caught.value)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in load_model(folder, "cpu")[0].named_parameters()}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_killed_half_way_ends_with_the_same_bits(
    dtype: str, optimizer: str, corpus: Corpus, tmp_path: Path
) -> None:
    how: dict[str, Any] = {
        "dtype": dtype,
        "optimizer": {"name": optimizer, "lr": 3e-3},
        "save_every": 4,
        "steps": 8,
        "log_every": 1,
    }
    mix = corpus()
    run(settings(mix, tmp_path / "straight", **how))
    run(settings(mix, tmp_path / "killed", **how))
    checkpoints = tmp_path / "killed" / "checkpoints"
    for gone in checkpoints.glob("step-00000008"):
        gone.rename(
            tmp_path / "gone"
        )  # as if killed after step 4: the pointer names a checkpoint that is not there
    run(settings(mix, tmp_path / "killed", **how))
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "killed")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    losses = [[row["loss"] for row in rows(tmp_path / name, "step")] for name in ("straight", "killed")]
    assert losses[0] == losses[1] and len(losses[0]) == 8


def test_sigterm_saves_and_the_same_command_continues_to_the_same_bits(
    corpus: Corpus, tmp_path: Path
) -> None:
    mix = corpus()
    how = settings(mix, tmp_path / "stopped", steps=40, log_every=1)
    command = [sys.executable, "-m", "gristmill.trainer.train", "--config", str(tmp_path / "how.json")]
    (tmp_path / "how.json").write_text(json.dumps(how))
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 5/"):
            process.send_signal(signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "the same command continues" in errors
    stopped_at = int((tmp_path / "stopped" / "checkpoints" / "latest").read_text().split("-")[1])
    assert 5 <= stopped_at < 40
    run(how)
    run(settings(mix, tmp_path / "straight", steps=40, log_every=1))
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_signal_in_a_python_call_raises_a_resumable_error(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.trainer.optimize.optimizer import Optimizer

    plain = Optimizer.step

    def step(self: Optimizer, *args: Any) -> None:
        plain(self, *args)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Optimizer, "step", step)
    with pytest.raises(Interrupted) as caught:
        run(settings(corpus(), tmp_path / "run"))
    assert caught.value.exit_code == 130
    assert find(tmp_path / "run").name == "step-00000001"


@pytest.mark.parametrize(("keep", "steps"), [(1, [5, 9]), (2, [5, 8, 9]), (3, [5, 6, 8, 9])])
def test_the_newest_checkpoints_are_kept_beside_the_permanent_ones(
    keep: int, steps: list[int], corpus: Corpus, tmp_path: Path
) -> None:
    run(settings(corpus(), tmp_path / "run", steps=9, ephemeral_every=2, save_every=5, keep=keep))
    found = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert sorted(int(path.name[5:]) for path in found) == steps


def test_an_ended_run_is_neither_trained_nor_evaluated_again(corpus: Corpus, tmp_path: Path) -> None:
    how = settings(corpus(), tmp_path / "run", heldout=str(corpus("heldout", (10,), split="heldout")))
    summary = run(how)
    before = (tmp_path / "run" / "log.jsonl").read_text()
    assert run(how) == json.loads(json.dumps(summary))
    assert (tmp_path / "run" / "log.jsonl").read_text() == before


def test_an_interrupted_run_sums_up_as_one_that_was_not(corpus: Corpus, tmp_path: Path) -> None:
    how = {"heldout": str(corpus("heldout", (10,), split="heldout")), "save_every": 3}
    mix, summaries = corpus(), []
    for name, gone in (
        ("straight", ""),
        ("before the summary", "summary.json"),
        ("half way", "checkpoints/step-00000006"),
    ):
        run(settings(mix, tmp_path / name, **how))
        if gone:
            (tmp_path / name / gone).rename(tmp_path / f"gone {name}")
        summary = run(settings(mix, tmp_path / name, **how))
        summary["checkpoint"] = Path(summary["checkpoint"]).name
        summaries.append(
            {key: value for key, value in summary.items() if key not in ("training_seconds", "tokens_per_s")}
        )
    assert set(summaries[0]["evaluations"]) == {"before", "after"} and summaries[0]["loss"] is not None
    assert summaries[0] == summaries[1] == summaries[2]


def test_a_checkpoint_cut_in_half_is_named_and_removing_it_falls_back(corpus: Corpus, tmp_path: Path) -> None:
    how = settings(corpus(), tmp_path / "run", save_every=3)
    run(how)
    newest = find(tmp_path / "run")
    data = next(newest.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(IntegrityError, match="damaged") as caught:
        run(how)
    assert str(newest) in str(caught.value) and caught.value.hint is not None
    newest.rename(tmp_path / "away")
    assert run(how)["steps"] == 6


def test_a_save_that_dies_leaves_no_checkpoint_to_be_found(corpus: Corpus, tmp_path: Path) -> None:
    how = settings(corpus(), tmp_path / "run", save_every=3)
    run(how)
    partial = tmp_path / "run" / "checkpoints" / ".step-00000009.partial"
    partial.mkdir()
    (partial / "__0_0.distcp").write_bytes(b"half")
    assert find(tmp_path / "run").name == "step-00000006"


def test_a_checkpoint_of_another_model_shard_set_or_seed_is_refused_by_name(
    corpus: Corpus, tmp_path: Path
) -> None:
    mix = corpus()
    run(settings(mix, tmp_path / "run"))
    with pytest.raises(UsageError, match="num_layers 2, this run asks for 3"):
        run(settings(mix, tmp_path / "run", model=SMALL | {"num_layers": 3}))
    with pytest.raises(UsageError, match=r"was trained on the shards .*mix"):
        run(settings(corpus("other", (9, 9)), tmp_path / "run"))
    with pytest.raises(UsageError, match="seed 0, this run has 5"):
        run(settings(mix, tmp_path / "run", seed=5))


def test_a_folder_without_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        find(tmp_path)


def test_one_batch_is_overfitted_to_near_zero(shards: Any, tmp_path: Path) -> None:
    tokens, _ = shards.random_documents(1, 3, longest=60)[0]
    mix = shards.write_shards(
        tmp_path / "mix", [[(tokens, 0)]]
    )  # with several, which one begins could not be known
    how = {
        "optimizer": {"lr": 1e-2, "schedule": "constant", "weight_decay": 0.0},
        "batch": 2,
        "steps": 150,
        "log_every": 150,
    }
    assert run(settings(mix, tmp_path / "run", **how))["loss"] < 0.02


@pytest.mark.slow
def test_the_loss_on_a_markov_source_reaches_its_entropy(shards: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    transitions = rng.dirichlet(np.full(12, 0.4), 12)
    stationary = np.linalg.matrix_power(transitions, 200)[0]
    entropy = float(-(stationary[:, None] * transitions * np.log(transitions + 1e-300)).sum())

    def document(length: int) -> list[int]:  # one long document: its only unknowns are the chain's own
        edges, draws, state, states = transitions.cumsum(1).tolist(), rng.random(length).tolist(), 0, []
        for draw in draws:
            state = min(bisect_right(edges[state], draw), 11)
            states.append(state + 1)
        return states

    mix = shards.write_shards(tmp_path / "mix", [[(document(400_000), 0)]], vocab=13)
    heldout = shards.write_shards(tmp_path / "held", [[(document(100_000), 0)]], vocab=13, split="heldout")
    model = {"num_layers": 2, "width": 64, "num_heads": 2, "ffn": 128, "context": 128}
    how = {
        "model": model,
        "steps": 300,
        "batch": 8,
        "optimizer": {"lr": 5e-3, "weight_decay": 0.0},
        "heldout": str(heldout),
    }
    row = run(settings(mix, tmp_path / "run", **how))["evaluations"]["after"][-1]
    assert abs(row["loss"] - entropy) < 0.02
    assert abs(row["entropy"] - entropy) < 0.02


def test_a_diverging_run_gives_up_after_the_allowed_number_of_skipped_steps(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.trainer.optimize.optimizer import Optimizer

    monkeypatch.setattr(Optimizer, "grad_norm", lambda self: torch.tensor(torch.nan))
    with pytest.raises(StepFailed, match="3 steps in a row were skipped") as caught:
        run(settings(corpus(), tmp_path / "run", max_skipped=3, log_every=1))
    assert caught.value.hint is not None and "optimizer.lr" in caught.value.hint


def test_a_skipped_step_is_logged_with_the_documents_it_had_read(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.trainer.optimize.optimizer import Optimizer

    plain = Optimizer.grad_norm
    norms = iter([1.0, torch.nan, 1.0, torch.nan, 1.0, 1.0])
    monkeypatch.setattr(Optimizer, "grad_norm", lambda self: plain(self) * next(norms))
    mix = corpus()
    assert run(settings(mix, tmp_path / "run", log_every=4))["skipped"] == 2
    skips = rows(tmp_path / "run", "skip")
    assert [row["step"] for row in skips] == [2, 4] and all(row["grad_norm"] is None for row in skips)

    loader = BatchLoader(ShardSet(mix), 32, 0)
    tokens = {token for number in range(4, 8) for token in loader.sample(number).targets.tolist()}
    ends = {shard: ShardSet(mix).doc_ends(shard) for shard in range(3)}
    named = {(found.shard, found.row): found.id for found in documents(loader, 4, 4)}
    read = set()
    for shard, row in named:
        start, stop = (int(ends[int(shard)][row - 1]) if row else 0), int(ends[int(shard)][row])
        read |= set(ShardSet(mix).payload(int(shard))[start:stop].tolist())
    assert tokens <= read and list(named.values()) == skips[0]["documents"]


@pytest.mark.parametrize("experts", [0, 4])
def test_accumulated_parts_give_the_gradient_of_the_whole_batch(
    experts: int, corpus: Corpus, tmp_path: Path
) -> None:
    mix = corpus(counts=(20,))  # its last window is short: a mean of means would be off
    how = {"model": SMALL | {"num_experts": experts, "balance_weight": 1.0}, "log_every": 1}
    runs = [run(settings(mix, tmp_path / str(m), micro_batch=m, **how)) for m in (4, 1)]
    whole, parts = (weights(Path(summary["checkpoint"])) for summary in runs)
    assert runs[1]["loss"] == pytest.approx(runs[0]["loss"], abs=1e-5)
    assert all(torch.allclose(whole[name], parts[name], atol=2e-4) for name in whole)


def test_cuda_asked_for_where_there_is_none_is_an_error(corpus: Corpus, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UsageError, match="sees no CUDA device"):
        run(settings(corpus(), tmp_path / "run", device="cuda"))


def test_a_vocabulary_smaller_than_the_shards_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vocabulary is 100, the shards' 300"):
        run(settings(corpus(), tmp_path / "run", model=SMALL | {"vocab": 100}))


def test_held_out_shards_of_another_tokenizer_or_split_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    mix = corpus()
    with pytest.raises(UsageError, match="another tokenizer"):
        run(settings(mix, tmp_path / "run", heldout=str(corpus("held", vocab=200, split="heldout"))))
    with pytest.raises(InputError, match="split 'train'"):
        run(settings(mix, tmp_path / "run", heldout=str(mix)))


@pytest.mark.slow
def test_running_out_of_memory_says_what_would_fit_and_that_does(corpus: Corpus, tmp_path: Path) -> None:
    how = settings(
        corpus(),
        tmp_path / "run",
        model=SMALL | {"width": 64, "ffn": 256, "context": 512},
        batch=256,
        steps=1,
    )
    (tmp_path / "how.json").write_text(json.dumps(how))
    code = (
        "import resource, sys\n"
        "from gristmill.trainer.train import run\n"
        "from gristmill.trainer.command import main\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n"
        "main(run, sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "--config", str(tmp_path / "how.json")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 1 and "out of memory" in done.stderr, done.stderr
    advised = re.search(r"set (micro_batch=\d+) \(now 256", done.stderr)
    assert advised is not None, done.stderr
    done = subprocess.run([*command, "--set", advised[1]], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


class Made(TorchDispatchMode):
    """Remember every storage that is made, without keeping it."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.storages[StorageWeakRef(storage)] = storage.nbytes()
        return out


@pytest.mark.parametrize("level", ["none", "selective", "full"])
@pytest.mark.parametrize("name", ["llama-15m", "gpt2-124m"])
def test_the_estimate_of_activations_is_near_what_lies_between_the_passes(name: str, level: str) -> None:
    config = preset(name, vocab=512, num_layers=3, context=128)
    model = Model(config)
    init_weights(model, 0)
    model.recompute = level
    for block in model.blocks:
        block.selective = level == "selective"
    tokens = torch.zeros(4, 128, dtype=torch.int64)
    with Made() as made:
        loss = model(tokens, None, tokens, scale=1.0, loss=LossSettings())
    stream = 4 * 4 * 128 * config.width
    head = 4 * config.padded_vocab * config.width + 3 * stream  # the loss's gradients, first and last stream
    weights = {StorageWeakRef(parameter.untyped_storage()) for parameter in model.parameters()}
    lying = {s: size for s, size in made.storages.items() if not s.expired() and s not in weights}
    total = sum(lying.values()) - head
    one = sample_bytes(config, 4, level)
    if level != "none":  # beside them the estimate holds one layer at a time, which is gone here
        one -= sample_bytes(config, 4, "none") // config.num_layers
    assert loss.total.requires_grad and 0.5 < total / (4 * one) < 1.4


def test_a_shard_of_a_large_model_fits_where_the_whole_does_not() -> None:
    config, free = preset("llama-8b"), 70 << 30
    alone = advice(Settings(), config, free, 2)
    many = Group(0, 64, torch.device("cpu"))
    assert "a smaller model" in alone and "119.66 GiB, a sample" in alone
    within = advice(Settings(batch=512), config, free, 2, many)
    assert "set checkpointing=selective" in within and "4.64 GiB on each of 64 ranks" in within
    averaged = Settings(batch=512, optimizer=OptimizerSettings(ema_decay=0.99))  # 4 bytes more of each weight
    assert "5.11 GiB on each" in advice(averaged, config, free, 2, many)
    held = advice(Settings(batch=512, micro_batch=1, mesh=MeshSettings(reduce="step")), config, free, 2, many)
    assert "mesh.reduce=part" in held


def test_a_model_larger_than_the_memory_is_told_to_shrink() -> None:
    assert "a smaller model" in advice(Settings(), preset("llama-1b", vocab=1000), 1 << 30, 2)
    assert "checkpointing=" in advice(Settings(), preset("llama-124m", vocab=1000), 1_500_000_000, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modle": {}}, "unknown setting `modle`"),
        ({"steps": "ten"}, "`steps` must be of type int"),
        ({"steps": True}, "`steps` must be of type int"),
        ({"optimizer": {"name": "sgd"}}, "must be one of adamw, muon"),
        ({"optimizer": {"warmup_fraction": 5.0}}, "between 0.0 and 1.0, got 5.0"),
        ({"optimizer": {"betas": [0.9]}}, "a list of 2 numbers"),
        ({"loss": {"smoothing": -0.1}}, "`loss.smoothing`"),
        ({"model": {"width": 30, "num_heads": 4}}, "does not split into 4 heads"),
        ({"model": {"num_kv_heads": 4}}, "num_kv_heads"),
        ({"model": {"kind": "gpt2", "num_experts": 4}}, "num_experts"),
        ({"batch": 0}, "`batch` must be at least 1"),
        ({"mesh": {"shard_ranks": 8}, "parallel": "ddp"}, "`mesh.shard_ranks` divides weights"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(GristmillError, match=message):
        run({"shards": "x", "run": "y"} | values)


def test_settings_are_assigned_by_dotted_names() -> None:
    assert with_settings({"a": {"b": 1}}, ["a.c=2.5", "a.d=x", "e=true"]) == {
        "a": {"b": 1, "c": 2.5, "d": "x"},
        "e": True,
    }
    with pytest.raises(UsageError, match="must have the form"):
        with_settings({}, ["a"])


def test_saving_in_the_background_gives_the_same_checkpoint(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix = corpus()
    run(settings(mix, tmp_path / "plain", save_every=2))
    plain = Checkpoints.__init__

    def background(self: Checkpoints, folder: Path, group: Any, background: bool = False) -> None:
        plain(self, folder, group, True)

    monkeypatch.setattr(Checkpoints, "__init__", background)
    run(settings(mix, tmp_path / "threaded", save_every=2))
    for name in ("step-00000002", "step-00000006"):
        a, b = (weights(tmp_path / kind / "checkpoints" / name) for kind in ("plain", "threaded"))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_an_empty_shard_set_is_refused_and_an_empty_held_out_set_is_not_evaluated(
    corpus: Corpus, shards: Any, tmp_path: Path
) -> None:
    empty = shards.write_shards(tmp_path / "empty", [[]], split="heldout")
    with pytest.raises(InputError, match="empty"):
        run(settings(empty, tmp_path / "run"))
    assert run(settings(corpus(), tmp_path / "run", heldout=str(empty)))["evaluations"] == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_blocks_give_the_loss_of_plain_ones(corpus: Corpus, tmp_path: Path) -> None:
    mix = corpus()
    plain, compiled = (run(settings(mix, tmp_path / how, compile=how)) for how in ("off", "on"))
    assert compiled["loss"] == pytest.approx(plain["loss"], abs=1e-4)
