"""Where a run computes: one process, or several under torchrun or Ray, replicated (DDP) or sharded
(FSDP2)."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from gristmill.errors import UsageError
from gristmill.trainer.config import MeshSettings, Settings
from gristmill.trainer.model.decoder import Model, num_parameters
from gristmill.trainer.model.float8 import use_float8
from gristmill.trainer.model.moe import Experts
from gristmill.trainer.ranks.devices import peak_flops
from gristmill.trainer.ranks.slurm import ranks_of_srun

T = TypeVar("T")

FSDP_FROM = 1_000_000_000  # parameters


@dataclass(frozen=True)
class Group:
    """The processes of a run, and this one's place among them."""

    rank: int
    world: int
    device: torch.device
    timeout: datetime.timedelta | None = None  # of a collective, in every group of these ranks; None: torch's

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor over all ranks, in place; one on the CPU is added there, without waiting for a GPU."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def later(self, tensor: Tensor) -> Callable[[], float]:
        """Return a function that reads a number once it is computed, without waiting for what follows it."""
        if self.device.type != "cuda":
            return lambda: float(tensor)
        copy = torch.empty((), dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()

        def read() -> float:
            event.synchronize()
            return float(copy)

        return read

    def any(self, flag: bool) -> bool:
        """Agree whether the flag is up on any rank."""
        return bool(self.sum(torch.tensor(float(flag))) > 0) if self.world > 1 else flag

    def gather(self, value: T) -> list[T]:
        """Return what each rank has, on every rank."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()

    @property
    def peak_flops(self) -> float | None:
        """Return the device's dense bf16 peak, where it is known."""
        if self.device.type != "cuda":
            return None
        return peak_flops(torch.cuda.get_device_name(self.device))


@contextlib.contextmanager
def process_group(device: str = "auto", timeout_seconds: float = 1800.0) -> Iterator[Group]:
    """Join the group that torchrun's environment describes (RANK, WORLD_SIZE, LOCAL_RANK) or Slurm's, or be
    alone."""
    os.environ.update(ranks_of_srun(os.environ))
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    place = torch_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    timeout = datetime.timedelta(seconds=timeout_seconds)
    if world > 1 and not dist.is_initialized():
        cuda = place.type == "cuda"
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            timeout=timeout,
            device_id=place if cuda else None,  # NCCL's communicator is made at once, on this device
        )
    try:
        yield Group(rank, world, place, timeout)
    finally:
        if world > 1:
            dist.destroy_process_group()


def torch_device(name: str, local_rank: int = 0) -> torch.device:
    """Resolve auto, cpu or cuda; asking for CUDA where there is none is an error."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"`device` must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        raise UsageError(
            f"`device` is cuda, but torch {torch.__version__} sees no CUDA device",
            hint=(
                "this build of torch is for CPU only: install a CUDA build"
                if built is None
                else "check nvidia-smi and the driver"
            ),
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # Slurm and Ray may show each task one GPU of its own, which is number 0 there.
    return torch.device("cuda", local_rank if torch.cuda.device_count() > 1 else 0)


def wrap(model: Model, settings: Settings, group: Group) -> nn.Module:
    """Compile blocks and spread the model over the group; returns the module to call. `model` keeps its
    names."""
    if settings.float8:
        use_float8(model, group.device, settings.float8_scales)
    if is_compiled(settings, group):
        compile_blocks(model)
    if group.world == 1:
        return model
    if not is_sharded(model, settings, group):
        return _replicate(model, group)
    return _shard(model, device_mesh(settings.mesh, group), settings.mesh.reshard == "forward")


def is_compiled(settings: Settings, group: Group) -> bool:
    return settings.compile == "on" or (settings.compile == "auto" and group.device.type == "cuda")


def compile_blocks(model: Model, **how: Any) -> None:
    """Compile each block and the loss; blocks alike share their graphs, whatever the documents of a batch."""
    model.fuse_loss = not how
    for block in model.blocks:
        block.compile(dynamic=False, **how)


def is_sharded(model: Model, settings: Settings, group: Group) -> bool:
    """Say whether weights are divided among the ranks; then no rank should ever hold them all."""
    asked = settings.parallel == "fsdp" or settings.mesh.shard_ranks > 0
    large = settings.parallel == "auto" and num_parameters(model) >= FSDP_FROM
    return group.world > 1 and (asked or large)


def settle(module: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Let DDP order its buckets before the first step that counts.

    It orders them by the first backward pass, and with three ranks or more the order of a sum depends on
    where a gradient lies: a resumed run would add its first step otherwise than the run that went on.
    """
    if isinstance(module, nn.parallel.DistributedDataParallel):
        loss().backward()  # type: ignore[no-untyped-call]
        for parameter in module.parameters():
            parameter.grad = None


def reshard(module: nn.Module) -> None:
    """Let go of gathered weights that no backward pass will let go of, as after an evaluation."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def accumulate(
    module: nn.Module, last: bool, each_part: bool = True
) -> contextlib.AbstractContextManager[Any]:
    """Hold back the exchange of gradients until the last part of a step.

    Sharded, each part's gradients are reduced to this rank's rows at once (`each_part`), else each rank holds
    them whole in fp32 between parts; copies of the weights are averaged with the last part only.
    """
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext() if last else module.no_sync()
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(last or each_part)
        module.set_requires_all_reduce(last)
    return contextlib.nullcontext()


def _replicate(model: Model, group: Group) -> nn.Module:
    ids = [group.device.index] if group.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)


def device_mesh(settings: MeshSettings, group: Group) -> DeviceMesh:
    """Return the ranks in one row that shards, or in several, each with a copy of the weights (HSDP).

    Ranks of a row follow each other, so that with as many as a node has the weights are gathered inside
    nodes and only gradients cross between them.
    """
    row = settings.shard_ranks or group.world
    if group.world % row:
        raise UsageError(f"`mesh.shard_ranks` {row} does not divide {group.world} ranks")
    if row == group.world:
        return init_device_mesh(group.device.type, (row,), mesh_dim_names=("shard",))
    names = ("replicate", "shard")
    mesh = init_device_mesh(group.device.type, (group.world // row, row), mesh_dim_names=names)
    if group.timeout is not None:  # torch gives a mesh's groups its own default
        for name in names:
            dist.distributed_c10d._set_pg_timeout(group.timeout, mesh.get_group(name))
    return mesh


def _shard(model: Model, mesh: DeviceMesh, reshard: bool) -> nn.Module:
    # inputs are cast by the model itself; gradients are averaged in fp32
    policy = MixedPrecisionPolicy(
        param_dtype=model.dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    exact = MixedPrecisionPolicy(
        param_dtype=torch.float32, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in model.blocks:
        if isinstance(block.ffn, Experts):
            fully_shard(block.ffn.router, mesh=mesh, mp_policy=exact, reshard_after_forward=reshard)
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    return model


@contextlib.contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Have torch take only kernels that add in one order, where `wanted`: index_add_ of experts and the
    backward pass of FlashAttention use atomics otherwise."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]
