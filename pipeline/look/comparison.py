"""Two runs side by side: funnel, rules, documents that changed sides, mixture and loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.pipeline.look.funnel import Funnel, build_funnel
from gristmill.pipeline.look.printing.figures import count, number, one_line
from gristmill.pipeline.look.printing.terminal import Paper, rows
from gristmill.pipeline.look.reading import RunView, last_evaluation, read_training_log, read_view
from gristmill.pipeline.look.sides import Moved, changed_sides
from gristmill.pipeline.report.charts.curves import Point, thin
from gristmill.pipeline.report.sections.training import curve
from gristmill.pipeline.stages.mix import MixFacts

NAMES = ("A", "B")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, read."""

    views: tuple[RunView, RunView]
    funnels: tuple[Funnel, Funnel]
    moved: tuple[Moved, Moved]  # what only A keeps, what only B keeps


def compare(one: Path, other: Path) -> Comparison:
    """Read two runs; raises UsageError where either is none."""
    views = read_view(one), read_view(other)
    finished = [{step.name: step.manifest for step in view.steps if step.manifest} for view in views]
    return Comparison(
        views, (build_funnel(views[0]), build_funnel(views[1])), changed_sides(finished[0], finished[1])
    )


def levels(found: Comparison) -> list[tuple[str, list[int | None], list[int | None]]]:
    """Name, documents and tokens of every level that either run has."""
    records = [funnel.records for funnel in found.funnels]
    names = list(dict.fromkeys(level.name for funnel in found.funnels for level in funnel.levels))
    by_name = [{level.name: level for level in funnel.levels} for funnel in found.funnels]
    made: list[tuple[str, list[int | None], list[int | None]]] = [("records in", [*records], [None, None])]
    for name in names:
        pair = [own.get(name) for own in by_name]
        made.append(
            (
                name,
                [level.documents if level else None for level in pair],
                [level.num_tokens if level else None for level in pair],
            )
        )
    return made


def rules(found: Comparison) -> list[tuple[str, int, int]]:
    """How many documents each rule let go in either run, those that differ most first."""
    sums = [
        {rule: num for level in funnel.levels for rule, num in level.by_rule_first.items()}
        for funnel in found.funnels
    ]
    names = sorted({*sums[0], *sums[1]})
    made = [(name, sums[0].get(name, 0), sums[1].get(name, 0)) for name in names]
    return sorted(made, key=lambda row: (-abs(row[2] - row[1]), row[0]))


def mixtures(found: Comparison) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """Rows of the realised mixture by source."""
    tables = [
        {row["name"]: row for step in view.of_stage("mix") for row in step.stated(MixFacts).table}
        for view in found.views
    ]
    return [(name, [own.get(name) for own in tables]) for name in dict.fromkeys([*tables[0], *tables[1]])]


def losses(found: Comparison) -> list[list[Point]]:
    made = []
    for view in found.views:
        log = [
            row
            for step in view.of_stage("train")
            for row in read_training_log(step)
            if row.get("event") == "step"
        ]
        made.append(thin(curve(log, "loss", "tokens")))
    return made


def heldout(found: Comparison) -> list[tuple[str, list[float | None]]]:
    """Bits per byte of held-out text by source, after training; they compare whatever the tokenizers."""
    both = [
        {
            row["source"]: row["bits_per_byte"]
            for step in view.of_stage("train")
            for row in last_evaluation(step)
        }
        for view in found.views
    ]
    return [(name, [own.get(name) for own in both]) for name in dict.fromkeys([*both[0], *both[1]])]


def better(found: Comparison) -> str | None:
    """Which run's model foretells held-out text better, over all sources of both; None where they cannot be
    compared."""
    pairs = [pair for name, pair in heldout(found) if name == "all"]
    if not pairs or None in pairs[0]:
        return None
    one, other = (round(value or 0.0, 4) for value in pairs[0])
    if one == other:
        return f"Both models need {one:.3f} bits for a byte of held-out text."
    name, less, more = (NAMES[0], one, other) if one < other else (NAMES[1], other, one)
    same = {name for name, pair in heldout(found) if None not in pair} == {name for name, _ in heldout(found)}
    caution = "" if same else " But their held-out sources differ: compare source by source."
    return (
        f"{name} trains the better model: {less:.3f} bits for a byte of held-out text against"
        f" {more:.3f}.{caution}"
    )


def as_json(found: Comparison) -> dict[str, Any]:
    return {
        "a": str(found.views[0].out),
        "b": str(found.views[1].out),
        "funnel": [
            {"after": name, "documents": documents, "tokens": tokens}
            for name, documents, tokens in levels(found)
        ],
        "rules": [{"rule": rule, "a": a, "b": b} for rule, a, b in rules(found)],
        "only_a_keeps": _moved(found.moved[0]),
        "only_b_keeps": _moved(found.moved[1]),
        "mixture": [{"source": name, "a": pair[0], "b": pair[1]} for name, pair in mixtures(found)],
        "last_loss": [points[-1][1] if points else None for points in losses(found)],
        "bits_per_byte": [{"source": name, "a": pair[0], "b": pair[1]} for name, pair in heldout(found)],
    }


def _moved(moved: Moved) -> dict[str, Any]:
    # Not by dataclasses.asdict: it makes pairs of a Counter's entries and counts those.
    return {"count": moved.count, "because": dict(moved.because), "examples": moved.examples}


def tell(found: Comparison, paper: Paper | None = None) -> Iterator[str]:
    """The comparison in 80 columns."""
    paper = paper or Paper()
    for name, view in zip(NAMES, found.views, strict=True):
        yield f"{paper.paint(name, 'bold')}  {one_line(str(view.out))}  ({view.state})"
    yield ""
    shown = [[name, *map(spelled, documents), difference(documents)] for name, documents, _ in levels(found)]
    yield from rows(paper, ["after", "A", "B", "B - A"], shown, right=(1, 2, 3))
    differing = [row for row in rules(found) if row[1] != row[2]]
    if differing:
        yield ""
        shown = [[rule, count(a), count(b), difference([a, b])] for rule, a, b in differing]
        yield from rows(paper, ["removed by", "A", "B", "B - A"], shown, right=(1, 2, 3))
    for name, other, moved in zip(NAMES, reversed(NAMES), found.moved, strict=True):
        yield ""
        if not moved.count:
            yield f"{other} keeps every document that {name} keeps"
            continue
        yield f"{count(moved.count)} documents only {name} keeps; in {other} they are"
        for reason, num in sorted(moved.because.items(), key=lambda item: (-item[1], item[0])):
            yield f"  {num:>9,}  {one_line(reason)}"
        for example in moved.examples:
            yield (
                f"    {one_line(example['url'] or example['id'], paper.width - 40)} "
                f" {one_line(example['because'])}"
            )
    yield from _tell_mixture(found, paper)
    yield from _tell_models(found, paper)


def _tell_mixture(found: Comparison, paper: Paper) -> Iterator[str]:
    if mixed := mixtures(found):
        shown = []
        for name, pair in mixed:
            epochs = (f"{row['epochs']:.2f}" if row else "–" for row in pair)
            shown.append([name, *epochs, *(spelled(row["tokens"] if row else None) for row in pair)])
        yield ""
        yield from rows(
            paper, ["source", "epochs A", "epochs B", "tokens A", "tokens B"], shown, right=(1, 2, 3, 4)
        )


def _tell_models(found: Comparison, paper: Paper) -> Iterator[str]:
    if bits := heldout(found):
        yield ""
        shown = [[name, *("–" if value is None else f"{value:.3f}" for value in pair)] for name, pair in bits]
        yield from rows(paper, ["held out", "bits per byte A", "B"], shown, right=(1, 2))
        if said := better(found):
            yield paper.paint(said, "bold")
    ends = [points[-1][1] if points else None for points in losses(found)]
    if any(end is not None for end in ends):
        yield (
            "last training loss:"
            f" {', '.join(f'{name} {number(end)}' for name, end in zip(NAMES, ends, strict=True))}"
        )


def spelled(value: int | None) -> str:
    return "–" if value is None else count(value)


def difference(pair: Sequence[int | None]) -> str:
    one, other = pair
    return "" if one is None or other is None else f"{other - one:+,}" if one != other else "="
