"""`generate`, `evaluate`, `export-hf`, `average`: what to do with a trained model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import UsageError
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
    app.command("generate")(generate)
    app.command("evaluate")(evaluate)
    app.command("export-hf")(export_hf)
    app.command("average")(average)


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

    check_gpus(gpus)
    command = [sys.executable, "-m", "gristmill.pipeline.cli", *sys.argv[1:], "--gpus", "0"]
    raise typer.Exit(launch(command, gpus))


def trained(checkpoint: Path) -> Path:
    """The trainer's folder of a run, or what else was named."""
    from gristmill.pipeline.phases.train import RUN
    from gristmill.pipeline.run.folder import result_of

    return result_of(checkpoint, "train", RUN)


def check_gpus(gpus: int) -> None:
    from gristmill.trainer.ranks.parallel import torch_device

    torch_device("cuda")
    import torch

    if gpus > torch.cuda.device_count():
        raise UsageError(
            f"`--gpus` is {gpus}, this machine has {torch.cuda.device_count()}",
            hint="name a cluster with `--address`",
        )
