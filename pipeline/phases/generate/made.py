"""Documents of answers, with where each comes from; and what became of prompts that have none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gristmill.document import FAILED, document_id, removed_schema
from gristmill.ledger import Books
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.stages.generate import GENERATE, GenerateSlice
from gristmill.pipeline.synthesis.answers import Answer
from gristmill.pipeline.synthesis.checks import judge
from gristmill.pipeline.synthesis.client import Outcomes as AskedFor
from gristmill.text.detection import detect

_TYPES = {"binary": pa.binary(16), "string": pa.string()}
EXTRA = [pa.field(name, _TYPES[kind]) for name, kind in GENERATE.carries.items()]
_PROMPT = pa.schema([pa.field("id", pa.binary(16), nullable=False), pa.field("prompt", pa.large_string())])
_FULL_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and the passage of the seed that it is of."""

    request: str
    seed: str
    seed_url: str | None
    unit: str
    origin: dict[str, Any]
    template: str
    prompt: str
    passage: list[int]


class Made:
    """Writes the outcomes of one part; a document's cluster is its seed's: both are held out together.

    A prompt that other seeds have made too is a document once, of the first of them by id.
    """

    def __init__(self, task: Attempt[GenerateSlice], answers: Mapping[str, Answer], asked: AskedFor) -> None:
        self._task, self._answers, self._asked = task, answers, asked
        self._settings, self._source = task.settings.generate, task.settings.source
        self._books, self._counts = Books(), Counter[str]()
        self._outcomes = Outcomes(task, self._source, EXTRA, by_url=True, books=self._books)
        self._parameters = json.dumps(self._settings.sampling.body(), sort_keys=True)
        self._rows: dict[str, list[dict[str, Any]]] = {"documents": [], "removed": [], "failed": []}
        self._prompts: dict[str, list[dict[str, Any]]] = {"documents": [], "removed": []}
        self._last = ""

    def take(self, row: Row) -> None:
        """Judge a prompt's answer, or say why it has none."""
        num_bytes = len(row.prompt.encode())
        self._books.items_in += 1
        self._books.bytes_in += num_bytes
        is_again, self._last = row.request == self._last, row.request
        if is_again:
            self._remove(row, num_bytes, None, "generate.repeated_prompt")
        elif answer := self._answers.get(row.request):
            self._judge(row, num_bytes, answer)
        elif refusal := self._asked.refused.get(row.request):
            self._leave("failed", num_bytes)
            self._books.by_error[refusal.error] += 1
            known = {name: self._document(row, None)[name] for name in ("id", "url", "source", "origin")}
            told = {"error": refusal.error, "message": refusal.message, "payload_bytes": num_bytes}
            self._rows["failed"].append({**known, **told})
        else:
            self._remove(row, num_bytes, None, "generate.budget")
        if sum(map(len, self._rows.values())) >= _FULL_ROWS:
            self._flush()

    def publish(self) -> None:
        self._flush()
        self._task.record.counts = dict(sorted(self._counts.items()))
        self._outcomes.publish()

    def _judge(self, row: Row, num_bytes: int, answer: Answer) -> None:
        start, end = row.passage
        instruction = f"{row.prompt[:start]} {row.prompt[end:]}"
        judged = judge(self._settings.checks, answer, instruction, row.prompt[start:end])
        self._counts.update(f"note.{name}" for name in judged.notes)
        if answer.is_estimated:
            self._counts["note.estimated"] += 1
        if judged.rule:
            self._remove(row, num_bytes, judged.text, judged.rule, judged.value, judged.bound)
            return
        self._counts[f"template.{row.template}"] += 1
        self._leave("kept", num_bytes)
        self._books.created_bytes += len(judged.text.encode())
        self._add("documents", row, self._document(row, judged.text))

    def _remove(
        self,
        row: Row,
        num_bytes: int,
        text: str | None,
        rule: str,
        value: float | None = None,
        bound: float | None = None,
    ) -> None:
        self._leave("removed", num_bytes)
        self._books.by_rule_first[rule] += 1
        self._books.by_rule_any[rule] += 1
        why = {"rule": rule, "value": value, "bound": bound, "rules": [rule]}
        self._add("removed", row, {**self._document(row, text), **why})

    def _add(self, kind: str, row: Row, document: dict[str, Any]) -> None:
        self._rows[kind].append(document)
        self._prompts[kind].append({"id": document["id"], "prompt": row.prompt})

    def _document(self, row: Row, text: str | None) -> dict[str, Any]:
        language, score = detect(text) if text else (None, None)
        # A prompt of several seeds is one request, yet every seed's row has an id of its own.
        return {
            "id": document_id(self._source, f"{row.request}/{row.seed}"),
            "url": None,
            "source": self._source,
            "date": None,
            "text": text,
            "language": language,
            "language_score": score,
            "origin": row.origin,
            "cluster_id": bytes.fromhex(row.unit),
            "seed": row.seed,
            "seed_url": row.seed_url,
            "template": row.template,
            "request": row.request,
            "model": self._settings.server.model,
            "parameters": self._parameters,
        }

    def _leave(self, outlet: str, num_bytes: int) -> None:
        self._books.items_out[outlet] += 1
        self._books.bytes_out[outlet] += num_bytes

    def _flush(self) -> None:
        schema = self._outcomes.schema
        schemas = {"documents": schema, "removed": removed_schema(schema), "failed": FAILED}
        tables = [pa.Table.from_pylist(self._rows[kind], schemas[kind]) for kind in schemas]
        self._outcomes.write(*tables)
        for kind, rows in self._prompts.items():
            if rows:
                self._outcomes.note(f"{kind}-prompts", pa.Table.from_pylist(rows, _PROMPT))
            rows.clear()
        for kept in self._rows.values():
            kept.clear()
