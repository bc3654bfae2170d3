"""Checkpoints that are complete or absent: written aside, then published by a rename and a pointer.

    run/checkpoints/step-00000200/   the tensors (tensors.py) and `checkpoint.json`
    run/checkpoints/latest           the name of the newest

Tensors are saved under their names, whatever the number of ranks and however they were sharded, so a run
continues on another number of ranks. The position in the data is one integer, `samples`. `checkpoint.json`
holds size and sha256 of every file and of itself: sizes are compared when a checkpoint is opened, digests
when its tensors are read, each rank its share of the files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gristmill.errors import GristmillError, InputError, IntegrityError, StepFailed
from gristmill.files.disk import read_file
from gristmill.files.inside import parsed
from gristmill.files.stores import fsync_file, write_text
from gristmill.trainer.checkpoints import tensors
from gristmill.trainer.checkpoints.tensors import State, dcp, quiet
from gristmill.trainer.fields import from_dict
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks.parallel import Group

META = "checkpoint.json"
FORMAT = 2


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself; `settings` are those it was trained with, `steps` the run's goal."""

    step: int
    samples: int
    tokens: int
    model: ModelConfig
    shards_sha256: str
    shards: str
    seed: int
    eos_id: int
    permanent: bool = True
    steps: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    trunk: dict[str, Any] = field(default_factory=dict)  # of a branch: the run, step and rate it began at

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """Read and check a checkpoint folder: its files must have the sizes they were published with."""
        values, files = _read_meta(folder)
        try:
            meta = cls(**values | {"model": from_dict(ModelConfig, values["model"])})
        except (KeyError, TypeError) as error:
            raise _no_checkpoint(folder, error) from error
        for name, entry in files.items():
            found = (folder / name).stat().st_size if (folder / name).is_file() else 0
            if found != entry["bytes"]:
                raise _damaged(folder, f"{name} has {found:,} bytes instead of {entry['bytes']:,}")
        return meta


class Checkpoints:
    """The checkpoints of one run; saving may go on in a thread while training continues.

    With several ranks everything said about a save travels over a gloo group of its own: the default group's
    belongs to the steps, and collectives of two threads on one group meet each other's.
    """

    def __init__(self, run: Path, group: Group, background: bool = False) -> None:
        self.folder, self.group, self.background = run / "checkpoints", group, background
        several = group.world > 1
        self.own: Any = dist.new_group(backend="gloo", timeout=group.timeout) if several else None
        self._pending: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, state: State, meta: Meta, keep: int = 2) -> Path:
        """Write and publish a checkpoint, and leave the newest `keep` beside the permanent ones; with
        `background`, from a copy and without waiting."""
        self.wait()
        name = f"step-{meta.step:08d}"
        aside = self.folder / f".{name}.partial"
        if self.group.rank == 0:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.group.barrier()
        state = {key: tensor.detach() for key, tensor in state.items()}
        write: Any
        if not self.background:
            self._complete(lambda: self._write(state, aside), meta, aside, keep)
            self.wait(agree=True)
            return self.folder / name
        if self.group.world == 1:
            copy = {key: tensor.to("cpu", copy=True) for key, tensor in state.items()}
            write = lambda: self._write(copy, aside)  # noqa: E731
        else:
            # experimental in torch, so used only where a save is slow: several ranks on GPUs
            write = dcp.async_save(state, checkpoint_id=aside, process_group=self.own).result
        self._pending = threading.Thread(
            target=self._complete, args=(write, meta, aside, keep), name="checkpoint"
        )
        self._pending.start()
        return self.folder / name

    def promote(self, meta: Meta) -> None:
        """Publish what is saved of this step again as `meta` says; its tensors stay where they are."""
        self.wait()
        try:
            if self.group.rank == 0:
                folder = self.folder / f"step-{meta.step:08d}"
                _write_meta(folder, meta, _read_meta(folder)[1])
        except Exception as error:  # told to the others, who would wait
            self._error = error
        self.wait(agree=True)

    def wait(self, agree: bool = False) -> None:
        """Wait until what was being saved is published; an error on any rank is raised on every rank."""
        if self._pending is not None:
            self._pending.join()
            self._pending, agree = None, True
        error, self._error = self._error, None
        failed = torch.tensor(float(error is not None))
        if agree and self.own is not None:
            dist.all_reduce(failed, group=self.own)
        if error is not None:
            raise error
        if failed > 0:
            raise StepFailed("another rank could not save a checkpoint", where=str(self.folder))

    def newest(self) -> Path | None:
        """Return the newest published checkpoint, if there is one."""
        if not self.folder.is_dir():
            return None
        pointer = self.folder / "latest"
        if pointer.is_file() and (named := self.folder / read_file(pointer).decode().strip()).is_dir():
            return named
        return max(self.folder.glob("step-*"), default=None)

    def _write(self, state: State, aside: Path) -> Any:
        with quiet():
            alone = self.group.world == 1
            return dcp.save(state, checkpoint_id=aside, no_dist=alone, process_group=self.own)

    def _complete(self, write: Any, meta: Meta, aside: Path, keep: int) -> None:
        """Finish the writing, gather the digests of all ranks' files, and publish."""
        try:
            metadata = write()
            try:
                mine: Any = tensors.digests(aside, f"__{self.group.rank}_*")
            except OSError as error:
                mine = str(error)  # told to the others, who would wait for it
            everyone: list[Any] = [mine] * self.group.world
            if self.own is not None:
                dist.all_gather_object(everyone, mine, group=self.own)
            if failed := [part for part in everyone if isinstance(part, str)]:
                raise StepFailed(f"a checkpoint could not be saved: {failed[0]}", where=str(aside))
            if self.group.rank == 0:
                self._publish(meta, aside, metadata, {k: v for part in everyone for k, v in part.items()})
                self._prune(meta.step, keep)
        except (Exception, dcp.api.CheckpointException) as error:
            self._error = (
                error
                if isinstance(error, Exception)
                else StepFailed(f"a checkpoint could not be saved: {error}", where=str(aside))
            )

    def _publish(self, meta: Meta, aside: Path, metadata: Any, files: dict[str, Any]) -> None:
        write_text(aside / tensors.TABLE, json.dumps(tensors.describe(metadata)))
        files |= tensors.digests(aside, tensors.TABLE)
        _write_meta(aside, meta, files)
        for path in aside.iterdir():
            fsync_file(path)
        fsync_file(aside)
        final = self.folder / f"step-{meta.step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        fsync_file(self.folder)
        write_text(self.folder / "latest", final.name)

    def _prune(self, step: int, keep: int) -> None:
        """Remove ephemeral checkpoints but the newest `keep` of all, and those of a future that was left."""
        names = sorted(path.name for path in self.folder.glob("step-*"))
        past = [name for name in names if int(name.removeprefix("step-")) <= step]
        for name in set(names) - set(past[-keep:]):
            try:
                values, _ = _read_meta(self.folder / name)
            except GristmillError:  # damaged: it may have been permanent, so it is left to a person
                continue
            if not values["permanent"]:
                shutil.rmtree(self.folder / name, ignore_errors=True)


def load(folder: Path, state: State, group: Group | None = None, own: Any = None) -> None:
    """Read a checkpoint's tensors into those of `state`, in place, after the digests of its files."""
    rank, world = (group.rank, group.world) if group is not None else (0, 1)
    error = _check_digests(folder, rank, world)
    failed = group.any(error is not None) if group is not None else error is not None
    if failed:
        raise error or _damaged(folder, "another rank says which file")
    tensors.read(folder, state, own, alone=world == 1)


def _check_digests(folder: Path, rank: int, world: int) -> IntegrityError | None:
    _, files = _read_meta(folder)
    for name in sorted(files)[rank::world]:
        found = tensors.digests(folder, name).get(name, {}).get("sha256")
        if found != files[name]["sha256"]:
            return _damaged(folder, f"{name} does not have the sha256 it was published with")
    return None


def find(path: Path) -> Path:
    """Resolve a run folder, a checkpoint folder, or RUN@STEP to a checkpoint folder."""
    if (path / META).is_file():
        return path
    run, at, step = str(path).rpartition("@")
    if at and step.isdecimal() and not path.exists():
        named = Path(run) / "checkpoints" / f"step-{int(step):08d}"
        if (named / META).is_file():
            return named
        kept = [str(int(p.name[5:])) for p in sorted(named.parent.glob("step-*"))]
        raise InputError(
            f"there is no checkpoint of step {step}",
            where=run,
            hint=f"there are those of steps {', '.join(kept)}" if kept else "the run has none",
        )
    newest = Checkpoints(path, Group(0, 1, torch.device("cpu"))).newest()
    if newest is None:
        raise InputError(
            "there is no checkpoint here", where=str(path), hint="name a run folder or one of its checkpoints"
        )
    return newest


def _read_meta(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `checkpoint.json` says, and its table of files, once it has the digest it names."""
    try:
        values = parsed(read_file(folder / META).decode())
        if values.get("format") != FORMAT:
            raise InputError(
                f"the checkpoint is of format {values.get('format')}, this version reads {FORMAT}",
                where=str(folder),
                hint="load it with the version that wrote it",
            )
        digest = values.pop("sha256")
        if digest != _digest(values):
            raise _damaged(folder, f"{META} does not have the sha256 it was published with")
        del values["format"]
        return values, values.pop("files")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _no_checkpoint(folder, error) from error


def _write_meta(folder: Path, meta: Meta, files: dict[str, Any]) -> None:
    values = dataclasses.asdict(meta) | {"files": dict(sorted(files.items())), "format": FORMAT}
    write_text(folder / META, json.dumps(values | {"sha256": _digest(values)}, indent=1))


def _digest(values: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(values))  # as it is read back: tuples are lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _no_checkpoint(folder: Path, error: Exception) -> InputError:
    return InputError(
        f"this is not a checkpoint: {error}",
        where=str(folder),
        hint="name a run folder or run/checkpoints/step-…",
    )


def _damaged(folder: Path, what: str) -> IntegrityError:
    others = sorted(path.name for path in folder.parent.glob("step-*") if path.name < folder.name)
    hint = f"remove this folder; the run then continues from {others[-1]}" if others else None
    return IntegrityError(f"the checkpoint is damaged: {what}", where=str(folder), hint=hint)
