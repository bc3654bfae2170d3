"""What `plan --estimate` and `plan --cluster` print."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import psutil

from gristmill.errors import UsageError
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.estimate.scale_up import Interval, StepEstimate, estimate, total, warnings
from gristmill.pipeline.estimate.schedule import simulate
from gristmill.pipeline.look.tables import print_table
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.progress import Progress, spell_seconds
from gristmill.pipeline.verbs.invoke import Options, engine_settings, output_folder


def preflight(
    recipe: Recipe, options: Options, price: float, cluster: str | None, num_shards: int | None
) -> None:
    """Mill a sample, print the prediction per step, its warnings, and the simulated schedule if one is asked
    for."""
    nodes, cpus = _cluster(cluster)
    recipe, left_out = _without_code(recipe)
    engine = engine_settings(recipe, options)
    num_cpus = 1 if engine.kind == "inline" else engine.workers or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="gristmill-estimate-") as folder:
        found = estimate(
            recipe, Path(folder) / "sample", engine, num_cpus, Progress(quiet=options.quiet or options.json)
        )
    steps, sampled = found.steps, found.sampled
    said = warnings(steps, output_folder(recipe, options.out), psutil.virtual_memory().total, num_cpus)
    if left_out:
        names = ", ".join(left_out)
        said = [
            *said,
            f"filters that are code of the recipe's own were not run, as if they kept all: {names}",
        ]
    result: dict[str, Any] = {
        "num_cpus": num_cpus,
        "warnings": said,
        "steps": [_as_json(step) for step in steps],
    }
    result["seconds"] = [found.seconds.value, found.seconds.low, found.seconds.high]
    result["cost"] = total([step.cpu_seconds for step in steps]).value / 3600 * price
    result["sample_fraction"] = sum(part.sample_bytes for part in sampled) / max(
        1, sum(part.total_bytes for part in sampled)
    )
    if cluster:
        result["cluster"] = simulate(
            found.shard_seconds, num_shards or len(found.shard_seconds), nodes, cpus, recipe.seed
        )
    print(json.dumps(result)) if options.json else _print(result, steps, price)


def _without_code(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """A recipe without filters that are code of its own, and their names: only a run runs these."""
    left_out: list[str] = []

    def bare(filters: FilterSettings | bool | None) -> FilterSettings | bool | None:
        if not isinstance(filters, FilterSettings):
            return filters
        kept = filters.without_code()
        left_out.extend(name for name in filters.names if name not in kept.names)
        return kept if kept.names else None

    sources = {
        name: source.model_copy(update={"filter": bare(source.filter) or False})
        for name, source in recipe.sources.items()
    }
    recipe = recipe.model_copy(update={"filter": bare(recipe.section(FilterSettings)), "sources": sources})
    return recipe, sorted(set(left_out))


def _print(result: dict[str, Any], steps: list[StepEstimate], price: float) -> None:
    rows = []
    for step in steps:
        kept = step.kept_fraction
        rows.append(
            [
                step.step,
                f"{100 * kept.value:.1f} % ({100 * kept.low:.1f}-{100 * kept.high:.1f})" if kept else "",
                _seconds(step.cpu_seconds),
                f"{step.peak_bytes / 1e6:,.0f}",
                f"{step.disk_bytes.value / 1e6:,.1f}",
            ]
        )
    print_table(["step", "kept", "CPU time", "peak MB", "disk MB"], rows, right=(1, 2, 3, 4))
    seconds = Interval(*result["seconds"])
    share = 100 * result["sample_fraction"]
    print(
        f"about {_seconds(seconds)} on {result['num_cpus']} CPUs, from a sample of {share:.1f} %; 90 %"
        " intervals"
    )
    print("duplicates are rarer in a sample: what deduplication keeps, and all after it, are upper bounds")
    if price:
        print(f"about {result['cost']:,.2f} at {price} per core and hour")
    if cluster := result.get("cluster"):
        use, tail = 100 * cluster["used_fraction"], spell_seconds(cluster["last_percent_seconds"])
        took = spell_seconds(cluster["makespan_seconds"])
        print(f"on the cluster: {took}, {use:.0f} % used; the last percent of shards: {tail}")
    for line in result["warnings"]:
        print(f"warning: {line}")


def _seconds(interval: Interval) -> str:
    return f"{spell_seconds(interval.value)} ({spell_seconds(interval.low)}-{spell_seconds(interval.high)})"


def _as_json(step: StepEstimate) -> dict[str, Any]:
    def spread(interval: Interval | None) -> list[float] | None:
        return [interval.value, interval.low, interval.high] if interval else None

    return {
        "step": step.step,
        "kept_fraction": spread(step.kept_fraction),
        "cpu_seconds": spread(step.cpu_seconds),
        "wall_seconds": spread(step.wall_seconds),
        "peak_bytes": step.peak_bytes,
        "disk_bytes": spread(step.disk_bytes),
    }


def _cluster(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise UsageError(f"`--cluster` must have the form NODESxCPUS, such as 64x32, got {text!r}")
    return int(match[1]), int(match[2])
