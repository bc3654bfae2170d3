"""From a command line to a finished run: what every verb that runs something does."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.errors import EngineError, Interrupted, UsageError
from gristmill.pipeline.run.called import program, resuming

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe
    from gristmill.pipeline.run.narration.progress import Progress
    from gristmill.pipeline.run.runner import RunResult
    from gristmill.pipeline.run.settings import EngineSettings

EXIT_LOSSES = 3
_plain_names: set[str] = set()  # of recipes that stand for a verb on plain files, made in this process
_SHOWN_CAUSES = 4
PLAIN_SOURCE = "sources.input"  # where a verb on plain files has its one source


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, as said on the command line."""

    out: Path | None = None
    engine: str | None = None
    workers: int | None = None
    address: str | None = None
    quiet: bool = False
    json: bool = False
    overrides: tuple[str, ...] = ()
    dry_run: bool = False
    verbose: bool = False
    log_level: str = "info"
    profile: bool = False

    def progress(self) -> Progress:
        """How a run is narrated: on the terminal, as JSON beside a result that is JSON, in the run's log."""
        from gristmill.pipeline.run.narration.log import LEVELS
        from gristmill.pipeline.run.narration.progress import Progress

        if self.log_level not in LEVELS:
            raise UsageError(f"`--log-level` is {self.log_level!r}", hint=f"one of {', '.join(LEVELS)}")
        level = "debug" if self.verbose else "info"
        finest = min(level, self.log_level, key=LEVELS.index)
        return Progress(quiet=self.quiet, level=level, log_level=finest, events=self.json)


def is_recipe(inputs: Sequence[str]) -> bool:
    return len(inputs) == 1 and inputs[0].endswith((".yaml", ".yml"))


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    from gristmill.pipeline.recipe.file import read_recipe

    return read_recipe(path, whole_keys(overrides))


def plain_recipe(
    name: str,
    inputs: Sequence[str],
    sections: Mapping[str, Any],
    overrides: Sequence[str] = (),
    **source: Any,
) -> Recipe:
    """Build the recipe that a verb on plain files stands for: one source named `input`, and the verb's own
    sections."""
    from gristmill.pipeline.recipe.file import make_recipe

    if not inputs:
        raise UsageError("no inputs given", hint="name files, globs, or the output folder of another verb")
    sources = {"input": {"inputs": list(inputs), **source}}
    _plain_names.add(name)
    return make_recipe({"name": name, "sources": sources, **sections}, whole_keys(overrides))


def named_recipe(
    name: str, sources: Mapping[str, str], sections: Mapping[str, Any], overrides: Sequence[str] = ()
) -> Recipe:
    """Build the recipe of a verb that takes each plain input as a source of its own."""
    from gristmill.pipeline.recipe.file import make_recipe

    named = {key: {"inputs": path} for key, path in sources.items()}
    # What options say of plain files holds for each of them.
    prefix = f"{PLAIN_SOURCE}."
    spread = [
        f"sources.{key}.{override.removeprefix(prefix)}" if key else override
        for override in overrides
        for key in (sources if override.startswith(prefix) else [""])
    ]
    _plain_names.add(name)
    return make_recipe({"name": name, "sources": named, **sections}, whole_keys(spread))


def whole_keys(overrides: Sequence[str]) -> list[str]:
    """Spell a preset's bound as a recipe has it: `filter.set.gopher.words.min` for `gopher.words.min`."""
    from gristmill.filters.presets import PRESETS
    from gristmill.pipeline.recipe.model import recipe_model

    def whole(override: str) -> str:
        owner, dot, _ = override.partition("=")[0].partition(".")
        is_bound = dot and owner not in recipe_model().model_fields and owner in PRESETS
        return f"filter.set.{override}" if is_bound else override

    return [whole(override) for override in overrides]


def run_recipe(recipe: Recipe, options: Options, until: str | None = None) -> RunResult:
    """Run a recipe's steps, all or up to one stage, and narrate.

    Raises what `run_plan` raises; on an interruption the command that resumes is printed first.
    """
    from gristmill.pipeline.look.printing.token_notes import said_of_tokens
    from gristmill.pipeline.report.follow import run_followed
    from gristmill.pipeline.run.narration.spelling import spell_seconds

    out = output_folder(recipe, options.out)
    progress = options.progress()
    if options.out is None and recipe.name in _plain_names and (said := _meets_another(recipe, out)):
        print(said, file=sys.stderr)
    settings = engine_settings(recipe, options)
    try:
        result = run_followed(recipe, until, out, settings, progress)
    except Interrupted as stop:
        stop.hint = resuming(recipe.name, out)
        raise
    except EngineError as error:
        error.hint = "; ".join(filter(None, [error.hint, resuming(recipe.name, out)]))
        raise
    reused = f", {len(result.reused)} reused" if result.reused else ""
    for line in said_of_tokens(result.manifests):
        progress.note(line)
    progress.note(f"{len(result.ran)} steps run{reused}, {spell_seconds(result.seconds)}; results in {out}")
    return result


def _meets_another(recipe: Recipe, out: Path) -> str:
    """What to say where a verb's own folder holds results of the same verb with other settings.

    Raises UsageError where they are of other inputs: the earlier run's would go.
    """
    from gristmill.pipeline.run.folder import RUN_FILE, read_run

    if not (out / RUN_FILE).exists():
        return ""
    before, now = read_run(out).get("recipe", {}), recipe.model_dump(mode="json", exclude_none=True)
    if before.get("sources") != now["sources"]:
        raise UsageError(
            f"`{out}` holds an earlier run of this verb, on {_inputs_of(before)}; this one reads"
            f" {_inputs_of(now)}",
            hint="name a folder for this run with `--out`",
        )
    without = ("engine", "output", "limits")
    changed = [key for key in {**before, **now} if key not in without and before.get(key) != now.get(key)]
    if not changed:
        return ""
    return (
        f"`{out}` holds an earlier run with other settings ({', '.join(changed)}): its results give way to"
        " this run's; name another folder with `--out` to keep both"
    )


def _inputs_of(recipe: Mapping[str, Any]) -> str:
    inputs = [path for source in recipe.get("sources", {}).values() for path in source.get("inputs", ())]
    return f"`{inputs[0]}`{' and others' if len(inputs) > 1 else ''}" if inputs else "none"


def source_names(paths: Sequence[str]) -> dict[str, str]:
    """Name plain inputs after their files or folders, so that reports can tell them apart; a name taken gets
    a number."""
    named: dict[str, str] = {}
    for path in paths:
        whole = next(
            (part for part in reversed(Path(path).parts) if "*" not in part and part != "/"), "input"
        )
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", whole.partition(".")[0]).strip("-") or "input"
        number = next(n for n in itertools.count(1) if (plain if n == 1 else f"{plain}-{n}") not in named)
        named[plain if number == 1 else f"{plain}-{number}"] = path
    return named


def model_folder(place: Path, step: str) -> Path:
    """Where a model lies: a path as it is, or the model that a step of the run in this folder made."""
    from gristmill.pipeline.run.folder import RUN_FILE, finished_steps

    if not place.exists():
        raise UsageError(f"there is no model at `{place}`")
    if not (place / RUN_FILE).exists():
        return place
    steps = finished_steps(place)
    if step not in steps:
        raise UsageError(
            f"the run in `{place}` has no step `{step}`", hint="name a model's own folder or file"
        )
    return steps[step].folder / "model"


def output_folder(recipe: Recipe, out: Path | None) -> Path:
    """Where a recipe's results go, reached as its `output` section says."""
    from gristmill.files.location import use_storage

    folder = out or Path("out") / recipe.name
    use_storage(folder, recipe.output.settings())
    return folder


def engine_settings(recipe: Recipe, options: Options) -> EngineSettings:
    """The recipe's engine section with what the command line says on top."""
    return recipe.engine.with_said(
        kind=options.engine,
        workers=options.workers,
        address=options.address,
        profile=options.profile or None,
    )


def exit_code(recipe: Recipe, result: RunResult, out: Path) -> int:
    """0, or 3 when more records failed than the recipe's limits allow; then stderr says why."""
    from gristmill.pipeline.run.losses import spell_lost

    for name in result.incomplete:
        said = spell_lost(result.manifests[name])
        print(f"{name}: {said}; the same command tries them again", file=sys.stderr)
    entered = failed = 0
    for name, manifest in result.manifests.items():
        if name.startswith("extract/") and manifest.books:
            entered += manifest.books.items_in
            failed += manifest.books.items_out["failed"]
    if not entered or failed <= recipe.limits.failed_fraction * entered:
        return 0
    print(_losses(recipe, result, entered, failed, out), file=sys.stderr)
    return EXIT_LOSSES


def _losses(recipe: Recipe, result: RunResult, entered: int, failed: int, out: Path) -> str:
    """Say why a run ends with code 3: how many records of how many failed, of what, and how to see them."""
    causes = Counter[str]()
    for name, manifest in result.manifests.items():
        if name.startswith("extract/") and manifest.books:
            causes.update(manifest.books.by_error)
    named = ", ".join(f"{error} {count:,}" for error, count in causes.most_common(_SHOWN_CAUSES))
    more = f" and {len(causes) - _SHOWN_CAUSES} more causes" if len(causes) > _SHOWN_CAUSES else ""
    return (
        f"{failed:,} of {entered:,} records failed, more than `limits.failed_fraction`"
        f" {recipe.limits.failed_fraction:g} allows: {named}{more}\n"
        f"hint: see them with `{program()} inspect {shlex.quote(str(out))} --failed`; the run ends with code"
        f" {EXIT_LOSSES}"
    )
