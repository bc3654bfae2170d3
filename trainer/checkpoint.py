"""Checkpoints that are complete or absent: written aside, then published by a rename and a pointer.

    run/checkpoints/step-00000200/   torch.distributed.checkpoint files and `checkpoint.json`
    run/checkpoints/latest           the name of the newest

Tensors are saved under their names, whatever the number of ranks and however they were sharded, so a run
continues on another number of ranks. The position in the data is one integer, `samples`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as _dcp
from torch import Tensor

from gristmill.errors import InputError, IntegrityError, UsageError
from gristmill.trainer.fields import from_dict
from gristmill.trainer.parallel import Group
from gristmill.trainer.shape import ModelConfig

META = "checkpoint.json"
FORMAT = 1

State = dict[str, Tensor]
dcp: Any = _dcp  # its functions are not exported explicitly


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself."""

    step: int
    samples: int
    tokens: int
    model: ModelConfig
    shards_sha256: str
    shards: str
    seed: int
    eos_id: int
    permanent: bool = True

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """Read and check a checkpoint folder: its files must have the sizes they were published with."""
        try:
            values = json.loads((folder / META).read_text("utf-8"))
            sizes = values.pop("files")
            if values.pop("format") != FORMAT:
                raise InputError(
                    "the checkpoint is of another format",
                    where=str(folder),
                    hint="load it with the version that wrote it",
                )
            meta = cls(**values | {"model": from_dict(ModelConfig, values["model"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"this is not a checkpoint: {error}",
                where=str(folder),
                hint="name a run folder or run/checkpoints/step-…",
            ) from error
        for name, size in sizes.items():
            found = (folder / name).stat().st_size if (folder / name).is_file() else 0
            if found != size:
                raise IntegrityError(
                    f"the checkpoint is damaged: {name} has {found:,} bytes instead of {size:,}",
                    where=str(folder),
                    hint="remove this folder; the run then continues from the checkpoint before it",
                )
        return meta


class Checkpoints:
    """The checkpoints of one run; saving may go on in a thread while training continues."""

    def __init__(self, run: Path, group: Group, background: bool = False) -> None:
        self.folder, self.group, self.background = run / "checkpoints", group, background
        self._pending: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, state: State, meta: Meta) -> Path:
        """Write and publish a checkpoint; with `background`, from a copy and without waiting."""
        self.wait()
        name = f"step-{meta.step:08d}"
        aside = self.folder / f".{name}.partial"
        if self.group.rank == 0:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.group.barrier()
        if self.background and self.group.world == 1:
            copy = {key: tensor.detach().to("cpu", copy=True) for key, tensor in state.items()}
            self._pending = threading.Thread(
                target=self._write, args=(copy, meta, aside, name), name="checkpoint"
            )
            self._pending.start()
        elif self.background:
            # experimental in torch, so used only where a save is slow: several ranks on GPUs
            future: Any = dcp.async_save({k: v.detach() for k, v in state.items()}, checkpoint_id=aside)
            self._pending = threading.Thread(
                target=self._finish, args=(future, meta, aside, name), name="checkpoint"
            )
            self._pending.start()
        else:
            self._write(state, meta, aside, name)
            self.wait()
            self.group.barrier()
        return self.folder / name

    def wait(self) -> None:
        """Wait until what was being saved is published; an error of the writing thread is raised here."""
        if self._pending is not None:
            self._pending.join()
            self._pending = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def newest(self) -> Path | None:
        """Return the newest published checkpoint, if there is one."""
        if not self.folder.is_dir():
            return None
        pointer = self.folder / "latest"
        if pointer.is_file() and (named := self.folder / pointer.read_text("utf-8").strip()).is_dir():
            return named
        return max(self.folder.glob("step-*"), default=None)

    def _write(self, state: State, meta: Meta, aside: Path, name: str) -> None:
        try:
            with _quiet():
                dcp.save(
                    {k: v.detach() for k, v in state.items()},
                    checkpoint_id=aside,
                    no_dist=self.group.world == 1,
                )
            if self.group.rank == 0:
                self._publish(meta, aside, name)
        except BaseException as error:
            self._error = error

    def _finish(self, future: Any, meta: Meta, aside: Path, name: str) -> None:
        try:
            future.result()
            if self.group.rank == 0:
                self._publish(meta, aside, name)
        except BaseException as error:
            self._error = error

    def _publish(self, meta: Meta, aside: Path, name: str) -> None:
        files = {path.name: path.stat().st_size for path in sorted(aside.iterdir())}
        values = dataclasses.asdict(meta) | {"files": files, "format": FORMAT}
        write_atomic(aside / META, json.dumps(values, indent=1))
        for path in aside.iterdir():
            _fsync(path)
        final = self.folder / name
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        _fsync(self.folder)
        write_atomic(self.folder / "latest", name)
        for other in sorted(self.folder.glob("step-*")):  # of the ephemeral ones only the newest stays
            if (
                other.name != name
                and (other / META).is_file()
                and not json.loads((other / META).read_text())["permanent"]
            ):
                shutil.rmtree(other, ignore_errors=True)


def load(folder: Path, state: State, group: Group | None = None) -> None:
    """Read a checkpoint's tensors into those of `state`, in place; shapes and names must match."""
    try:
        with _quiet():
            dcp.load(
                {k: v.detach() for k, v in state.items()},
                checkpoint_id=folder,
                no_dist=group is None or group.world == 1,
            )
    except Exception as error:
        raise IntegrityError(f"the checkpoint cannot be read: {error}", where=str(folder)) from error


def find(path: Path) -> Path:
    """Resolve a run folder or a checkpoint folder to a checkpoint folder."""
    if (path / META).is_file():
        return path
    newest = Checkpoints(path, Group(0, 1, torch.device("cpu"))).newest()
    if newest is None:
        raise InputError(
            "there is no checkpoint here", where=str(path), hint="name a run folder or one of its checkpoints"
        )
    return newest


def refuse_other(
    meta: Meta, model: ModelConfig, shards_sha256: str, shards: str, seed: int, where: Path
) -> None:
    """Refuse to continue a checkpoint with another model, shard set or order of data, by name."""
    for field in dataclasses.fields(ModelConfig):
        had, has = getattr(meta.model, field.name), getattr(model, field.name)
        if had != has:
            raise UsageError(
                f"the checkpoint holds a model with {field.name} {had}, this run asks for {has}",
                where=str(where), hint="use another run folder, or the model the run began with",
            )  # fmt: skip
    if meta.shards_sha256 != shards_sha256:
        raise UsageError(
            f"the checkpoint was trained on the shards {meta.shards} ({meta.shards_sha256[:12]}), "
            f"this run reads {shards} ({shards_sha256[:12]})",
            where=str(where), hint="use another run folder, or the shards the run began with",
        )  # fmt: skip
    if meta.seed != seed:
        raise UsageError(
            f"the checkpoint's data order has seed {meta.seed}, this run has {seed}", where=str(where)
        )


def write_atomic(path: Path, text: str) -> None:
    """Replace a small file as a whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's warning that a single process saves alone, which is what was asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
