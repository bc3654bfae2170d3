"""Models of several sizes on the same tasks, by smooth and sharp measures; decoding compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.files.storage import write_atomic
from gristmill.pipeline.phases.train import RUN
from gristmill.pipeline.report.charts.curves import Line, lines
from gristmill.pipeline.report.charts.markup import PageSection, figure, tag
from gristmill.pipeline.report.page import page
from gristmill.pipeline.run.folder import result_of
from gristmill.trainer.checkpoints.checkpoint import Meta, find
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.degeneration import (
    MEMORY_TOKENS,
    STRATEGIES,
    Memory,
    measures,
    sampling_of,
)
from gristmill.trainer.evaluation.evaluate import evaluate
from gristmill.trainer.evaluation.generate import generate, load_model
from gristmill.trainer.evaluation.tokenizer import load_tokenizer
from gristmill.trainer.model.decoder import num_parameters

_SHARP, _SMOOTH = "accuracy", ("normalised_likelihood", "likelihood")


def measure(file: Path, runs: Sequence[Path], device: str = "auto") -> list[dict[str, Any]]:
    """Score every run on a file of tasks; a row for each run and kind of task, by ascending parameters."""
    found = []
    for run in runs:
        folder = result_of(run, "train", RUN)
        size = num_parameters(load_model(folder, "cpu")[0])
        scores = evaluate(folder, file, device)
        for kind in ("answer", "choices"):
            if kind in scores:
                own = scores[kind]
                smooth = next(own[name] for name in _SMOOTH if name in own)
                found.append(
                    {
                        "run": str(run),
                        "kind": kind,
                        "parameters": size,
                        "tokens": Meta.read(find(folder)).tokens,
                        "bits_per_byte": own["bits_per_byte"],
                        "smooth": smooth,
                        "sharp": own[_SHARP],
                    }
                )
    if not found:
        raise UsageError(
            "the file holds no answers or choices to score", hint="rows of text have no right answer"
        )
    return sorted(found, key=lambda one: (one["kind"], one["parameters"]))


def write_page(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Draw smooth and sharp measures over size, one beside the other."""
    cards = []
    for kind in dict.fromkeys(one["kind"] for one in found):
        own = [one for one in found if one["kind"] == kind]
        for name, title in (
            ("bits_per_byte", "bits per byte of the right answer"),
            ("smooth", "likelihood of the right answer"),
            ("sharp", "accuracy"),
        ):
            points = [(float(one["parameters"]), float(one[name])) for one in own]
            cards.append(
                figure(f"{kind}: {title}", lines(title, [Line(title, points)], "parameters", dots=True))
            )
    lead = (
        "The same models on the same tasks. Where accuracy jumps and the likelihood of the answer rises"
        " evenly, the jump is the measure's: it asks for every token to be right (Schaeffer et al. 2023)."
    )
    section = PageSection("sizes", "Smooth and sharp", tag("div", *cards, class_="cards wide"), lead)
    head = tag("header", tag("h1", "Tasks by size"), class_="hero")
    write_atomic(path, page("Tasks by size · gristmill", head, [section], {}).encode())


def measure_decoding(
    run: Path,
    prompts: Sequence[str],
    strategies: str,
    max_tokens: int,
    shards: Path | None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Continue prompts by each strategy; measure what comes out, and how much of it is the shards' own.

    Of a prompt longer than half the context the end is continued; `prompts_cut` counts these.
    """
    names = list(STRATEGIES) if strategies == "all" else strategies.split(",")
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown:
        raise UsageError(f"there is no decoding `{unknown[0]}`: {', '.join(STRATEGIES)}")
    if not prompts:
        raise UsageError("there are no prompts to continue")
    if shards and max_tokens < MEMORY_TOKENS:
        raise UsageError(
            f"{max_tokens} tokens hold no stretch of {MEMORY_TOKENS} to find in the shards",
            hint=f"say `--max-tokens {2 * MEMORY_TOKENS}`",
        )
    model, meta = load_model(run, device)
    tokenizer = load_tokenizer(find(run))
    room = model.config.context // 2
    whole = [tokenizer.encode(prompt) for prompt in prompts]
    ids = [[meta.eos_id, *tokens[-(room - 1) :]] for tokens in whole]
    cut = sum(len(tokens) > room - 1 for tokens in whole)
    memory = Memory(ShardSet(shards)) if shards else None
    found: list[dict[str, Any]] = []
    for name in names:
        vocab = min(tokenizer.size, meta.model.vocab)
        texts = generate(model, ids, meta.eos_id, sampling_of(name, max_tokens), vocab)
        row: dict[str, Any] = {"strategy": name, "prompts_cut": cut, **measures(texts)}
        if memory:
            row["memorised"], row["stretches"] = memory.share(texts)
        found.append(row)
    return found
