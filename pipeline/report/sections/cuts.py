"""Cuts: how much of texts repeated pieces, n-grams, substrings and passages were, and how long the ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.printing.figures import count, share
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    details,
    figure,
    join,
    note,
    table,
    tag,
)
from gristmill.pipeline.stages.dedup import CONTAINED, PASSAGES, PIECES, SUBSTRING, PassageFacts


def cuts_section(view: RunView) -> PageSection | None:
    kinds = (PIECES, CONTAINED, SUBSTRING, PASSAGES)
    steps = [step for step in view.of_stage(*(kind.name for kind in kinds)) if step.totals.has_books]
    if not steps:
        return None
    return PageSection(
        "cuts",
        "Repeated text",
        join(_step(step) for step in steps),
        "Text that occurs in another place, or before in its own document, is cut there and stays once.",
    )


def _step(step: StepView) -> Html:
    books, counts = step.totals.books, step.totals.counts
    deleted = books.bytes_out["deleted"]
    said = (
        f"{count(counts['ranges_cut'])} ranges were cut out of {count(counts['documents_cut'])} documents,"
        f" {share(deleted, books.bytes_in)} of the text's bytes; {count(books.items_out['removed'])}"
        " documents of which too little would be left were removed."
    )
    body: list[Html] = [tag("h3", step.name), tag("p", said)]
    if step.manifest and step.stage == PASSAGES.name:
        stated = step.stated(PassageFacts)
        body.append(
            note(
                f"{count(stated.chains)} pairs of places that share seeds were aligned;"
                f" {count(stated.left_out)} were not, as others of the same place share more (`max_sources`)."
            )
        )
    if (sizes := step.totals.histograms.get("cut_bytes")) and counts["ranges_cut"]:
        title = "Ranges cut, by bytes"
        body.append(figure(title, drawing.columns(title, _sizes(sizes))))
    if pairs := step.totals.pairs.get("cut"):
        rows = [[tag("code", pair["id"]), _bytes(pair), tag("code", pair["kept_id"])] for pair in pairs]
        listed = table(["document", "bytes cut", "held by"], rows)
        body.append(details("some of what was cut, chosen by hash", listed))
    return tag("div", *body, class_="block")


def _bytes(pair: Mapping[str, Any]) -> Cell:
    return Cell(f"{count(pair['start'])} to {count(pair['end'])}", pair["end"] - pair["start"])


def _sizes(histogram: Mapping[str, Sequence[float]]) -> list[tuple[str, float]]:
    """Bins from the first to the last that holds some, each by its least size."""
    counts = histogram["ranges"]
    held = [place for place, value in enumerate(counts) if value]
    return [(f"{int(histogram['bins'][place]):,}", counts[place]) for place in range(held[0], held[-1] + 1)]
