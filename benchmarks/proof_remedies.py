"""Remedies to maximum likelihood: what each does to repetition, diversity, calibration and likelihood.

    python benchmarks/proof_remedies.py --web *.warc.gz --work DIR [--save]

The same small model on the same tokens, once with plain maximum likelihood and once with each remedy, some
seeds each. Beginnings of held-out documents are continued greedily and by nucleus sampling; rep-n,
distinct-n, Zipf's exponent, self-overlap and entropy are measured on what comes out and on the documents' own
continuations; calibration (ECE, entropy of predictions) and nats per token on the held-out documents. A
killed one goes on with the next training.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from proof_data import arguments, gristmill, keep, made_here, write_recipe

from gristmill.trainer.data.shards import ShardSet, Stream
from gristmill.trainer.evaluation.degeneration import calibration, measures, sampling_of
from gristmill.trainer.evaluation.evaluate import token_scores
from gristmill.trainer.evaluation.generate import generate, load_model
from gristmill.trainer.train import run

RESULT = Path(__file__).parent / "results" / "proof_remedies.json"
MODEL = {"num_layers": 1, "width": 96, "num_heads": 3, "ffn": 256, "context": 128}  # .3 M parameters
REMEDIES: Mapping[str, Mapping[str, float]] = {  # weights of the papers where they give one
    "plain": {},
    "unlikelihood": {"unlikelihood": 1.0},
    "contrastive": {"contrastive": 1.0},
    "scheduled sampling": {"scheduled_sampling": 0.25},
    "label smoothing": {"smoothing": 0.1},
    "entropy bonus": {"entropy": 0.1},
}
STRATEGIES = ("greedy", "nucleus")
PROMPT = 16  # tokens of a held-out document
SHOWN = ("rep_1", "rep_2", "rep_4", "distinct_1", "distinct_2", "zipf", "self_overlap", "entropy")
TEXT = "documents themselves"


def main() -> None:
    parser = arguments(__doc__ or "", RESULT)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=64)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    torch.set_num_threads(1)
    out = options.work / "remedies"
    if not list(out.glob("steps/mix-*/manifest.json")):
        gristmill("mix", write_recipe(options), "--out", out, "--engine", "inline")
    (shards,) = out.glob("steps/mix-*/shards")
    rows = heldout(shards / "heldout", options.prompts, PROMPT + options.new_tokens)
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        for name, loss in REMEDIES.items():
            kept = out / "found" / f"{name}-{seed}-{options.steps}x{options.batch}.json"
            if not kept.exists():
                facts = trained(shards, out / f"run-{name}-{seed}", loss, seed, rows, options)
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(json.dumps(facts))
            found.setdefault(name, []).append(json.loads(kept.read_text()))
            print(name, seed, found[name][-1], flush=True)
    facts = {
        "what": "remedies to maximum likelihood: generated text, calibration and likelihood, mean of seeds",
        "model": {**MODEL, "parameters": found["plain"][0]["parameters"]},
        "tokens": options.steps * options.batch * MODEL["context"],
        "seeds": seeds,
        "prompts": len(rows),
        "new_tokens": options.new_tokens,
        "settings": {name: dict(loss) for name, loss in REMEDIES.items()},
        "remedies": {name: mean(own) for name, own in found.items()},
        "range_over_seeds": {name: spread(own) for name, own in found.items()},
        TEXT: measured([row[PROMPT:] for row in rows]),
    }
    keep(RESULT, {**facts, **made_here()}, options.save)


def heldout(folder: Path, count: int, length: int) -> list[list[int]]:
    """The first tokens of held-out documents that are long enough."""
    stream = Stream.whole(ShardSet(folder))
    table = stream.documents_table()
    spans = [
        (int(start), int(start) + length)
        for start, stop in zip(table.starts, table.stops, strict=True)
        if stop - start > length
    ]
    return [stream.read(start, stop).tolist() for start, stop in spans[:count]]


def trained(
    shards: Path, folder: Path, loss: Mapping[str, float], seed: int, rows: list[list[int]], options: Any
) -> dict[str, Any]:
    """Train one model and measure it."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = {
        "shards": str(shards / "train"),
        "run": str(folder),
        "model": MODEL,
        "optimizer": {"name": "muon", "lr": 0.02},
        "loss": dict(loss),
        "batch": options.batch,
        "steps": options.steps,
        "seed": seed,
        "threads": 1,
        "device": "cpu",
    }
    run(settings)
    model, meta = load_model(folder, "cpu")
    eos = meta.eos_id
    whole = [[eos, *row] for row in rows]
    nats = [nat for scores in token_scores(model, whole, [1] * len(whole)) for nat, _ in scores]
    told = calibration(model, whole)
    prompts = [[eos, *row[:PROMPT]] for row in rows]
    facts: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "nats_per_token": math.fsum(nats) / len(nats),
        "ece": told.error,
        "accuracy": told.accuracy,
        "entropy_of_predictions": told.entropy,
    }
    for name in STRATEGIES:
        sampling = sampling_of(name, options.new_tokens)
        facts[name] = measured(generate(model, prompts, eos, sampling, meta.model.vocab))
    return facts


def measured(texts: list[list[int]]) -> dict[str, float]:
    found = measures(texts)
    return {name: found[name] for name in SHOWN}


def mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return over_seeds(rows, statistics.fmean)


def spread(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The largest less the smallest."""
    return over_seeds(rows, lambda values: max(values) - min(values))


def over_seeds(rows: list[dict[str, Any]], summed: Callable[[list[float]], float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in rows[0].items():
        column = [row[key] for row in rows]
        if key != "parameters":
            found[key] = over_seeds(column, summed) if isinstance(value, dict) else summed(column)
    return found


if __name__ == "__main__":
    main()
