"""Two runs side by side as a page."""

from __future__ import annotations

from gristmill.pipeline.look.comparison import (
    NAMES,
    Comparison,
    better,
    difference,
    heldout,
    levels,
    losses,
    mixtures,
    rules,
    spelled,
)
from gristmill.pipeline.look.printing.figures import count, share, short
from gristmill.pipeline.look.reading import written
from gristmill.pipeline.report.charts.curves import Line, lines
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, join, legend, note, table, tag
from gristmill.pipeline.report.page import page


def render(found: Comparison) -> str:
    """The comparison as a page."""
    title = f"{found.views[0].name} and {found.views[1].name}"
    named = [
        tag("li", tag("b", name), f" {view.out}: ", tag("span", view.state, class_=f"chip {view.state}"))
        for name, view in zip(NAMES, found.views, strict=True)
    ]
    head = tag(
        "header",
        tag(
            "p", tag("span", "gristmill", class_="mark"), tag("span", "two runs", class_="chip"), class_="top"
        ),
        tag("h1", title),
        tag("p", better(found), class_="verdict") if better(found) else "",
        tag("ul", *named),
        tag("p", f"Written {written()}.", class_="note"),
        class_="hero",
    )
    made = (_funnel(found), _rules(found), _sides(found), _mixture(found), _models(found), _loss(found))
    return page(f"{title} · gristmill", head, [section for section in made if section], {})


def _funnel(found: Comparison) -> PageSection:
    lines = [
        [
            name,
            *(Cell(spelled(value), value) for value in documents),
            difference(documents),
            *(Cell(spelled(t), t) for t in tokens),
        ]
        for name, documents, tokens in levels(found)
    ]
    head = ["after", "documents A", "documents B", "B - A", "tokens A", "tokens B"]
    return PageSection("funnel", "Funnel", table(head, lines, sortable=False))


def _rules(found: Comparison) -> PageSection | None:
    lines = [
        [tag("code", rule), Cell(count(a), a), Cell(count(b), b), Cell(difference([a, b]), b - a)]
        for rule, a, b in rules(found)
    ]
    lead = "Documents each rule let go, those that differ most first."
    return PageSection("rules", "Rules", table(["rule", "A", "B", "B - A"], lines), lead) if lines else None


def _sides(found: Comparison) -> PageSection:
    parts: list[Html] = []
    for name, other, moved in zip(NAMES, reversed(NAMES), found.moved, strict=True):
        parts.append(tag("h3", f"{count(moved.count)} documents only {name} keeps"))
        if not moved.count:
            continue
        reasons = sorted(moved.because.items(), key=lambda item: (-item[1], item[0]))
        parts.append(
            table(
                [f"in {other} they are", "documents"],
                [[tag("code", reason), Cell(count(num), num)] for reason, num in reasons],
            )
        )
        examples = [
            [tag("bdi", row["url"] or row["id"], class_="url"), tag("code", row["because"])]
            for row in moved.examples
        ]
        if examples:
            parts.append(table(["for example", "because of"], examples))
    parts.append(note("Ids were compared by the index sidecars; no text was read."))
    return PageSection(
        "sides",
        "Changed sides",
        join(parts),
        "What one run keeps and the other does not, and because of what.",
    )


def _mixture(found: Comparison) -> PageSection | None:
    sums = [sum(row["tokens"] for _, pair in mixtures(found) if (row := pair[side])) for side in (0, 1)]
    lines = [
        [tag("bdi", name)]
        + [
            Cell(share(row["tokens"], sums[side]) if row else "–", row["tokens"] if row else None)
            for side, row in enumerate(pair)
        ]
        + [Cell(f"{row['epochs']:.2f}" if row else "–", row["epochs"] if row else None) for row in pair]
        for name, pair in mixtures(found)
    ]
    head = ["source", "share A", "share B", "epochs A", "epochs B"]
    return (
        PageSection(
            "mixture", "Mixture", table(head, lines), f"{short(sums[0])} tokens in A, {short(sums[1])} in B."
        )
        if lines
        else None
    )


def _models(found: Comparison) -> PageSection | None:
    bits = heldout(found)
    if not bits:
        return None
    cells = [
        [tag("bdi", name), *(Cell("–" if value is None else f"{value:.3f}", value) for value in pair)]
        for name, pair in bits
    ]
    lead = "After training, on text that neither tokenizer nor model saw."
    shown = table(["held-out source", "bits per byte A", "bits per byte B"], cells)
    return PageSection("models", "Held-out text", shown, lead, "Models")


def _loss(found: Comparison) -> PageSection | None:
    curves = [
        Line(name, points, f"s{side}")
        for side, (name, points) in enumerate(zip(NAMES, losses(found), strict=True))
        if points
    ]
    if not curves:
        return None
    chart = lines("Training loss", curves, "tokens", width=640, height=260)
    keys = legend((item.class_, item.name) for item in curves)
    body = join([keys, tag("figure", chart, class_="card")])
    return PageSection("loss", "Training loss", body, "Nats per token over tokens trained on.")
