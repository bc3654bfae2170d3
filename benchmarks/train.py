"""Tokens per second, MFU and memory of the trainer, beside a plain nanoGPT-style loop and transformers'
Llama.

    python benchmarks/train.py [--presets llama-124m,llama-1b] [--threads 1,2] [--rounds 9] [--quick] [--json]
    [--record]

All loops train the same shape on the same batches in the same precision, each as it is and compiled. On a GPU
one call measures every preset below, each loop alone on the device, and for two of them what each of the
trainer's tricks gives; a batch that one of the loops cannot hold is halved for all. On a CPU the loops take
turns step by step in one process, so that whatever else the machine does meets all alike, and a ratio is the
median over rounds of that of their CPU seconds. The memory of the loss over vocabularies is measured too.
`--record` writes results/train.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from train_measure import Case, run_apart

RESULTS = Path(__file__).parent / "results" / "train.json"
FORMULA = (
    "MFU = tokens/s x (6 N + 12 L H Q T) / peak; N with the head, without embedding lookups; causality is not"
    " taken off"
)
NO_GPU = (
    "No GPU was at hand: figures of MFU and of memory on a GPU are absent. On one, the same command without"
    " options takes them."
)

# Samples per step and vocabulary on a GPU: about 32,768 tokens a step.
ON_GPU = {
    "llama-15m": (64, 32768), "llama-60m": (32, 32768), "gpt2-124m": (32, 50257), "llama-124m": (32, 32768),
    "llama-350m": (16, 32768), "llama-1b": (16, 32768),
}  # fmt: skip
GPU_STEPS = 10  # per round, between two looks at the clock
ON_CPU = {"llama-15m": (4, 8192)}
CPU_CONTEXT = 512

LOOPS = ("gristmill", "plain loop", "transformers")
OURS = "gristmill, compiled"

# What is taken from the trainer, or put on top, each measured beside the compiled trainer as it is by
# default.
TRICKED = ("llama-124m", "llama-1b")
TRICKS: dict[str, dict[str, Any]] = {
    "the loss not compiled": {"compile_loss": False},
    "documents masked, varlen": {"attention": "varlen", "documents": True},
    "documents masked, flex": {"attention": "flex", "documents": True},
    "activations recomputed": {"checkpointing": "full"},
    "8-bit products": {"float8": True},
    "Muon": {"optimizer": {"name": "muon", "lr": 1e-4}},
}

VOCABULARIES = (8_192, 32_768, 131_072)

Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--presets", help="comma-separated; default: all of the table on a GPU, llama-15m on a CPU"
    )
    parser.add_argument("--threads", default="1,2", help="of a CPU, comma-separated")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--quick", action="store_true", help="one preset, few rounds, on a CPU nothing compiled"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="write results/train.json")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    presets = options.presets.split(",") if options.presets else list(ON_GPU if on_gpu else ON_CPU)
    rounds = 3 if options.quick else options.rounds
    if on_gpu:
        rows = [row for name in (presets[:1] if options.quick else presets) for row in on_a_gpu(name, rounds)]
    else:
        threads = [int(part) for part in options.threads.split(",")]
        rows = [
            row
            for name in presets
            for count in threads
            for row in on_a_cpu(name, count, rounds, not options.quick)
        ]
    if not rows:
        sys.exit("nothing could be measured; the reasons are above")
    result = summary(rows, memory_of_the_loss(), on_gpu)
    if options.record:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))


def on_a_cpu(name: str, threads: int, rounds: int, compiled: bool) -> list[Found]:
    """Measure all loops in one process, step by step in turn."""
    rows, vocab = ON_CPU.get(name, (4, 8192))
    loops = {loop: {"loop": loop, "compiled": False} for loop in LOOPS}
    loops |= {f"{loop}, compiled": {"loop": loop, "compiled": True} for loop in LOOPS if compiled}
    found = run_apart(Case(name, rows, vocab, CPU_CONTEXT, threads, rounds, 1, loops))
    return list(report(found))


def on_a_gpu(name: str, rounds: int) -> list[Found]:
    """Measure each loop in a process of its own, at the largest batch that all of them hold; then the
    tricks."""
    rows, vocab = ON_GPU.get(name, (16, 32768))
    loops: dict[str, Found] = {}
    for kind in LOOPS:
        if not (name.startswith("gpt2") and kind != "gristmill"):  # the two others are LLaMA's shape
            loops |= {
                f"{kind}, compiled" if on else kind: {"loop": kind, "compiled": on} for on in (True, False)
            }
    parts: list[Found] = []
    while rows and len(parts) < len(loops):
        case = Case(name, rows, vocab, 0, 0, rounds, GPU_STEPS)
        parts = []
        for loop, how in loops.items():
            parts.append(run_apart(replace(case, loops={loop: how})))
            if parts[-1].get("error") == "out of memory":
                print(f"{name}: {loop} cannot hold {rows} x {vocab:,}: half of it for all", file=sys.stderr)
                parts, rows = [], rows // 2
                break
    if name in TRICKED and parts:
        for trick, changes in TRICKS.items():
            parts.append(
                run_apart(
                    replace(
                        case, loops={f"{OURS}, {trick}": {"loop": "gristmill", "compiled": True, **changes}}
                    )
                )
            )
    return [row for part in parts for row in report(part)]


def report(found: Found) -> Iterator[Found]:
    """Print and yield one row per loop of a measurement."""
    if "error" in found:
        print(f"a measurement failed: {found['error']}", file=sys.stderr)
        return
    tokens = found["rows"] * found["context"] * found["steps"]
    peak = found["peak_flops"]
    print(
        f"{found['preset']}: {found['flops_per_token']:,} FLOPs per token, {found['parameters']:,}"
        f" parameters, {found['dtype']}, {found['rows']} x {found['context']} tokens a step,"
        f" {found['device']}"
    )
    for name, loop in found["loops"].items():
        rates = [tokens / seconds for seconds in loop["seconds"]]
        low, middle, high = statistics.quantiles(rates, n=4)
        row = {
            **{key: value for key, value in found.items() if key not in ("loops", "steps", "peak_flops")},
            "loop": name, "tokens_per_s": round(middle), "quartiles": [round(low), round(high)],
            "rounds": len(rates),
            "tokens_per_cpu_s": round(tokens / statistics.median(loop["cpu_seconds"])),
            "loss": round(loop["loss"], 4),
            "mfu": round(middle * found["flops_per_token"] / peak, 4) if peak else None,
            "peak_bytes": loop.get("peak_bytes"),
            "seconds": [round(seconds, 4) for seconds in loop["seconds"]],
            "cpu_seconds": [round(seconds, 4) for seconds in loop["cpu_seconds"]],
        }  # fmt: skip
        mfu = f"  MFU {row['mfu']:.1%} of {peak / 1e12:.0f} TFLOP/s" if peak else ""
        memory = f"  peak {row['peak_bytes'] / 2**30:.2f} GiB" if peak and row["peak_bytes"] else ""
        print(
            f"  {name:42} {middle:10,.0f} tokens/s ({low:,.0f} to {high:,.0f}){mfu}{memory}  loss"
            f" {row['loss']}"
        )
        yield row


def memory_of_the_loss() -> Found:
    """Measure what the loss of 1,024 tokens adds in memory at each vocabulary, chunked and with full logits,
    in MiB."""
    found: Found = {}
    for kind in ("chunked", "full"):
        found[kind] = {
            f"{vocab}": round(run_apart({"kind": kind, "vocab": vocab})["bytes"] / 2**20)
            for vocab in VOCABULARIES
        }
        print(
            f"memory of the loss, {kind:8}",
            "  ".join(f"V={vocab}: {mib:,} MiB" for vocab, mib in found[kind].items()),
        )
    return found


def ratios(rows: list[Found]) -> Iterator[Found]:
    """Compare the trainer's loop with the others of a measurement, as they are and compiled: medians over
    rounds, and quartiles."""
    for ours in rows:
        if ours["loop"] not in ("gristmill", OURS):
            continue
        compiled = ours["loop"] == OURS
        alike = [row for row in rows if all(row[key] == ours[key] for key in ("preset", "threads", "rows"))]
        for peer in alike:
            if peer["loop"].startswith("gristmill") or peer["loop"].endswith("compiled") != compiled:
                continue
            clock = (
                "seconds" if torch.cuda.is_available() else "cpu_seconds"
            )  # a CPU is never one's own alone
            each = [theirs / mine for mine, theirs in zip(ours[clock], peer[clock], strict=True)]
            low, middle, high = (round(part, 3) for part in statistics.quantiles(each, n=4))
            yield {key: ours[key] for key in ("preset", "threads")} | {
                "peer": peer["loop"],
                "ratio": middle,
                "quartiles": [low, high],
            }


def summary(rows: list[Found], memory: Found, on_gpu: bool) -> Found:
    """Return one object: the first preset's rates and ratios as every bench gives them, and all that was
    measured."""
    compared = list(ratios(rows))
    for line in compared:
        low, high = line["quartiles"]
        print(
            f"{line['preset']}, {line['threads']} threads: {line['ratio']:.3f} x {line['peer']} ({low} to"
            f" {high})"
        )
    mine = {
        row["loop"]: row
        for row in rows
        if all(row[key] == rows[0][key] for key in ("preset", "threads", "rows"))
    }
    peers = {loop: row["tokens_per_s"] for loop, row in mine.items() if not loop.startswith("gristmill")}
    best = max(
        (loop for loop in mine if loop in ("gristmill", OURS)), key=lambda loop: mine[loop]["tokens_per_s"]
    )
    return {
        "what": f"training {rows[0]['preset']} in {rows[0]['dtype']}",
        "unit": f"tokens per second, {rows[0]['threads']} CPU threads" if not on_gpu else "tokens per second",
        "ours": mine[best]["tokens_per_s"],
        "peers": peers,
        "ratio": {loop: round(mine[best]["tokens_per_s"] / rate, 3) for loop, rate in peers.items()},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {rows[0]['device']}",
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "command": " ".join(["python", "benchmarks/train.py", *sys.argv[1:]]),
        "formula": FORMULA,
        **({} if on_gpu else {"note": NO_GPU}),
        "ratios": compared,
        "loops": rows,
        "memory_of_the_loss_mib": memory,
    }


if __name__ == "__main__":
    main()
