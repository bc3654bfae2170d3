"""`tasks`: make and convert tasks, score models on them, and measure what generated text degenerates into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.listing import MEASURE

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Checkpoint = Annotated[Path, typer.Argument(help="A run, or a trainer's run folder.", show_default=False)]
Rows = Annotated[
    Path, typer.Argument(help="JSON lines of tasks, as `evaluate` reads them.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="Where to write.", show_default=False)]

GROUP = MEASURE


def register(app: typer.Typer) -> None:
    tasks = typer.Typer(
        help="Tasks for models: make, convert, score by size, shots, decoding.", no_args_is_help=True
    )
    for command in (convert, synthetic, sizes, shots, positions, decoding):
        tasks.command(command.__name__)(command)
    app.add_typer(tasks, name="tasks")


def convert(
    layout: Annotated[
        str, typer.Argument(help="lambada, hellaswag, arc, piqa, mmlu, boolq, winogrande, gsm8k.")
    ],
    file: Annotated[Path, typer.Argument(help="The benchmark's JSON lines.", show_default=False)],
    out: Out,
    labels: Annotated[Path | None, typer.Option(help="PIQA's file of labels.", show_default=False)] = None,
) -> None:
    """Write a public benchmark as rows that `evaluate` scores.

    Example: gristmill tasks convert hellaswag hellaswag_val.jsonl --out tasks.jsonl
    """
    import json

    from gristmill.files.storage import write_atomic
    from gristmill.trainer.evaluation import converters

    # not splitlines(): JSON may hold U+2028 and the like as they are
    lines = file.read_text("utf-8").split("\n")
    given = labels.read_text("utf-8").split("\n") if labels else []
    rows = list(converters.convert(layout, lines, given))
    write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    print(f"{len(rows):,} rows of {layout} in {out}")


def synthetic(
    kind: Annotated[str, typer.Argument(help="copy, reverse, arithmetic, lookup, translation.")],
    out: Out,
    count: Annotated[int, typer.Option(help="Tasks.", min=1)] = 500,
    seed: Annotated[int, typer.Option(help="Of the draws: another for text than for scoring.", min=0)] = 0,
    text: Annotated[bool, typer.Option("--text", help="Documents to train on, 50 tasks each.")] = False,
) -> None:
    """Write small tasks, to score or as text that a recipe mixes in at a known share.

    Example: gristmill tasks synthetic arithmetic --text --seed 1 --out sums.jsonl
    """
    import json

    from gristmill.files.storage import write_atomic
    from gristmill.trainer.evaluation import synthetic as making

    rows: list[dict[str, Any]] = making.rows(kind, count, seed)
    if text:
        solved = [row["prompt"] + row["answer"] for row in rows]
        parts = [solved[at : at + 50] for at in range(0, len(solved), 50)]
        rows = [{"id": f"{kind}:{seed}:{n}", "text": "\n".join(part) + "\n"} for n, part in enumerate(parts)]
    write_atomic(out, "".join(json.dumps(row) + "\n" for row in rows).encode())
    print(f"{len(rows):,} rows in {out}")


def sizes(
    file: Rows,
    runs: Annotated[list[Path], typer.Argument(help="Runs of growing size, such as a ladder's.")],
    html: Annotated[Path | None, typer.Option(help="Draw smooth beside sharp.", show_default=False)] = None,
    device: Device = "auto",
    json: options.Json = False,
) -> None:
    """Score models of several sizes by smooth and sharp measures, side by side.

    A jump in the sharp one where the smooth one falls evenly is the measure's (Schaeffer et al. 2023).

    Example: gristmill tasks sizes tasks.jsonl runs/1m runs/4m runs/16m --html sizes.html
    """
    import json as json_module

    from gristmill.pipeline.look.printing.terminal import Paper
    from gristmill.pipeline.look.printing.terminal import rows as table
    from gristmill.pipeline.proof.emergence import measure, write_page

    found = measure(file, runs, device)
    if html:
        write_page(html, found)
    if json:
        print(json_module.dumps(found))
        return
    shown = [
        [
            one["kind"],
            f"{one['parameters']:,}",
            f"{one['bits_per_byte']:.4f}",
            f"{one['smooth']:.4f}",
            f"{one['sharp']:.4f}",
        ]
        for one in found
    ]
    for line in table(
        Paper(), ["kind", "N", "bits/byte", "likelihood", "accuracy"], shown, right=(1, 2, 3, 4)
    ):
        print(line)


def shots(
    checkpoint: Checkpoint,
    file: Rows,
    counts: Annotated[str, typer.Option(help="Examples before the question.")] = "0,1,4",
    instruction: Annotated[str, typer.Option(help="A line before all of it, for a second pass.")] = "",
    device: Device = "auto",
    json: options.Json = False,
) -> None:
    """Score answers after none, one and more examples, with and without an instruction.

    Example: gristmill tasks shots runs/a tasks.jsonl --counts 0,1,4 --instruction "Add the numbers."
    """
    import json as json_module

    from gristmill.pipeline.look.printing.terminal import Paper
    from gristmill.pipeline.look.printing.terminal import rows as table
    from gristmill.pipeline.verbs.tokens.trained_models import trained
    from gristmill.trainer.evaluation.in_context import shots as score

    try:
        numbers = [int(part) for part in counts.split(",")]
    except ValueError:
        raise UsageError(f"`--counts` must be whole numbers such as 0,1,4, got {counts!r}") from None
    found = score(trained(checkpoint), file, numbers, instruction, device)
    if json:
        print(json_module.dumps(found))
        return
    shown = [
        [
            str(one["shots"]),
            "yes" if one["instruction"] else "no",
            str(one["rows"]),
            str(one["left_out"]),
            f"{one['bits_per_byte']:.4f}",
            f"{one['exact_match']:.3f}",
        ]
        for one in found
    ]
    head = ["shots", "instruction", "rows", "left out", "bits/byte", "exact match"]
    for line in table(Paper(), head, shown, right=(0, 2, 3, 4, 5)):
        print(line)


def positions(
    checkpoint: Checkpoint,
    file: Annotated[Path, typer.Argument(help="JSON lines with `text`.", show_default=False)],
    device: Device = "auto",
    json: options.Json = False,
) -> None:
    """Print the loss by position in a text, and how far probabilities can be believed (ECE).

    Example: gristmill tasks positions runs/a heldout.jsonl
    """
    import json as json_module
    from dataclasses import asdict

    from gristmill.pipeline.look.printing.terminal import Paper
    from gristmill.pipeline.look.printing.terminal import rows as table
    from gristmill.pipeline.verbs.tokens.trained_models import trained
    from gristmill.trainer.evaluation.in_context import by_position

    found = by_position(trained(checkpoint), file, device)
    if json:
        print(json_module.dumps({"positions": found.positions, "calibration": asdict(found.calibration)}))
        return
    shown = [
        [f"{one['from']:,} to {one['to']:,}", f"{one['tokens']:,}", f"{one['loss']:.4f}"]
        for one in found.positions
    ]
    for line in table(Paper(), ["position", "tokens", "nats a token"], shown, right=(0, 1, 2)):
        print(line)
    told = found.calibration
    print(
        f"calibration error {told.error:.4f}: the likeliest token is right in {told.accuracy:.1%};"
        f" predictions hold {told.entropy:.2f} bits"
    )
    if found.cut:
        print(f"{found.cut} of {found.texts} texts are longer than the context: their beginnings")


def decoding(
    checkpoint: Checkpoint,
    prompts: Annotated[Path, typer.Argument(help="Texts to continue, one a line.", show_default=False)],
    strategies: Annotated[str, typer.Option(help="Names, or all.")] = "all",
    max_tokens: Annotated[int, typer.Option(help="Tokens each.", min=4)] = 100,
    shards: Annotated[
        Path | None,
        typer.Option(help="Training shards: which 50-token stretches are theirs.", show_default=False),
    ] = None,
    device: Device = "auto",
    json: options.Json = False,
) -> None:
    """Measure repetition, diversity, Zipf, overlap and memorised text of greedy, beam and sampled texts.

    Example: gristmill tasks decoding runs/a prompts.txt --shards out/web/steps/mix-1/shards/train
    """
    import json as json_module

    from gristmill.pipeline.look.printing.terminal import Paper
    from gristmill.pipeline.look.printing.terminal import rows as table
    from gristmill.pipeline.proof.emergence import measure_decoding
    from gristmill.pipeline.verbs.tokens.trained_models import trained

    lines = [line for line in prompts.read_text("utf-8").splitlines() if line.strip()]
    found = measure_decoding(trained(checkpoint), lines, strategies, max_tokens, shards, device)
    if json:
        print(json_module.dumps(found))
        return
    if found[0]["prompts_cut"]:
        print(
            f"{found[0]['prompts_cut']} of {len(lines)} prompts are longer than half the context: their ends"
        )
    names = [
        "rep_2",
        "rep_4",
        "distinct_2",
        "zipf",
        "self_overlap",
        "entropy",
        *(["memorised"] if shards else []),
    ]
    shown = [[one["strategy"], *(f"{one[name]:.3f}" for name in names)] for one in found]
    for line in table(Paper(), ["decoding", *names], shown, right=range(1, len(names) + 1)):
        print(line)
