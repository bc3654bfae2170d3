"""What signals have to do with each other, and how long documents are in tokens: from some side files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.errors import GristmillError
from gristmill.files.location import RemotePath
from gristmill.files.parquet import read_parquet
from gristmill.pipeline.look.printing.figures import count, number
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts.histograms import histogram, without_empty_ends
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    details,
    figure,
    join,
    legend,
    note,
    table,
    tag,
)
from gristmill.pipeline.stages.filter import FilterFacts

_FILES = 4  # side files read of a step, the first ones
_ROWS = 50_000
_SHOWN = 12  # rules whose signals stand in the matrix
_PAIRS = 15
_LEAST = 0.5  # correlation that is worth a line


def correlations_section(view: RunView) -> PageSection | None:
    """Rank correlations of the rules' values, from the first signals files of each filter step."""
    figures = [drawn for step in view.of_stage("filter") if (drawn := _correlated(step)) is not None]
    if not figures:
        return None
    lead = "Rules that measure the same thing: Spearman's rank correlation of their values."
    return PageSection("correlations", "Signals together", join(figures), lead, "Together")


def token_lengths(view: RunView) -> Html | None:
    """How many tokens documents have, by source, from the first token indexes of each."""
    edges = [1 << power for power in range(4, 21)]
    series: list[tuple[str, list[float]]] = []
    num = 0
    for index, step in enumerate(view.of_stage("encode")):
        found = _side(step, "token-index", ["tokens"])
        if found is not None and found.num_rows:
            counts = np.histogram(found["tokens"].to_numpy(), [0, *edges, np.inf])[0]
            series.append((f"s{index % 6}", [float(number) for number in counts]))
            num += found.num_rows
    if not series:
        return None
    names = [step.name.partition("/")[2] for step in view.of_stage("encode")]
    bins, shown = without_empty_ends([0, *edges], series)
    chart = histogram("Tokens of a document", bins, shown, width=460, height=170)
    keys = legend((class_, name) for (class_, _), name in zip(series, names, strict=False))
    return figure(
        "Lengths in tokens", keys, chart, note(f"Of {count(num)} documents; each bar is twice as wide.")
    )


def _correlated(step: StepView) -> Html | None:
    bounds = step.stated(FilterFacts).bounds
    if step.manifest is None or len(bounds) < 2:
        return None
    fails = step.totals.books.by_rule_any
    ranked = sorted(bounds, key=lambda bound: (-fails[bound["rule"]], bound["rule"]))
    names = list(dict.fromkeys(name for bound in bounds for name in (bound["signal"], bound["per"]) if name))
    table_ = _side(step, "signals", names)
    if table_ is None or table_.num_rows < 30:
        return None
    values: dict[str, npt.NDArray[np.float64]] = {}
    for bound in ranked:
        if bound["signal"] in table_.column_names and (
            not bound["per"] or bound["per"] in table_.column_names
        ):
            over = _floats(table_, bound["per"]) if bound["per"] else 1.0
            with np.errstate(all="ignore"):
                found = np.nan_to_num(_floats(table_, bound["signal"]) / over)
            if np.ptp(found):
                values[bound["rule"]] = _ranks(found)
    rules = list(values)
    if len(rules) < 2:
        return None
    matrix: npt.NDArray[np.float64] = np.atleast_2d(np.corrcoef(np.stack([values[rule] for rule in rules])))
    pairs = sorted(
        (
            (abs(matrix[i, j]), i, j)
            for i in range(len(rules))
            for j in range(i)
            if abs(matrix[i, j]) >= _LEAST
        ),
        reverse=True,
    )[:_PAIRS]
    rows = [
        [
            tag("code", rules[j]),
            tag("code", rules[i]),
            Cell(number(round(float(matrix[i, j]), 2)), float(matrix[i, j])),
        ]
        for _, i, j in pairs
    ]
    said = note(f"From {count(table_.num_rows)} documents of {step.name}, the first of its files.")
    strongest = (
        table(["rule", "and", "correlation"], rows)
        if rows
        else note("No two rules go together by half or more.")
    )
    return figure(
        f"{step.name}: rules that go together",
        strongest,
        details("all of those that most fail", _grid(rules, matrix)),
        said,
    )


def _grid(rules: Sequence[str], matrix: npt.NDArray[np.float64]) -> Html:
    shown = min(len(rules), _SHOWN)
    head = ["", *(str(index + 1) for index in range(shown))]
    rows = [
        [
            tag("code", f"{index + 1} {rules[index]}"),
            *(f"{matrix[index, other]:.2f}" for other in range(shown)),
        ]
        for index in range(shown)
    ]
    return table(head, rows, sortable=False)


def _floats(found: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(np.nan_to_num(found[name].cast(pa.float64()).to_numpy()), float)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], float)


def _side(step: StepView, kind: str, columns: Sequence[str]) -> pa.Table | None:
    """The first rows of a step's side files; none of a run at a URL, whose files would have to be fetched."""
    if step.manifest is None or step.folder is None or isinstance(step.folder, RemotePath):
        return None
    tables: list[Any] = []
    try:
        for path in step.manifest.paths(kind)[:_FILES]:
            there = read_parquet(path)
            tables.append(there.select([name for name in columns if name in there.column_names]))
    except (GristmillError, OSError, KeyError, json.JSONDecodeError):
        return None
    return pa.concat_tables(tables, promote_options="default").slice(0, _ROWS) if tables else None
