"""Tasks that failed on every attempt where the recipe allows it: the step is published as incomplete and says
so.

What was lost stands in the manifest's `lost`, so that an incomplete step has another content digest than a
whole one: steps that stand on it are made anew when it is mended. Later phases of the same step saw fewer
records than they would have: their records lie under a phase name of their own, so that the next run, which
tries the lost tasks again, cannot take them for those of the whole step.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gristmill.hashing import sha256_json
from gristmill.ledger import Books
from gristmill.manifest import Manifest
from gristmill.pipeline.run.cluster.attempts import TaskFailure
from gristmill.pipeline.run.job import Job, Phase
from gristmill.pipeline.sources.record import InputRange, InputShard


@dataclass(frozen=True, slots=True)
class LostTask:
    """A task that was given up, and the phase it is of."""

    phase: str
    failure: TaskFailure

    @property
    def name(self) -> str:
        return f"{self.phase} {self.failure.task.key}"


def after_losses(phase: Phase, losses: Sequence[LostTask]) -> Phase:
    """Return the phase under the name it has where earlier phases lost these tasks."""
    if not losses:
        return phase
    return replace(phase, name=f"{phase.name}-without-{sha256_json([loss.name for loss in losses])[:8]}")


def apart(phase: Phase, handed: Container[str], lost: Sequence[Mapping[str, Any]]) -> list[Phase]:
    """Where the step before lost tasks and handed others on, the tasks that read what it wrote are a phase
    of another name: which repeated records it let go there depends on what it lost."""
    own = [task for task in phase.tasks if task.key not in handed]
    if not (lost and own and handed):
        return [phase]
    tasks = [task for task in phase.tasks if task.key in handed]
    name = f"{phase.name}-without-{sha256_json([fact['task'] for fact in lost])[:8]}"
    return [replace(phase, tasks=tasks), replace(phase, name=name, tasks=own)]


def lost_facts(job: Job, losses: Sequence[LostTask]) -> list[dict[str, Any]]:
    """Say of every lost task what it would have read: documents where their number is known, else parts of
    inputs."""
    rows = {str(path): entry.rows for path, entry in job.files("documents")}
    facts = []
    for loss in losses:
        inputs = list(dict.fromkeys(_inputs(loss.failure.task.arguments, rows)))
        documents = [rows[path] for path in inputs if path in rows]
        facts.append(
            {
                "phase": loss.phase,
                "task": loss.failure.task.key,
                "inputs": [Path(path).name if path in rows else path for path in inputs],
                "documents": sum(documents) if documents else None,
            }
        )
    return facts


def lost_before(job: Job[Any]) -> list[dict[str, Any]]:
    """Say of tasks that the step before lost what they would have done of this one."""
    return [
        {**fact, "documents": None}
        for manifest in job.inputs.values()
        if manifest.handed_on == job.name
        for fact in manifest.lost
    ]


def _inputs(arguments: Mapping[str, Any], documents: Mapping[str, int]) -> Iterator[str]:
    for value in arguments.values():
        if isinstance(value, InputShard):
            yield from map(_range, value.ranges)
        elif isinstance(value, str) and value in documents:
            yield value


def _range(part: InputRange) -> str:
    whole = part.start == 0 and part.end == part.size
    return part.shown if whole else f"{part.shown}@{part.start}-{part.end}"


def with_lost(books: Books | None, facts: Sequence[Mapping[str, Any]]) -> Books | None:
    """Enter the documents of lost tasks into a step's books: they came in, and left as lost."""
    lost = sum(fact["documents"] or 0 for fact in facts)
    if not lost:
        return books
    total = Books.total([books] if books else [])
    total.items_in += lost
    total.items_out["lost"] += lost
    return total


def spell_lost(manifest: Manifest) -> str:
    """Spell in a sentence what an incomplete step lacks."""
    lost = manifest.lost
    first = f"{lost[0]['phase']} {lost[0]['task']}"
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    documents = sum(fact.get("documents") or 0 for fact in lost)
    counted = f", {documents:,} documents" if documents else ""
    inputs = [name for fact in lost for name in fact.get("inputs", ())]
    of = f" of {inputs[0]}{' ...' if len(inputs) > 1 else ''}" if inputs else ""
    spelled = "task" if len(lost) == 1 else "tasks"
    return f"incomplete: lost {len(lost)} {spelled} ({first}{more}{counted}){of}"


def clear_quarantine(job: Job[Any], lost: Sequence[Mapping[str, Any]]) -> None:
    """Remove the tracebacks of tasks that have succeeded since."""
    kept = {f"{fact['phase']}-{fact['task']}" for fact in lost}
    gone = [path for path in sorted((job.folder / "quarantine").glob("*.txt")) if path.stem not in kept]
    job.left.discard(job.folder, gone)
