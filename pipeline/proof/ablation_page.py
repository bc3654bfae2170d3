"""An ablation as a page: the ranking, a forest plot for each target, loss curves with bands, documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gristmill.files.storage import write_atomic
from gristmill.pipeline.look.printing.figures import count, short
from gristmill.pipeline.look.reading import read_log, written
from gristmill.pipeline.look.sides import changed_sides
from gristmill.pipeline.proof.ablation import Outcome, Prepared
from gristmill.pipeline.proof.told import PUBLISHED
from gristmill.pipeline.proof.verdict import Cell as Score
from gristmill.pipeline.proof.verdict import Table, Verdict
from gristmill.pipeline.report.charts.curves import Line, Point, lines, thin
from gristmill.pipeline.report.charts.drawing import at, line, polygon, svg, text
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    command,
    figure,
    join,
    legend,
    note,
    table,
    tag,
)
from gristmill.pipeline.report.page import page

_COLOURS = 6
_ROW, _LEFT, _WIDE = 22.0, 200.0, 640.0


def write_page(path: Path, verdict: Verdict, outcome: Outcome) -> Path:
    write_atomic(path, render(verdict, outcome, path.parent).encode())
    return path


def render(verdict: Verdict, outcome: Outcome, out: Path) -> str:
    title = f"{len(outcome.prepared)} variants"
    head = tag(
        "header",
        tag(
            "p", tag("span", "gristmill", class_="mark"), tag("span", "ablation", class_="chip"), class_="top"
        ),
        tag("h1", title),
        tag("p", _best(verdict), class_="verdict"),
        tag("p", f"Each model is trained on {outcome.tokens:,} tokens. Written {written()}.", class_="note"),
        class_="hero",
    )
    made = [_ranking(verdict, outcome), *_forests(verdict), _curves(outcome), _agreement(verdict)]
    made.append(_documents(outcome, out))
    return page(f"{title} · gristmill", head, [section for section in made if section], {})


def _best(verdict: Verdict) -> str:
    main = verdict.tables[verdict.main]
    won = {}
    for name in main.ranking():
        told = [cells[name].difference for cells in main.cells.values()]
        if told[0] is None:
            continue
        better = [
            target for target, one in zip(main.cells, told, strict=True) if one and one.told == "better"
        ]
        worse = [target for target, one in zip(main.cells, told, strict=True) if one and one.told == "worse"]
        won[name] = better, worse
    plain = [name for name, (better, worse) in won.items() if better and not worse]
    if plain:
        better, _ = won[plain[0]]
        return f"{plain[0]} is better than the recipe on {', '.join(better)} and worse on no target."
    if any(better for better, _ in won.values()):
        return (
            "No variant is better than the recipe on some target and worse on none: the table of targets is"
            " the result."
        )
    return "No variant is told apart from the recipe to its good."


def _ranking(verdict: Verdict, outcome: Outcome) -> PageSection:
    main = verdict.tables[verdict.main]
    prepared = {one.variant.name: one for one in outcome.prepared}
    lines_ = []
    for name in main.ranking():
        one = prepared[name]
        cells = [
            Cell(f"{cells[name].bits_per_byte:.4f}", cells[name].bits_per_byte)
            for cells in main.cells.values()
        ]
        lines_.append(
            [
                tag("bdi", name),
                *cells,
                Cell(short(one.tokens), one.tokens),
                Cell(f"{one.epochs:.2f}", one.epochs),
                tag("code", one.variant.changes),
            ]
        )
    head = ["variant", *main.cells, "tokens", "epochs", "what it changes"]
    lead = f"Bits per byte by target ({verdict.main}), best mean first; less is better."
    return PageSection("ranking", "Ranking", table(head, lines_), lead, "Ranking")


def _forests(verdict: Verdict) -> list[PageSection]:
    found = []
    for measure, scored in verdict.tables.items():
        charts = [figure(target, _forest(scored, target)) for target in scored.cells]
        lead = (
            "Each variant less the recipe, with its interval over documents and seeds; the band is the noise"
            " of one seed. Left of the line is better."
        )
        found.append(
            PageSection(
                f"forest-{measure}",
                f"Differences: {measure}",
                tag("div", *charts, class_="cards wide"),
                lead,
                measure,
            )
        )
    return found


def _forest(scored: Table, target: str) -> Html:
    cells = {name: cell for name, cell in scored.cells[target].items() if cell.difference}
    noise = scored.noise[target].deviation
    ends = [end for cell in cells.values() if (one := cell.difference) for end in (one.low, one.high)]
    reach = max([noise, *map(abs, ends)]) or 1.0
    height = _ROW * (len(cells) + 1) + 18

    def across(value: float) -> float:
        return _LEFT + (value / (1.05 * reach) + 1) / 2 * (_WIDE - _LEFT - 8)

    bottom = _ROW * len(cells) + 8
    drawn = [
        polygon(
            [(across(-noise), 0), (across(noise), 0), (across(noise), bottom), (across(-noise), bottom)],
            "track",
        ),
        line(across(0), 0, across(0), bottom, "axis"),
    ]
    for row, (name, cell) in enumerate(sorted(cells.items(), key=lambda pair: pair[1].bits_per_byte)):
        drawn += _whisker(name, cell, _ROW * row + 14, across)
    for value in (-reach, 0.0, reach):
        drawn.append(text(across(value), bottom + 16, f"{value:+.3f}", "tick", "middle"))
    return svg(_WIDE, height, f"{target}: difference in bits per byte", *drawn)


def _whisker(name: str, cell: Score, y: float, across: object) -> list[Html]:
    assert cell.difference is not None and callable(across)
    one = cell.difference
    class_ = {"better": "s0", "worse": "s1"}.get(one.told, "s5")
    said = f"{name}: {one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f}), {one.told}"
    path = f"M{at(across(one.low))} {at(y)}L{at(across(one.high))} {at(y)}"
    return [
        text(_LEFT - 8, y + 4, name if len(name) < 30 else name[:29] + "…", "label", "end"),
        tag("path", tag("title", said), d=path, class_=f"curve {class_}"),
        tag(
            "circle", tag("title", said), cx=at(across(one.value)), cy=at(y), r="3.2", class_=f"dot {class_}"
        ),
    ]


def _curves(outcome: Outcome) -> PageSection | None:
    charts: list[Line] = []
    for number, (name, runs) in enumerate(outcome.runs.items()):
        curves = [_losses(run) for run in runs]
        shortest = min(map(len, curves), default=0)
        if not shortest:
            continue
        xs = [x for x, _ in curves[0][:shortest]]
        ys = np.array([[y for _, y in curve[:shortest]] for curve in curves])
        class_ = f"s{number % _COLOURS}"
        charts.append(Line(name, thin(list(zip(xs, ys.mean(0).tolist(), strict=True)), 120), class_))
        for edge in (ys.min(0), ys.max(0)) if len(curves) > 1 else ():
            charts.append(
                Line(f"{name}, its seeds", thin(list(zip(xs, edge.tolist(), strict=True)), 120), "ideal")
            )
    if not charts:
        return None
    keys = legend((item.class_, item.name) for item in charts if item.class_ != "ideal")
    chart = lines("Training loss", charts, "tokens", width=_WIDE, height=260)
    lead = "Nats per token over tokens, mean of seeds; the dashed lines are the lowest and highest seed."
    return PageSection("loss", "Training loss", join([keys, tag("figure", chart, class_="card")]), lead)


def _losses(run: Path) -> list[Point]:
    return [(row["tokens"], row["loss"]) for row in read_log(run / "log.jsonl") if row.get("event") == "step"]


def _agreement(verdict: Verdict) -> PageSection:
    lines_ = [
        [
            proxy,
            tag("bdi", target),
            Cell(f"{one.accuracy:.0%}", one.accuracy),
            one.pairs,
            Cell(f"{one.rho:+.2f}", one.rho),
            f"{one.low:+.2f} to {one.high:+.2f}",
        ]
        for proxy, found in verdict.agreements.items()
        for target, one in found.items()
    ]
    head = ["proxy", "target", "pairs alike", "pairs", "rho", "interval"]
    body = join([table(head, lines_) if lines_ else "", note(PUBLISHED)])
    return PageSection(
        "proxies", "Proxies", body, "How far what costs seconds ranks these variants as trained models do."
    )


def _documents(outcome: Outcome, out: Path) -> PageSection | None:
    parts: list[Html] = []
    reference = outcome.prepared[0]
    for one in outcome.prepared[1:]:
        if not one.variant.is_placebo:
            parts += _changed(reference, one, out)
    if not parts:
        return None
    return PageSection(
        "documents",
        "Documents",
        join(parts),
        "What differs between the recipe's documents and each variant's.",
    )


def _changed(reference: Prepared, one: Prepared, out: Path) -> Sequence[Html]:
    sides = changed_sides(reference.steps, one.steps)
    parts = [tag("h3", one.variant.name)]
    for who, other, moved in (
        ("the recipe", one.variant.name, sides[0]),
        (one.variant.name, "the recipe", sides[1]),
    ):
        parts.append(tag("p", f"{count(moved.count)} documents only {who} keeps"))
        if not moved.count:
            continue
        reasons = sorted(moved.because.items(), key=lambda item: (-item[1], item[0]))
        head = [f"in {other} they are", "documents"]
        parts.append(table(head, [[tag("code", reason), Cell(count(num), num)] for reason, num in reasons]))
        parts += [
            tag("p", command("gristmill", "why", str(out), example["url"] or example["id"]))
            for example in moved.examples
        ]
    return parts
