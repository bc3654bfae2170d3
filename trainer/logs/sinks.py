"""A run's log, mirrored into TensorBoard or Weights & Biases where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError

Sink = Callable[[int, dict[str, float]], None]

STEP = ("loss", "lr", "grad_norm", "tokens_per_s", "mfu", "memory_bytes", "epoch")
EVALUATION = ("loss", "bits_per_byte", "entropy")
TASK = ("accuracy", "accuracy_per_byte", "perplexity", "bits_per_byte", "normalised_likelihood")


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """Return what of a log's row is drawn: `train/loss`, `heldout/web/bits_per_byte`."""
    if row["event"] == "step":
        names = {f"train/{key}": row[key] for key in STEP}
    elif row["event"] == "eval":
        names = {f"heldout/{row['source']}/{key}": row[key] for key in EVALUATION}
    elif row["event"] == "task":
        names = {f"tasks/{row['task']}/{row['kind']}/{key}": row[key] for key in TASK}
    else:
        return {}
    return {name: float(value) for name, value in names.items() if value is not None}


def open_sinks(
    folder: Path, tensorboard: bool, wandb: str, settings: dict[str, Any], step: int
) -> list[Sink]:
    """Return a writer for each that is asked for; a package that is missing is an error that names it."""
    sinks: list[Sink] = []
    if tensorboard:
        sinks.append(_tensorboard(folder, step))
    if wandb:
        sinks.append(_wandb(folder, wandb, settings))
    return sinks


def _tensorboard(folder: Path, step: int) -> Sink:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("`tensorboard` is not installed", hint="pip install tensorboard") from error
    # what a killed run drew after its last checkpoint comes again
    writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return write


def _wandb(folder: Path, project: str, settings: dict[str, Any]) -> Sink:
    try:
        wandb: Any = importlib.import_module("wandb")
    except ImportError as error:
        raise UsageError("`wandb` is not installed", hint="pip install wandb") from error
    known = folder / "wandb.id"  # a continued run stays one run there
    name = known.read_text("utf-8").strip() if known.is_file() else wandb.util.generate_id()
    known.write_text(name, "utf-8")
    run: Any = wandb.init(
        project=project, dir=str(folder), id=name, name=folder.name, resume="allow", config=settings
    )
    return lambda step, values: run.log(values, step=step)
