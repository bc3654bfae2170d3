"""In-context learning: loss by position in a document, and what examples or an instruction before help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.trainer.checkpoints.checkpoint import find
from gristmill.trainer.evaluation.degeneration import Calibration, calibration
from gristmill.trainer.evaluation.evaluate import Scorer, score_pairs, token_scores
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.evaluation.rows import prompt_of, read_rows
from gristmill.trainer.evaluation.tokenizer import load_tokenizer

SHOTS = (0, 1, 4)


@dataclass(frozen=True)
class Positions:
    """Mean nats by position in ranges that double (from, to, tokens, loss), calibration over the same tokens,
    and how many texts there were, and how many were longer than the context."""

    positions: list[dict[str, float]]
    calibration: Calibration
    texts: int
    cut: int


def by_position(checkpoint: Path, file: Path, device: str = "auto") -> Positions:
    """Measure next-token predictions on a file's texts, from their beginning, one context at most of each."""
    texts = [row["text"] for row in read_rows(file) if "text" in row]
    if not texts:
        raise UsageError(f"`{file}` holds no row with `text`", hint="write JSON lines with a field `text`")
    model, meta = load_model(checkpoint, device)
    tokenizer = load_tokenizer(find(checkpoint))
    whole = [[meta.eos_id, *tokenizer.encode(text)] for text in texts]
    rows = [row[: model.config.context + 1] for row in whole]
    scores = token_scores(model, rows, [1] * len(rows))
    cut = sum(len(own) < len(row) for own, row in zip(rows, whole, strict=True))
    return Positions(_in_ranges(scores, model.config.context), calibration(model, rows), len(texts), cut)


def _in_ranges(scores: Sequence[Sequence[tuple[float, bool]]], context: int) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    start, stop = 0, 1
    while start < context:
        part = [nats for row in scores for nats, _ in row[start:stop]]
        if part:
            loss = math.fsum(part) / len(part)
            found.append({"from": start + 1, "to": stop, "tokens": len(part), "loss": loss})
        start, stop = stop, min(2 * stop, context)
    return found


def shots(
    checkpoint: Path,
    file: Path,
    counts: Sequence[int] = SHOTS,
    instruction: str = "",
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Score answers after so many examples, taken from the rows that follow, with and without an instruction.

    Rows that do not fit the context with the most examples are left out of all counts, so that every row of
    the result is of the same questions; `left_out` says how many. Raises UsageError where none is left, and
    for as many examples as there are rows: the question itself would be one of them.
    """
    rows = [row for row in read_rows(file) if "answer" in row]
    if max(counts) >= len(rows):
        raise UsageError(
            f"{max(counts)} examples before a question need {max(counts) + 1} rows with an answer, the file"
            f" has {len(rows)}",
            hint="add rows, or ask for fewer examples with `--counts`",
        )
    model, meta = load_model(checkpoint, device)
    tokenizer = load_tokenizer(find(checkpoint))
    prompts: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for said in dict.fromkeys(("", instruction)):
        for count in counts:
            made = []
            for at, row in enumerate(rows):
                others = [rows[(at + 1 + k) % len(rows)] for k in range(count)]
                prompt = prompt_of({**row, "examples": others})
                made.append((f"{said}\n\n{prompt}" if said else prompt, _answer(row)))
            prompts[count, said] = made
    fits = [
        all(
            len(tokenizer.encode(prompt + answer)) < model.config.context
            for prompt, answer in (pairs[at] for pairs in prompts.values())
        )
        for at in range(len(rows))
    ]
    if not any(fits):
        raise UsageError(
            f"no row with {max(counts)} examples fits the context of {model.config.context} tokens",
            hint="ask for fewer examples with `--counts`",
        )
    found = []
    for (count, said), pairs in prompts.items():
        chosen = [pair for pair, fit in zip(pairs, fits, strict=True) if fit]
        scored = score_pairs(Scorer.of(model), tokenizer, meta.eos_id, chosen)
        nats = -math.fsum(one.log_likelihood for one in scored)
        size = sum(len(answer.encode()) for _, answer in chosen)
        found.append(
            {
                "shots": count,
                "instruction": bool(said),
                "rows": len(chosen),
                "left_out": len(rows) - len(chosen),
                "bits_per_byte": nats / (math.log(2) * max(1, size)),
                "exact_match": sum(one.is_greedy for one in scored) / max(1, len(scored)),
            }
        )
    return found


def _answer(row: dict[str, Any]) -> str:
    return str(row["choices"][row["answer"]] if "choices" in row else row["answer"])
