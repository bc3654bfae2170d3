"""`train`, `generate`, `evaluate`, `export-hf`: from shards to a model, and what to do with it."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import StepFailed, UsageError
from gristmill.files.inside import inert
from gristmill.pipeline.verbs import listing, options

Checkpoint = Annotated[
    Path, typer.Argument(help="A run, a trainer's run folder, or one of its checkpoints.", show_default=False)
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="bf16, fp32, or auto: bf16 on a GPU that has it.")]
Gpus = Annotated[int, typer.Option(help="GPUs that share the work, a process each; 0: this process.", min=0)]

GROUP = listing.TOKENS


def register(app: typer.Typer) -> None:
    app.command("train")(train)
    app.command("generate")(generate)
    app.command("evaluate")(evaluate)
    app.command("export-hf")(export_hf)
    app.command("average")(average)


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
            _check_gpus(gpus)
    Settings.from_dict(with_trunk(values))  # a mistake is found before processes start
    summary = (
        _in_group(values, gpus or ranks, bool(gpus), address) if gpus or ranks or address else _here(values)
    )
    if os.environ.get("RANK", "0") == "0":  # torchrun and srun start this command once per rank
        _print_summary(summary, json)


def generate(
    checkpoint: Checkpoint,
    prompts: Annotated[list[str], typer.Argument(help="Texts to continue.", show_default=False)],
    max_tokens: Annotated[int, typer.Option(help="Tokens to add at most.", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the k likeliest; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw from the smallest set with this probability.")] = 0.95,
    typical_p: Annotated[
        float, typer.Option(help="Draw from the tokens nearest the expected surprise, of this probability.")
    ] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Draw from tokens of this share of the likeliest one's probability.")
    ] = 0.0,
    contrastive: Annotated[
        float, typer.Option(help="Search by this penalty on repetition; needs temperature 0 and --top-k.")
    ] = 0.0,
    beams: Annotated[int, typer.Option(help="Search with this many beams; needs temperature 0.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    gpus: Gpus = 0,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace", help="A run: name the training passages that share most tokens.", show_default=False
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Continue texts with a trained model.

    With --trace, the training documents that share the longest runs of tokens with what is written are named.

    Example: gristmill generate runs/a "The standard library"
    """
    if gpus:
        _on_ranks(gpus)
    import orjson

    from gristmill.trainer.evaluation.generate import Sampling, complete

    sampling = Sampling(
        max_tokens, temperature, top_k, top_p, typical_p, min_p, contrastive, num_beams=beams, seed=seed
    )
    texts = complete(trained(checkpoint), prompts, sampling, device, dtype)
    for prompt, text in zip(prompts, texts, strict=True) if _is_first_rank() else ():
        shared = _passages(trace, prompt + text) if trace is not None else []
        if json:
            print(
                orjson.dumps(
                    {"prompt": prompt, "text": text, **({"passages": shared} if trace else {})}
                ).decode()
            )
            continue
        print(inert(prompt + text))
        for passage in shared:
            print(
                f"  {passage['tokens']} tokens as in {passage['place']}, {passage['id']}: {passage['text']!r}"
            )


def _passages(trace: Path, text: str) -> list[dict[str, Any]]:
    """The longest runs of tokens that a text shares with training shards, and whose documents they are of."""
    from gristmill.pipeline.look.document.passages import longest_passages
    from gristmill.pipeline.run.folder import result_of
    from gristmill.token_shards import read_manifest
    from gristmill.tokenize.encoding.tokenizers import open_tokenizer
    from gristmill.tokenize.settings import TokenizerSettings

    shards = result_of(trace, "mix", "shards/train")
    manifest = read_manifest(shards)
    tokenizer = open_tokenizer(shards / manifest["tokenizer"], TokenizerSettings(eos=manifest["eos_id"]))
    (ids,) = tokenizer.encode_batch([text])
    found = longest_passages(shards, list(ids), 5)
    return [
        {
            "tokens": passage.length,
            "text": tokenizer.decode(list(ids)[passage.at : passage.at + passage.length]),
            "place": f"{passage.shard}:{passage.token}",
            "id": passage.id,
        }
        for passage in found
    ]


def evaluate(
    checkpoint: Checkpoint,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON lines: text; prompt, answer; or prompt, choices, answer.", show_default=False
        ),
    ],
    device: Device = "auto",
    dtype: Dtype = "auto",
    gpus: Gpus = 0,
    json: options.Json = False,
) -> None:
    """Score a file: perplexity and bits per byte of texts and their last words, accuracy on answers and
    choices.

    Example: gristmill evaluate runs/a lambada.jsonl
    """
    import orjson

    from gristmill.trainer.evaluation.evaluate import evaluate as scores

    if gpus:
        _on_ranks(gpus)
    found = scores(trained(checkpoint), file, device, dtype)
    if not _is_first_rank():
        return
    if json:
        print(orjson.dumps(found).decode())
        return
    for kind in ("text", "last_word", "answer", "choices"):
        for name, value in found.get(kind, {}).items():
            print(
                f"{kind:9} {name:18} {value:,.4f}"
                if isinstance(value, float)
                else f"{kind:9} {name:18} {value:,}"
            )


def export_hf(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    dtype: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
) -> None:
    """Write a checkpoint as a Hugging Face folder, which transformers, lm-evaluation-harness, TRL and vLLM
    load.

    Example: gristmill export-hf runs/a exported
    """
    from gristmill.trainer.checkpoints.hf import export_hf as write

    if dtype not in ("fp32", "bf16"):
        raise UsageError(f"`--dtype` must be fp32 or bf16, got {dtype!r}")
    print(write(trained(checkpoint), out, dtype))


def average(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(help="The run folder to write.", show_default=False)],
    last: Annotated[
        int, typer.Option(min=0, help="Of so many last checkpoints; 0: the exponential average it keeps.")
    ] = 0,
) -> None:
    """Average the weights of a run's last checkpoints, or write out the exponential average it keeps
    (optimizer.ema_decay).

    Example: gristmill average runs/a runs/a-mean --last 5
    """
    from gristmill.trainer.optimize.average import average as write

    print(write(trained(checkpoint), out, last))


def _is_first_rank() -> bool:
    """Whether this process speaks for all: torchrun and srun start a command once per rank."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def _on_ranks(gpus: int) -> None:
    """Run this very command once per GPU, and end with its exit code."""
    from gristmill.trainer.ranks.launch import launch

    _check_gpus(gpus)
    command = [sys.executable, "-m", "gristmill.pipeline.cli", *sys.argv[1:], "--gpus", "0"]
    raise typer.Exit(launch(command, gpus))


def trained(checkpoint: Path) -> Path:
    """The trainer's folder of a run, or what else was named."""
    from gristmill.pipeline.phases.train import RUN
    from gristmill.pipeline.run.folder import result_of

    return result_of(checkpoint, "train", RUN)


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


def _check_gpus(gpus: int) -> None:
    from gristmill.trainer.ranks.parallel import torch_device

    torch_device("cuda")
    import torch

    if gpus > torch.cuda.device_count():
        raise UsageError(
            f"`--gpus` is {gpus}, this machine has {torch.cuda.device_count()}",
            hint="name a cluster with `--address`",
        )


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
    summary: dict[str, Any] = orjson.loads((run / "summary.json").read_bytes())
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
