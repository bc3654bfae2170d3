"""The model: loss, bits per byte per source, throughput, gradient norm, and something it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.printing.figures import count, number, short
from gristmill.pipeline.look.reading import RunView, StepView, read_training_log
from gristmill.pipeline.report.charts.curves import Line, Point, lines, thin
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    figure,
    join,
    legend,
    note,
    table,
    tag,
)
from gristmill.pipeline.stages.ngram import NgramHeldoutFacts
from gristmill.pipeline.stages.train import TrainFacts
from gristmill.trainer.logs.told import spell_seconds

_STEP_CHARTS = (  # key in the log, title, and the value its axis starts from where not from the lowest
    ("loss", "Training loss, nats per token", None),
    ("grad_norm", "Gradient norm", 0.0),
    ("tokens_per_s", "Throughput, tokens per second", 0.0),
    ("mfu", "Model FLOPs utilisation", 0.0),
    ("lr", "Learning rate", 0.0),
)

_NGRAM_NOTE = (
    "The n-gram model (Stupid Backoff) scores the same held-out documents, word by word. Its scores do not"
    " sum to one, and it need not spell a word it never saw: its bits per byte are lower than a model's that"
    " does, and bound nothing."
)


def curve(rows: Sequence[Mapping[str, Any]], key: str, x: str = "step") -> list[Point]:
    return [
        (float(row[x]), float(row[key]))
        for row in rows
        if row.get(key) is not None and row.get(x) is not None
    ]


def training_section(view: RunView) -> PageSection | None:
    ngrams = {
        row["source"]: row
        for step in view.of_stage("ngram-heldout")
        for row in step.stated(NgramHeldoutFacts).heldout
    }
    made = [block for step in view.of_stage("train") if (block := _step(step, ngrams))]
    if ngrams and not made:
        made.append(_ngram_rows(ngrams))
    return (
        PageSection(
            "training", "Training", join(made), "Curves are thinned to 400 points; the log holds every step."
        )
        if made
        else None
    )


def _step(step: StepView, ngrams: Mapping[str, Mapping[str, Any]]) -> Html | None:
    rows = read_training_log(step)
    steps = [row for row in rows if row.get("event") == "step"]
    evaluations = [row for row in rows if row.get("event") == "eval"]
    if not steps and not step.manifest:
        return None
    body: list[Html] = [tag("p", _facts(step, steps))]
    charts = [
        figure(title, lines(title, [Line(title, thin(points))], "step", low=low))
        for key, title, low in _STEP_CHARTS
        if (points := curve(steps, key))
    ]
    if bits := _bits(evaluations):
        charts.insert(1, bits)
    if tasks := _tasks([row for row in rows if row.get("event") == "task"]):
        charts.append(tasks)
    body.append(tag("div", *charts, class_="cards"))
    if evaluations:
        body.append(_last_evaluation(evaluations, ngrams))
    elif ngrams:
        body.append(_ngram_rows(ngrams))
    body += [_generated(sample) for sample in step.stated(TrainFacts).samples]
    return tag("div", *body, class_="block")


def _facts(step: StepView, steps: Sequence[Mapping[str, Any]]) -> str:
    stated = step.stated(TrainFacts)
    facts = []
    if stated.parameters:
        facts.append(f"{short(stated.parameters)} parameters")
    last = steps[-1] if steps else {}
    if last:
        facts.append(f"{count(last['step'])} steps, {short(last['tokens'])} tokens")
    if last.get("loss") is not None:
        facts.append(f"loss {last['loss']:.3f}")
    if stated.device:
        facts.append(f"{stated.dtype} on {stated.device}".strip())
    if step.state != "done":
        facts.append(step.state)
    if step.state == "running" and last.get("seconds_to_go"):
        facts.append(f"about {spell_seconds(last['seconds_to_go'])} to go")
    return ", ".join(facts) + "."


def _bits(evaluations: Sequence[Mapping[str, Any]]) -> Html | None:
    """Held-out bits per byte over steps, a curve per source."""
    sources = list(dict.fromkeys(row["source"] for row in evaluations))
    curves = [
        Line(name, points, f"s{index % 6}")
        for index, name in enumerate(sources)
        if (points := curve([row for row in evaluations if row["source"] == name], "bits_per_byte"))
    ]
    if not curves:
        return None
    title = "Held-out bits per byte by source"
    keys = legend((item.class_, item.name) for item in curves)
    return figure(title, keys, lines(title, curves, "step", dots=True))


def _tasks(rows: Sequence[Mapping[str, Any]]) -> Html | None:
    """Accuracy on downstream tasks over steps, a curve per task and kind."""
    named = [{**row, "name": f"{row['task']} {row['kind']}"} for row in rows]
    curves = [
        Line(name, points, f"s{index % 6}")
        for index, name in enumerate(dict.fromkeys(row["name"] for row in named))
        if (points := curve([row for row in named if row["name"] == name], "accuracy"))
    ]
    if not curves:
        return None
    title = "Accuracy on tasks"
    keys = legend((item.class_, item.name) for item in curves)
    return figure(title, keys, lines(title, curves, "step", dots=True, low=0.0))


def _last_evaluation(
    evaluations: Sequence[Mapping[str, Any]], ngrams: Mapping[str, Mapping[str, Any]]
) -> Html:
    last = {row["source"]: row for row in evaluations}
    beside = {**ngrams, "all": _together(ngrams)} if ngrams else {}
    rows = [
        [
            tag("bdi", name),
            _number(row, "bits_per_byte"),
            *([_number(beside.get(name, {}), "bits_per_byte")] if ngrams else []),
            _number(row, "perplexity"),
            Cell(count(row.get("docs") or 0), row.get("docs")),
            Cell(count(row.get("bytes") or 0), row.get("bytes")),
        ]
        for name, row in last.items()
    ]
    head = [
        "held-out source",
        "bits per byte",
        *(["of the n-gram model"] if ngrams else []),
        "perplexity",
        "documents",
        "bytes",
    ]
    return join([table(head, rows), note(_NGRAM_NOTE) if ngrams else ""])


def _ngram_rows(ngrams: Mapping[str, Mapping[str, Any]]) -> Html:
    """The n-gram model alone, where no transformer has been evaluated."""
    rows = [
        [
            tag("bdi", name),
            _number(row, "bits_per_byte"),
            _number(row, "perplexity"),
            *(Cell(count(row[key]), row[key]) for key in ("docs", "words", "bytes")),
        ]
        for name, row in {**ngrams, "all": _together(ngrams)}.items()
    ]
    head = ["held-out source", "n-gram bits per byte", "perplexity per word", "documents", "words", "bytes"]
    return join([table(head, rows), note(_NGRAM_NOTE)])


def _together(ngrams: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    sums = {key: sum(row[key] for row in ngrams.values()) for key in ("docs", "words", "bytes", "bits")}
    per_byte = sums["bits"] / sums["bytes"] if sums["bytes"] else None
    return {
        **sums,
        "bits_per_byte": per_byte,
        "perplexity": 2 ** (sums["bits"] / sums["words"]) if sums["words"] else None,
    }


def _number(row: Mapping[str, Any], key: str) -> Cell:
    """All of a column with as many digits, so that they stand under each other."""
    value, digits = row.get(key), {"bits_per_byte": 3, "perplexity": 1}[key]
    return Cell("–" if value is None else f"{value:,.{digits}f}", value)


def _generated(sample: Mapping[str, Any]) -> Html:
    prompt, text = str(sample.get("prompt", "")), str(sample.get("text", ""))
    after = ", after the words in bold" if prompt else ""
    said = f"Written by the model at temperature {number(sample.get('temperature'))}{after}"
    return figure(said, tag("bdi", tag("b", prompt), text.removeprefix(prompt), class_="text", dir="auto"))
