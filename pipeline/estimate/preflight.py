"""What `plan --estimate` and `plan --cluster` print."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from gristmill.errors import UsageError
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.estimate.phases import Interval, PhaseCost, total
from gristmill.pipeline.estimate.place import sample_place
from gristmill.pipeline.estimate.scale_up import Prediction, StepEstimate, estimate, warnings
from gristmill.pipeline.estimate.schedule import DRIVER_SECONDS, simulate
from gristmill.pipeline.look.printing.tables import print_table
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress, spell_seconds
from gristmill.pipeline.run.runner import states
from gristmill.pipeline.verbs.invoke import Options, engine_settings, output_folder


def preflight(
    recipe: Recipe, options: Options, price: float, cluster: str | None, num_shards: int | None
) -> None:
    """Mill a sample, print the prediction per step, its warnings, and the simulated schedule if one is asked
    for."""
    nodes, cpus = _cluster(cluster)
    out = output_folder(recipe, options.out)
    done = [state.step.name for state in states(build_plan(recipe), out) if state.state == "done"]
    recipe, left_out = _without_code(recipe)
    engine = engine_settings(recipe, options)
    progress = Progress(quiet=options.quiet or options.json)
    with sample_place(out, engine, progress.note) as place:
        found = estimate(recipe, place.folder / "sample", engine, place.num_cpus, progress, done)
    num_cpus = place.num_cpus
    said = [*found.notes, *warnings(found.steps, out, int(place.memory_bytes), place.cpus_each)]
    if left_out:
        names = ", ".join(left_out)
        said.append(f"filters that are code of the recipe's own were not run, as if they kept all: {names}")
    result: dict[str, Any] = {
        "num_cpus": num_cpus,
        "warnings": said,
        "steps": [_as_json(step) for step in found.steps],
        "seconds": _spread(found.seconds),
        "besides_seconds": found.besides,
        "cost": total([step.cpu_seconds for step in found.steps]).value / 3600 * price,
        "sample_fraction": sum(part.sample_bytes for part in found.sampled)
        / max(1, sum(part.total_bytes for part in found.sampled)),
    }
    if found.training:
        result["training"] = {
            "steps": found.training.steps,
            "tokens": found.training.tokens,
            "tokens_per_s": found.training.tokens_per_s,
        }
    if cluster:
        result["cluster"] = on_cluster(found, nodes * cpus, num_shards, recipe.seed)
        result["cluster"]["cost"] = result["cluster"]["makespan_seconds"] / 3600 * nodes * cpus * price
    print(json.dumps(result)) if options.json else _print(result, found.steps, price, cluster)


def on_cluster(found: Prediction, num_cpus: int, num_shards: int | None, seed: int) -> dict[str, Any]:
    """Schedule what is still to run on a cluster, with as many shards as planned or as asked for, as large as
    those that are planned."""
    planned = sum(len(part.shards) for part in found.sampled)
    factor = num_shards / max(1, planned) if num_shards else 1.0
    phases = [phase if _is_training(phase) else phase.of_more(factor) for phase in found.phases]
    whole = simulate(phases, num_cpus, seed)
    besides = found.besides if phases else 0.0
    low, high = (_bound(phases, side) for side in ("low", "high"))
    seconds = whole["makespan_seconds"]
    steps: dict[str, float] = {}
    for phase in phases:
        steps[phase.step] = steps.get(phase.step, 0.0) + simulate([phase], num_cpus, seed)["makespan_seconds"]
    return {
        **whole,
        "makespan_seconds": seconds + besides,
        "interval": [seconds * low + besides, seconds * high + besides],
        "num_cpus": num_cpus,
        "num_shards": num_shards or planned,
        "steps": steps,
    }


def _bound(phases: Sequence[PhaseCost], side: str) -> float:
    """An interval's bound as a share of its value, over all phases."""
    spread = total([phase.cpu_seconds for phase in phases]) if phases else Interval(0, 0, 0)
    return getattr(spread, side) / spread.value if spread.value else 1.0  # type: ignore[no-any-return]


def _is_training(phase: PhaseCost) -> bool:
    return phase.step == "train"


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


def _print(result: dict[str, Any], steps: list[StepEstimate], price: float, cluster: str | None) -> None:
    rows = []
    for step in steps:
        kept = step.kept_fraction
        rows.append(
            [
                step.step,
                f"{100 * kept.value:.1f} % ({100 * kept.low:.1f}-{100 * kept.high:.1f})" if kept else "",
                "done" if step.done else _seconds(step.cpu_seconds),
                f"{step.peak_bytes / 1e6:,.0f}" if step.peak_bytes else "",
                "" if step.done else f"{step.disk_bytes.value / 1e6:,.1f}",
            ]
        )
    print_table(["step", "kept", "CPU time", "peak MB", "disk MB"], rows, right=(1, 2, 3, 4))
    share = 100 * result["sample_fraction"]
    print(
        f"about {_seconds(Interval(*result['seconds']))} on {_cpus(result['num_cpus'])}, of which"
        f" {spell_seconds(result['besides_seconds'])} to start and plan; from a sample of {share:.1f} %;"
        " 90 % intervals"
    )
    if training := result.get("training"):
        print(
            f"training: {training['steps']:,} steps, {training['tokens']:,} tokens at"
            f" {training['tokens_per_s']:,.0f} tokens/s on this machine"
        )
    print("duplicates are rarer in a sample: what deduplication keeps, and all after it, are upper bounds")
    if price:
        print(f"about {result['cost']:,.2f} at {price} per core and hour of work")
    if cluster:
        _print_cluster(result["cluster"], cluster, price)
    for line in result["warnings"]:
        print(f"warning: {line}")


def _print_cluster(found: dict[str, Any], cluster: str, price: float) -> None:
    low, high = map(spell_seconds, found["interval"])
    print(
        f"on {cluster.replace('x', ' nodes of ')} CPUs, {found['num_shards']:,} shards:"
        f" {spell_seconds(found['makespan_seconds'])} ({low}-{high}),"
        f" {100 * found['used_fraction']:.0f} % used; waiting for last tasks"
        f" {spell_seconds(found['last_percent_seconds'])}"
    )
    longest = sorted(found["steps"].items(), key=lambda item: -item[1])[:4]
    print("  " + ", ".join(f"{step} {spell_seconds(seconds)}" for step, seconds in longest))
    if found["driver_seconds"]:
        print(
            f"  {spell_seconds(found['driver_seconds'])} of it CPUs wait for the driver, which hands out"
            f" {1 / DRIVER_SECONDS:.0f} tasks a second: larger `shard_bytes` make fewer, longer tasks"
        )
    if price:
        print(f"  about {found['cost']:,.2f} at {price} per core and hour, idle ones too")


def _seconds(interval: Interval) -> str:
    return f"{spell_seconds(interval.value)} ({spell_seconds(interval.low)}-{spell_seconds(interval.high)})"


def _cpus(num: int) -> str:
    return "1 CPU" if num == 1 else f"{num} CPUs"


def _spread(interval: Interval | None) -> list[float] | None:
    return [interval.value, interval.low, interval.high] if interval else None


def _as_json(step: StepEstimate) -> dict[str, Any]:
    return {
        "step": step.step,
        "done": step.done,
        "kept_fraction": _spread(step.kept_fraction),
        "cpu_seconds": _spread(step.cpu_seconds),
        "wall_seconds": _spread(step.wall_seconds),
        "peak_bytes": step.peak_bytes,
        "disk_bytes": _spread(step.disk_bytes),
    }


def _cluster(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise UsageError(f"`--cluster` must have the form NODESxCPUS, such as 64x32, got {text!r}")
    return int(match[1]), int(match[2])
