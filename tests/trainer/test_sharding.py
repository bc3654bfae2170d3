"""What a rank draws, holds and sends when weights are sharded: measured on gloo ranks and by a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import UsageError
from gristmill.trainer.config import DataSettings, MeshSettings
from gristmill.trainer.data.loader import BatchLoader
from gristmill.trainer.data.remote import open_shards
from gristmill.trainer.model import initialise
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks.parallel import Group, device_mesh
from gristmill.trainer.ranks.sharding import row_counts
from tests.support.ranks import train_on_ranks

Corpus = Callable[..., Path]

SHAPE = {"num_layers": 3, "width": 64, "num_heads": 4, "num_kv_heads": 2, "ffn": 112, "context": 32}

# Tells what a rank held at most.
MEASURE = """
import gristmill.trainer.train as T, gristmill.trainer.optimize.muon as M
from torch.distributed.fsdp import FSDPModule
held = {"each": 0, "late": 0, "matrices": 0}
def unsharded(module):
    groups = [g for m in module.modules() if isinstance(m, FSDPModule)
              for g in m._get_fsdp_state()._fsdp_param_groups]
    for p in (p for g in groups for p in g.fsdp_params):
        grad = getattr(p, "unsharded_accumulated_grad", None)
        if grad is None and getattr(p, "_unsharded_param", None) is not None: grad = p._unsharded_param.grad
        yield 0 if grad is None else grad.nbytes
accumulate = T.accumulate
def counted(module, last, each):
    when = "each" if each else "late"
    held[when] = max(held[when], sum(unsharded(module)))
    return accumulate(module, last, each)
T.accumulate = counted
orthogonalise = M.orthogonalise
def counted(matrices, *how):
    held["matrices"] = max(held["matrices"], matrices.nbytes)
    return orthogonalise(matrices, *how)
M.orthogonalise = counted
import atexit
atexit.register(lambda: print("HELD", json.dumps(held), file=sys.stderr))
"""


def settings(shards: Path, run: Path, **more: Any) -> dict[str, Any]:
    base = {"shards": str(shards), "run": str(run), "model": SHAPE, "device": "cpu", "dtype": "fp32"}
    how = {"batch": 8, "steps": 4, "log_every": 1, "micro_batch": 1, "threads": 1, "optimizer": {"lr": 3e-3}}
    return base | how | {"parallel": "fsdp"} | more


def losses(run: str) -> list[float]:
    rows = [json.loads(line) for line in (Path(run) / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["event"] == "step"]


def held(told: str) -> dict[str, int]:
    (line,) = [line for line in told.splitlines() if line.startswith("HELD")]
    found: dict[str, int] = json.loads(line.removeprefix("HELD"))
    return found


@pytest.mark.slow
def test_gradients_are_sharded_after_each_part_and_whole_only_when_asked(
    corpus: Corpus, tmp_path: Path
) -> None:
    mix = corpus()
    muon = {"name": "muon", "lr": 3e-3}
    runs = [settings(mix, tmp_path / r, mesh={"reduce": r}, optimizer=muon) for r in ("part", "step")]
    found = held(train_on_ranks(runs, tmp_path, prelude=MEASURE))
    parameters = sum(p.numel() for p in Model(ModelConfig(vocab=300, **SHAPE)).parameters())  # type: ignore[arg-type]
    assert found["each"] == 0 and found["late"] == 4 * parameters
    assert found["matrices"] == 4 * 2 * 112 * 64  # one matrix at a time: gate and up of one layer


@pytest.mark.slow
def test_four_ranks_in_any_mesh_give_the_curve_of_one_process(corpus: Corpus, tmp_path: Path) -> None:
    from gristmill.trainer.train import run

    mix = corpus()
    muon = {"name": "muon", "lr": 3e-3}
    variants: list[dict[str, Any]] = [
        {},
        {"mesh": {"shard_ranks": 2}},
        {"mesh": {"shard_ranks": 2, "reshard": "backward", "reduce": "step"}},
        {"mesh": {"shard_ranks": 2}, "optimizer": muon},
        {"optimizer": muon},
        {"optimizer": muon, "model": SHAPE | {"num_experts": 3}},
        {"parallel": "ddp", "optimizer": muon},
    ]
    runs = [settings(mix, tmp_path / f"four-{i}", **variant) for i, variant in enumerate(variants)]
    train_on_ranks([dict(one) for one in runs], tmp_path, ranks=4)
    for number, one in enumerate(runs):
        alone = one | {"run": str(tmp_path / f"one-{number}"), "mesh": {}}
        run(alone)
        assert losses(one["run"]) == pytest.approx(losses(alone["run"]), abs=1e-5), variants[number]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_a_rank_draws_its_rows_of_the_weights_that_one_process_draws(
    ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are cut as FSDP2 cuts them; blocks are small here, so that rows of one rank lie in several."""
    monkeypatch.setattr(initialise, "ONE_GENERATOR", 1000)
    monkeypatch.setattr(initialise, "BLOCK", 640)
    model = Model(ModelConfig(vocab=300, **SHAPE))  # type: ignore[arg-type]
    init_weights(model, 0)
    whole = model.blocks[0].ffn.up.weight.detach().clone()
    parts = []
    for rank in range(ranks):
        rows = row_counts(len(whole), ranks)
        part = torch.empty(rows[rank], 64)
        monkeypatch.setattr(initialise, "local", lambda parameter, part=part: part)
        first = sum(rows[:rank])
        monkeypatch.setattr(initialise, "first_row", lambda _, first=first: first)
        for draw in initialise._draws(whole, "0/blocks.0.ffn.up.weight", 0.02):
            draw()
        parts.append(part)
    assert torch.equal(torch.cat(parts), whole) and 0.019 < float(whole.std()) < 0.021


def test_rows_are_divided_as_torch_chunks_them() -> None:
    for rows in range(1, 20):
        for ranks in range(1, 9):
            chunks = [len(chunk) for chunk in torch.empty(rows).chunk(ranks)]
            assert row_counts(rows, ranks) == chunks + [0] * (ranks - len(chunks))


@pytest.mark.parametrize("how", [{}, {"packing": "bestfit"}])
@pytest.mark.parametrize("kind", [{}, {"kind": "sources", "weights": {"web": 3.0, "code": 1.0}}])
def test_every_rank_knows_the_targets_of_a_step_without_asking(
    how: dict[str, Any], kind: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    data = DataSettings(**how)
    loader = BatchLoader(open_shards(str(corpus(**kind)), data, tmp_path), 32, 0, data)
    for first in range(0, 3 * loader.num_samples, 8):
        counts = [loader.batch(first, 8, rank, 2).num_targets() for rank in range(2)]
        assert loader.num_targets(first, 8) == sum(counts)


def test_a_mesh_that_does_not_divide_the_ranks_is_refused() -> None:
    with pytest.raises(UsageError, match="shard_ranks"):
        device_mesh(MeshSettings(shard_ranks=3), Group(0, 8, torch.device("cpu")))


# Tells how many bytes of the blocks' matrices, in whatever type, a rank keeps from the forward pass.
KEPT = """
import torch, gristmill.trainer.model.forward as F
shapes = {(768, 128), (128, 128), (512, 128), (128, 256), (384, 128)}
forward = F.Forward.__call__
def counted(self, batch, **how):
    kept = []
    keep = lambda tensor: kept.append(tensor) or tensor
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = forward(self, batch, **how)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().size() for t in kept
                if {tuple(t.shape), tuple(t.shape)[::-1]} & shapes}
    kinds = {str(t.dtype) for t in kept}
    print("KEPT", len(storages), sum(storages.values()), "torch.float8_e4m3fn" in kinds, file=sys.stderr)
    return found
F.Forward.__call__ = counted
"""


@pytest.mark.slow
@pytest.mark.parametrize("scales", ["tensor", "row"])
def test_eight_bits_keep_no_gathered_matrix_between_the_passes(
    scales: str, corpus: Corpus, tmp_path: Path
) -> None:
    """Saved is the gathered matrix itself, whose memory is let go of after each layer: 0 bytes. The batch has
    320 tokens, so that nothing but a matrix has the shape of one."""
    shape = SHAPE | {"width": 128, "ffn": 256, "context": 80}
    how = {"model": shape, "dtype": "bf16", "float8": True, "float8_scales": scales, "micro_batch": 0}
    told = train_on_ranks([settings(corpus(), tmp_path / "run", steps=2, **how)], tmp_path, prelude=KEPT)
    lines = [line.split() for line in told.splitlines() if line.startswith("KEPT")]
    matrices = 4 * SHAPE["num_layers"]
    assert lines and all(int(line[1]) >= matrices and line[2] == "0" for line in lines), lines
    assert all(line[3] == str(scales == "tensor") for line in lines)  # inputs, in 8 bits


# Tells how long a collective of each group may take: of all ranks, of a mesh's rows and columns, of saves.
TIMEOUTS = """
import torch
import torch.distributed as dist
import gristmill.trainer.checkpoints.checkpoint as c, gristmill.trainer.ranks.parallel as p
def told(group):
    seconds = group._get_backend(torch.device("cpu")).options._timeout.total_seconds()
    print("TIMEOUT", seconds, file=sys.stderr)
mesh = p.device_mesh
def made(*how):
    found = mesh(*how)
    for name in found.mesh_dim_names: told(found.get_group(name))
    return found
p.device_mesh = made
init = c.Checkpoints.__init__
def opened(self, *how):
    init(self, *how)
    told(dist.group.WORLD), told(self.own)
c.Checkpoints.__init__ = opened
"""


@pytest.mark.slow
def test_the_time_a_collective_may_take_holds_in_every_group(corpus: Corpus, tmp_path: Path) -> None:
    mesh = {"shard_ranks": 1, "timeout_seconds": 77}
    told = train_on_ranks(
        [settings(corpus(), tmp_path / "run", mesh=mesh, parallel="auto", steps=1)],
        tmp_path,
        prelude=TIMEOUTS,
    )
    assert [line for line in told.splitlines() if line.startswith("TIMEOUT")] == ["TIMEOUT 77.0"] * 4
