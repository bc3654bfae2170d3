"""The quickstart: build its inputs, write its recipe beside them, run it, and show what it came to."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from string import Template

from gristmill.errors import UsageError
from gristmill.files.storage import write_atomic
from gristmill.pipeline.demo.corpus import build_corpus
from gristmill.pipeline.demo.show import show_run
from gristmill.pipeline.run.called import program
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.narration.progress import Progress, spell_seconds
from gristmill.pipeline.verbs.invoke import Options, exit_code, load_recipe, run_recipe

SEED = 1
PROMPT = "The function returns"


def run_demo(out: Path, overrides: list[str], options: Options) -> int:
    """Run the quickstart in `out`; return the exit code. A second run finds everything done."""
    began = time.perf_counter()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "corpus").is_dir()):
        raise UsageError(
            f"`{out}` holds something else than a quickstart", hint="name a new folder with `--out`"
        )
    progress = Progress(quiet=options.quiet)
    progress.note(f"collecting the documentation on this machine into {out / 'corpus'}")
    facts = build_corpus(out / "corpus", SEED)
    size = sum(entry["bytes"] for entry in facts["files"].values())
    progress.note(
        f"{facts['pages']:,} pages on {len(facts['hosts'])} hosts, code and prose: {size / 1e6:.1f} MB"
    )
    recipe = load_recipe(write_recipe(out), overrides)
    run = out / "run"
    result = run_recipe(recipe, replace(options, out=run))
    if options.json:
        from gristmill.pipeline.look.printing.tables import print_run

        print_run(run, as_json=True)
        return exit_code(recipe, result, run)
    show_run(finished_steps(run), run, PROMPT)
    shown, folder = shlex.quote(str(out / "recipe.yaml")), shlex.quote(str(run))
    print(f"\nrecipe     {out / 'recipe.yaml'}")
    print(f"try next   {program()} plan {shown} --out {folder} --set filter.presets=[gopher]")
    print(f"wall time  {spell_seconds(time.perf_counter() - began)}", flush=True)
    return exit_code(recipe, result, run)


def write_recipe(out: Path) -> Path:
    """Write the recipe with the corpus' place filled in: a copy of it is a recipe to start from."""
    text = Template(Path(__file__).with_name("recipe.yaml").read_text(encoding="utf-8")).substitute(
        corpus="corpus"  # inputs are relative to the recipe
    )
    path = out / "recipe.yaml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text.encode())
    return path
