"""From documents to synthetic ones: prompts are made and sorted by request, asked, and their answers judged.

    prompts   a task for each file of seeds: its requests, as a run sorted by digest
    ask       a task for each range of digests: what has no answer yet is asked for; then documents are made

Both phases can be run again at any moment: answers lie in `OUT/answers/SOURCE`, outside of the step.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gristmill.dedup.sorted.runs import SortedRun, key_range
from gristmill.errors import UsageError
from gristmill.facts import Counts
from gristmill.files.location import location
from gristmill.files.storage import read_tables
from gristmill.files.stores import store_of
from gristmill.pipeline.phases.generate.asking import ask
from gristmill.pipeline.phases.generate.made import Made, Row
from gristmill.pipeline.phases.packed_rows import read_rows, write_rows
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths, records_at_work
from gristmill.pipeline.stages.generate import GenerateFacts, GenerateSlice
from gristmill.pipeline.synthesis.answers import FOLDER, Answer, AnswerRecord, bits_for
from gristmill.pipeline.synthesis.client import Outcomes, Request
from gristmill.pipeline.synthesis.prompts import Prompts, request_body
from gristmill.pipeline.synthesis.spending import Spending, most_tokens_in

PART_REQUESTS = 20_000  # a part is asked by one task: many requests to each moment at its end without enough


@dataclass(frozen=True, slots=True)
class Prompted(Counts):
    seeds: int = 0
    prompts: int = 0
    most_in: int = 0


@dataclass(frozen=True, slots=True)
class Asked(Counts):
    """`retried` and others are of this attempt alone, and no part of what was made."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


def generate(job: Job[GenerateSlice]) -> Stage:
    piece, settings = job.settings, job.settings.generate
    paths = [path for source in piece.seeds for path in job.paths("documents", source)]
    prompted = yield over_paths("prompts", write_prompts, paths)
    made = Prompted.total(prompted)
    bits = bits_for(made.prompts, PART_REQUESTS)
    runs = files(job, prompted, "requests")
    tasks = [Task(f"{part:05d}", ask_part, {"part": part}) for part in range(1 << bits)]
    most_out = made.prompts * settings.sampling.max_tokens
    at_once = min(settings.server.tasks, len(tasks))
    asked = yield Phase(
        "ask",
        tasks,
        {"runs": runs, "bits": bits, "all_prompts": made.prompts, "at_once": at_once},
        window=at_once,
        saves=True,
        told=partial(_told, made.prompts),
    )
    total = Asked.total(asked)
    counts: Counter[str] = Counter()
    for record in asked:
        counts.update(record.counts)
    return GenerateFacts(
        seeds=made.seeds,
        prompts=made.prompts,
        **total.as_json(),
        money=round(settings.budget.cost(total.tokens_in, total.tokens_out), 6),
        most_tokens=made.most_in + most_out,
        most_money=round(settings.budget.cost(made.most_in, most_out), 6),
        by_template={name[9:]: num for name, num in sorted(counts.items()) if name.startswith("template.")},
        notes=list(_notes(counts)) or None,
        timing={
            name: sum(record.timing.get(f"requests_{name}", 0) for record in asked)
            for name in ("retried", "lost", "paid_twice", "lost_tokens")
        },
        replaced_files=passed_on(job, prompted),
    )


def _told(num_prompts: int, folder: Path) -> str:
    return f"{records_at_work(folder, 'ask'):,} of {num_prompts:,} prompts answered by those at work"


_SPELLED = {
    "thinking": "answers began with reasoning, which was taken off",
    "preface": "answers began with a line about themselves, which was taken off",
    "cut": "answers that the length ended were cut after their last sentence",
    "estimated": "answers came without a count of tokens: it is estimated from their bytes",
}


def _notes(counts: Mapping[str, int]) -> Iterator[str]:
    for name, spelled in _SPELLED.items():
        if num := counts.get(f"note.{name}"):
            yield f"{num:,} {spelled}"


def write_prompts(task: Attempt[GenerateSlice], path: str) -> None:
    piece = task.settings
    prompts = Prompts(piece.generate, piece.wording, task.seed)
    rows = [row for table in read_tables(Path(path)) for row in prompts.of_table(table)]
    rows.sort(key=lambda row: (row["request"], row["seed"]))
    run = task.scratch / "requests.run"
    write_rows(run, [(int(row["request"][:16], 16), row) for row in rows])
    most_in = sum(most_tokens_in(row["prompt"]) for row in rows)
    task.record.state(Prompted(len({row["seed"] for row in rows}), len(rows), most_in))
    task.publish(run, "requests", len(rows))


def ask_part(
    task: Attempt[GenerateSlice],
    part: int,
    runs: Sequence[str],
    bits: int,
    all_prompts: int,
    at_once: int,
) -> None:
    low, high = key_range(part, 1 << bits)
    rows = [Row(**row) for run in runs for row in read_rows(SortedRun(Path(run)), low, high)]
    rows.sort(key=lambda row: (row.request, row.seed))
    share = len(rows) / max(1, all_prompts)
    if task.settings.dry:
        answers, outcomes, lost = _stand_ins(task.settings, rows), Outcomes(), Counter[str]()
    else:
        answers, outcomes, lost = _answers(task, rows, part, bits, share, at_once)
    made = Made(task, answers, outcomes)
    for row in rows:
        made.take(row)
    made.publish()
    used = [answers[request] for request in sorted({row.request for row in rows} & answers.keys())]
    tokens = (sum(answer.tokens_in for answer in used), sum(answer.tokens_out for answer in used))
    task.record.state(Asked(len({row.request for row in rows}), *tokens))
    most = {row.request: most_tokens_in(row.prompt) for row in rows}
    most_out = task.settings.generate.sampling.max_tokens
    task.record.timing |= {
        "asked_seconds": round(outcomes.seconds, 3),
        "requests_retried": outcomes.retried,
        "requests_lost": lost.total(),
        "requests_paid_twice": sum(num for request, num in lost.items() if request in answers),
        "requests_lost_tokens": sum(num * (most[request] + most_out) for request, num in lost.items()),
    }


def _answers(
    task: Attempt[GenerateSlice], rows: Sequence[Row], part: int, bits: int, share: float, at_once: int
) -> tuple[dict[str, Answer], Outcomes, Counter[str]]:
    """The answers to a part's requests, those on record and those asked for now; and how often a request was
    sent and did not come back.

    What was spent on answers that are on record counts against the part's share of the budget, and so does
    the most that lost requests can have taken.
    """
    settings = task.settings.generate
    folder = location(str(task.folder)).parent.parent / FOLDER / task.settings.source
    with (
        store_of(folder).workspace(folder) as local,
        AnswerRecord(local, bits, part) as record,
    ):
        spending = Spending(settings.budget, share)
        distinct = {row.request: row for row in rows}
        known = {request: record.known[request] for request in distinct if request in record.known}
        wanted = {request: row for request, row in distinct.items() if request not in known}
        for answer in known.values():
            spending.spend(answer.tokens_in, answer.tokens_out)
        for request, row in distinct.items():
            for _ in range(record.lost[request]):
                spending.lose(most_tokens_in(row.prompt), settings.sampling.max_tokens)
        outcomes = Outcomes()
        if wanted:
            requests = [_request(task.settings, row) for row in wanted.values()]
            if not settings.server.url:
                raise UsageError(
                    f"`generate.{task.settings.source}`: {len(wanted):,} prompts have no answer, and no"
                    " server is named",
                    hint="name one with `server: {url: http://localhost:8000/v1}`",
                )
            share_of_slots = max(1, settings.server.in_flight // at_once)
            server = settings.server.model_copy(update={"in_flight": share_of_slots})
            key = os.environ.get(server.key_env)
            outcomes = ask(requests, server, record, spending, key, task.tell)
        answers = {request: record.known[request] for request in distinct if request in record.known}
        lost = Counter({request: record.lost[request] for request in distinct if request in record.lost})
        return answers, outcomes, lost


def _request(piece: GenerateSlice, row: Row) -> Request:
    body = request_body(piece.generate, row.prompt)
    return Request(row.request, body, most_tokens_in(row.prompt), piece.generate.sampling.max_tokens)


def _stand_ins(piece: GenerateSlice, rows: Sequence[Row]) -> dict[str, Answer]:
    """For an estimate: answers of the length that is allowed, of the seed's own words in another order."""
    most = piece.generate.sampling.max_tokens
    found = {}
    for row in rows:
        words = row.prompt[slice(*row.passage)].split()[::-1] or ["word"]
        text = " ".join((words * (1 + most // len(words)))[: max(1, most * 3 // 4)])
        found[row.request] = Answer(f"{text}.", "stop", most_tokens_in(row.prompt) // 4, most)
    return found
