"""Steps of a plan in the order of their inputs; on a cluster those that do not depend on each other run at
the same time, so that a phase of one task leaves no node idle that another step could use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from gristmill.pipeline.run import signals
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.step import Step

MOST_STEPS = 4  # at the same time: more would only share the same nodes
_POLL_SECONDS = 0.2

Made = TypeVar("Made")
Work = Callable[[Progress], Made]


def in_order(steps: Sequence[Step], needed: Callable[[Step], Collection[str]]) -> list[Step]:
    """Steps in an order in which those needed for each come before it; otherwise as they are."""
    waiting, ordered, names = list(steps), list[Step](), set[str]()
    while waiting:
        step = next((step for step in waiting if names.issuperset(needed(step))), waiting[0])
        waiting.remove(step)
        ordered.append(step)
        names.add(step.name)
    return ordered


def run_steps(
    steps: Sequence[Step],
    prepare: Callable[[Step], Work[Made] | None],
    done: Callable[[Step, Made], None],
    beside: Callable[[], bool],
    progress: Progress,
    needed: Callable[[Step], Collection[str]] = lambda step: step.inputs,
) -> None:
    """Run steps after those `needed` for them; `prepare` gives the work of one, None where there is none to
    do.

    What `prepare` and `done` do, they do in this thread and one at a time. A step that has nothing beside it
    runs in this thread as well, where signals arrive. `beside` says whether several may run at once. One that
    fails stops the others: what they finished stays done. While the first work, the code of those that wait
    is imported: a step whose turn comes leaves no worker idle for that.
    """
    waiting, finished = list(steps), set[str]()
    imported = False
    running: dict[Future[Made], Step] = {}
    speaking: Future[Made] | None = None  # whose phases the terminal shows
    with ThreadPoolExecutor(MOST_STEPS + 1, thread_name_prefix="step") as pool:
        try:
            while waiting or running:
                signals.check()
                ready = [step for step in waiting if finished.issuperset(needed(step))]
                for step in ready[: MOST_STEPS - len(running)]:
                    waiting.remove(step)
                    work = prepare(step)
                    if work is None:
                        finished.add(step.name)
                        break  # others may be ready now
                    more = [one for one in waiting if finished.issuperset(needed(one))]
                    if not running and not (more and beside()):
                        done(step, work(progress))
                        finished.add(step.name)
                        break
                    is_first = speaking is None or speaking.done()
                    future = pool.submit(work, progress if is_first else progress.beside())
                    running[future] = step
                    speaking = future if is_first else speaking
                    if not imported:
                        imported = True
                        pool.submit(_import_code, list(waiting))
                    if not beside():
                        break
                else:
                    for future in wait(running, _POLL_SECONDS, FIRST_COMPLETED).done:
                        step = running.pop(future)
                        done(step, future.result())
                        finished.add(step.name)
        except BaseException as error:
            signals.stop_all(error)
            raise


def _import_code(steps: Sequence[Step]) -> None:
    """Load what steps will work with; what is wrong with one shows when its turn comes."""
    for kind in {step.kind.name: step.kind for step in steps}.values():
        with contextlib.suppress(Exception):
            kind.load()
