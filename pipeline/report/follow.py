"""Keep a run's report fresh while it lives, and write it once more when it ends, however it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.manifest import MANIFEST
from gristmill.pipeline.look.reading import Summed
from gristmill.pipeline.report.page import REPORT, write_report
from gristmill.pipeline.run.folder import RUN_FILE

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe
    from gristmill.pipeline.run.narration.progress import Progress
    from gristmill.pipeline.run.runner import RunResult
    from gristmill.pipeline.run.settings import EngineSettings

EVERY_SECONDS = 60.0
_SHARE = 20  # a report that takes long to draw is drawn rarely: at most a twentieth of the time goes into it


@dataclass(slots=True)
class Followed:
    """What the body can say of its run."""

    nothing_new: bool = False  # every step was there before, so a report written after them says all


@contextmanager
def followed(
    out: Path, say: Callable[[str], None], every_seconds: float = EVERY_SECONDS
) -> Iterator[Followed]:
    """Rewrite `out/report.html` from time to time while the body runs; a report that fails is said, never
    raised."""
    over, found = threading.Event(), Followed()
    known: dict[Path, Summed] = {}

    def follow() -> None:
        wait = every_seconds
        while not over.wait(wait):
            began = time.monotonic()
            _write(out, say, known)
            wait = max(every_seconds, _SHARE * (time.monotonic() - began))

    thread = threading.Thread(target=follow, name="report", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        if not (found.nothing_new and _is_fresh(out)):
            _write(out, say, known)


def run_followed(
    recipe: Recipe, until: str | None, out: Path, settings: EngineSettings, progress: Progress
) -> RunResult:
    """Run a recipe's steps, all or up to one section, with its report kept fresh; raises what `run_plan`
    does."""
    from gristmill.pipeline.recipe.plan import build_plan
    from gristmill.pipeline.run.runner import run_plan

    with followed(out, progress.note) as report:
        result = run_plan(build_plan(recipe, until), out, settings, progress)
        report.nothing_new = not result.ran
    return result


def _is_fresh(out: Path) -> bool:
    """Whether the report was written after the last step; a kill may have come between them."""
    try:
        written = (out / REPORT).stat().st_mtime
    except FileNotFoundError:
        return False
    return all(manifest.stat().st_mtime <= written for manifest in out.glob(f"steps/*/{MANIFEST}"))


def _write(out: Path, say: Callable[[str], None], known: dict[Path, Summed]) -> None:
    if not (out / RUN_FILE).exists():
        return
    try:
        write_report(out, known=known)
    except Exception as error:  # a page about the run must not end the run
        say(f"  the report could not be written: {error}")
