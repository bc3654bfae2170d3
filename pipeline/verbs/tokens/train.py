"""`train`: from shards to a model."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import StepFailed, UsageError
from gristmill.files.disk import read_file
from gristmill.files.inside import inert
from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.tokens.trained_models import check_gpus, trained

GROUP = listing.TOKENS


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    input: Annotated[
        str | None,
        typer.Argument(
            help="A recipe (.yaml), a run, or a shard folder or its URL; a branch has its trunk's.",
            show_default=False,
        ),
    ] = None,
    out: options.OutOption = None,
    heldout: Annotated[
        str | None, typer.Option(help="Shards of split heldout; a run has its own.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A model by name, such as llama-15m.", show_default=False)
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN@STEP",
            help="Branch from a checkpoint: its weights, moments and settings, in a run of its own.",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        int, typer.Option(help="GPUs to train on, one process each; 0: this process.", min=0)
    ] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Draw the log for TensorBoard, too.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(metavar="FIRST:STOP", help="Trace these steps.", show_default=False)
    ] = None,
    ranks: Annotated[int, typer.Option(help="CPU processes to train in; 0: this process.", min=0)] = 0,
    set_: options.Overrides = [],  # noqa: B006
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a model: the steps of a recipe up to training, or shards as they are.

    `--set` takes a recipe's values, or the trainer's settings (docs/trainer.md). With `--address` the
    processes run on a Ray cluster that sees the folders.

    With `--from` the run begins as a branch of another and takes over every setting not given here.

    Example: gristmill train out/web --out runs/a --preset llama-15m --set steps=500

    Example: gristmill train --from runs/a@400 --out runs/b --set schedule=decay --set steps=100
    """
    if input is None and not from_:
        raise UsageError("name a recipe, a run or shards to train on, or a checkpoint with --from RUN@STEP")
    if input is not None and input.endswith((".yaml", ".yml")):
        _train_recipe(input, options_of_run=(out, engine, workers, address, quiet, json), overrides=set_)
    from gristmill.trainer.checkpoints.branch import with_trunk
    from gristmill.trainer.command import with_settings
    from gristmill.trainer.config import Settings

    values: dict[str, Any] = {"run": str(out or Path("out") / "train")}
    if input is not None:
        values["shards"], own_heldout = _shard_folders(input)
        heldout = heldout or own_heldout
    if heldout:
        values["heldout"] = heldout
    if from_:
        values["branch"] = _checkpoint(from_)
    values = with_settings(values, set_)
    if preset:
        values.setdefault("model", {})["preset"] = preset
    values |= {"tensorboard": True} if tensorboard else {}
    values |= {"profile": profile} if profile else {}
    if gpus:
        values["device"] = "cuda"
        if not address:
            check_gpus(gpus)
    Settings.from_dict(with_trunk(values))  # a mistake is found before processes start
    summary = (
        _in_group(values, gpus or ranks, bool(gpus), address) if gpus or ranks or address else _here(values)
    )
    if os.environ.get("RANK", "0") == "0":  # torchrun and srun start this command once per rank
        _print_summary(summary, json)


def _checkpoint(named: str) -> str:
    """RUN@STEP, where RUN may be a recipe's run."""
    run, at, step = named.rpartition("@")
    return f"{trained(Path(run))}@{step}" if at and step.isdecimal() else str(trained(Path(named)))


def _shard_folders(named: str) -> tuple[str, str]:
    """The shards to train on and those held out: a run has both; of shards themselves nothing is known to be
    held out."""
    from gristmill.files.location import location
    from gristmill.pipeline.run.folder import result_of

    shards = result_of(location(named), "mix", "shards/train")
    return (str(shards), str(shards.parent / "heldout")) if shards != location(named) else (named, "")


def _train_recipe(recipe: str, options_of_run: tuple[Any, ...], overrides: list[str]) -> None:
    from gristmill.pipeline.look.printing.tables import print_run
    from gristmill.pipeline.verbs.invoke import Options, exit_code, load_recipe, output_folder, run_recipe

    loaded = load_recipe(Path(recipe), overrides)
    run = Options(*options_of_run)
    result = run_recipe(loaded, run, until="train")
    print_run(output_folder(loaded, run.out), as_json=run.json)
    raise typer.Exit(exit_code(loaded, result, output_folder(loaded, run.out)))


def _here(values: dict[str, Any]) -> dict[str, Any]:
    from gristmill.trainer.train import run

    return run(values)


def _in_group(values: dict[str, Any], ranks: int, use_gpus: bool, address: str | None) -> dict[str, Any]:
    """Train in several processes, on this machine or on a Ray cluster, and read the summary that rank 0
    wrote."""
    import orjson

    from gristmill.trainer.ranks.launch import launch

    run = Path(values["run"]).absolute()
    run.mkdir(parents=True, exist_ok=True)
    config = run / "settings.json"
    config.write_bytes(orjson.dumps(values | {"run": str(run)}))
    command = ["-m", "gristmill.trainer.train", "--config", str(config)]
    if address:
        from gristmill.pipeline.run.engine import run_ranks
        from gristmill.pipeline.run.settings import EngineSettings

        settings, say = EngineSettings(kind="ray", address=address), functools.partial(print, file=sys.stderr)
        code = run_ranks(settings, command, ranks or 1, use_gpus=use_gpus, say=say)
    else:
        code = launch([sys.executable, *command], ranks, output=sys.stderr)
    if code in (130, 143):
        raise typer.Exit(code)
    if code:
        raise StepFailed(
            f"a rank of the trainer ended with exit code {code}", where=str(run), hint="its error is above"
        )
    summary: dict[str, Any] = orjson.loads(read_file(run / "summary.json"))
    return summary


def _print_summary(summary: dict[str, Any], as_json: bool) -> None:
    import orjson

    if as_json:
        print(orjson.dumps(summary).decode())
        return
    print(
        f"{summary['parameters']:,} parameters, {summary['tokens']:,} tokens, {summary['tokens_per_s']:,.0f}"
        " tokens/s"
    )
    before = {row["source"]: row for row in summary["evaluations"].get("before", [])}
    for row in summary["evaluations"].get("after", []):
        bits = [
            f"{part['bits_per_byte']:.3f}"
            for part in (before.get(row["source"]), row)
            if part and part["bits_per_byte"]
        ]
        source = inert(row["source"])
        print(f"{source:20} {' -> '.join(bits)} bits per byte over {row['bytes']:,} held-out bytes")
    print(summary["checkpoint"])
