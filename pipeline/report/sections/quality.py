"""The quality classifier: scores of kept and removed, how far a score is a probability, and what the tenths
look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.printing.figures import count, number, share
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts.curves import Line, lines
from gristmill.pipeline.report.charts.histograms import histogram
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
from gristmill.pipeline.stages.classify import ClassifyScoreFacts, ClassifyTrainFacts

_MEASURES = (
    ("f1", "F1"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("auc", "area under ROC"),
    ("brier", "Brier score"),
    ("calibration_error", "calibration error"),
)
_SHOWN_NGRAMS, _SHOWN_SAMPLES, _EXCERPT, _SHOWN_GROUPS = 15, 3, 220, 20


def quality_section(view: RunView) -> PageSection | None:
    parts: list[Html] = []
    for step in view.of_stage("classify-train"):
        if report := step.stated(ClassifyTrainFacts).report:
            parts.append(_trained(report))
    scored = [
        _scored(step, scores)
        for step in view.of_stage("classify-score")
        if (scores := step.totals.histograms.get("classify.score"))
    ]
    if scored:
        parts.append(tag("div", *scored, class_="cards wide"))
    if not parts:
        return None
    lead = "A classifier of curated against crawled text, measured on documents it was not trained on."
    return PageSection("quality", "Quality", join(parts), lead)


def _scored(step: StepView, scores: Mapping[str, Sequence[float]]) -> Html:
    books, stated = step.totals.books, step.stated(ClassifyScoreFacts)
    kept, entered = books.items_out["kept"], books.items_in
    series = [(outlet, scores[outlet]) for outlet in ("kept", "removed")]
    title = f"{step.name}: scores of kept and removed"
    chart = histogram(title, scores["bins"], series, width=460, height=170)
    said = f"{count(kept)} of {count(entered)} documents stay ({share(kept, entered)})"
    unscored = entered - int(sum(map(sum, (scores[outlet] for outlet in ("kept", "removed")))))
    if unscored:
        said += f"; {count(unscored)} have no score, too little of them is known"
    figures = [figure(f"Scores at {step.name}: {said}", legend((o, o) for o, _ in series), chart)]
    figures += [tag("p", warning, class_="warning") for warning in stated.warnings or ()]
    figures += [_kept_by(step.name, what, rows) for what, rows in stated.groups.items() if rows]
    return join(figures)


def _kept_by(name: str, what: str, rows: Mapping[str, Mapping[str, float]]) -> Html:
    """Documents, keep rate and mean score of each language or length; a length is a power of two."""
    made = []
    for key in _order(what, {key: row["documents"] for key, row in rows.items()}):
        row = rows[key]
        scored = row["documents"] - row["too_little"]
        made.append(
            [
                Cell(key, int(key)) if what == "length" else key or "unknown",
                Cell(count(int(row["documents"])), row["documents"]),
                Cell(share(row["kept"], row["documents"]), row["kept"] / row["documents"]),
                Cell(number(row["score"] / scored), row["score"] / scored) if scored else "",
                Cell(count(int(row["too_little"])), row["too_little"]),
            ]
        )
    head = ["characters from" if what == "length" else what, "documents", "kept", "mean score", "no score"]
    return details(f"{name}: kept by {what}", table(head, made))


def _order(what: str, sizes: Mapping[str, float]) -> list[str]:
    """Lengths in their order, languages by size; the first few."""
    largest = sorted(sizes, key=lambda key: -sizes[key])[:_SHOWN_GROUPS]
    return sorted(largest, key=int) if what == "length" else largest


def _taught(report: Mapping[str, Any]) -> list[Html]:
    """Training passages of each class by language and length, with the mean scores of held-out ones."""
    made = []
    for what, rows in report.get("taught", {}).items():
        judged = report.get("groups", {}).get(what, {})
        lines = []
        for key in _order(what, {key: sum(row["passages"]) for key, row in rows.items()}):
            means = judged.get(key, {}).get("mean_score", (None, None))
            cells = [Cell(count(size), size) for size in rows[key]["passages"]]
            cells += [Cell("" if mean is None else number(mean), mean or 0.0) for mean in means]
            lines.append([key or "unknown", *cells])
        head = [
            "characters from" if what == "length" else what,
            "curated passages",
            "crawled passages",
            "mean score, curated",
            "mean score, crawled",
        ]
        made.append(table(head, lines))
    return made


def _trained(report: Mapping[str, Any]) -> Html:
    heldout = report.get("heldout", {})
    said = (
        f"Judged on {count(heldout.get('positives', 0))} curated and"
        f" {count(heldout.get('negatives', 0))} crawled passages of {count(report.get('units', 0))} domains"
        " or documents, neither trained nor calibrated on."
    )
    body: list[Html] = [tag("p", said), tag("div", *_charts(report), _measures(report), class_="cards")]
    body += [tag("p", warning, class_="warning") for warning in report.get("warnings", ())]
    if taught := _taught(report):
        body.append(
            details("what each class taught, by language and length", tag("div", *taught, class_="cards"))
        )
    if rates := _rates(report):
        body.append(details("what other keep rules would keep", tag("div", *rates, class_="cards")))
    if ngrams := report.get("ngrams"):
        body.append(details("the most telling words", _ngrams(ngrams)))
    if deciles := report.get("deciles"):
        body.append(
            details(
                "samples of every tenth of the scores",
                *(_decile(part) for part in deciles if part["samples"]),
            )
        )
    return tag("div", *body, class_="block")


def _measures(report: Mapping[str, Any]) -> Html:
    rows = []
    for key, title in _MEASURES:
        if key in report:
            edges = report.get("intervals", {}).get(key, ())
            interval = " to ".join(f"{edge:.3f}" for edge in edges)
            rows.append([title, Cell(f"{report[key]:.3f}", report[key]), interval])
    head = ["measure", "held out", "95 % interval"]
    return figure("How well it tells them apart", table(head, rows, sortable=False))


def _charts(report: Mapping[str, Any]) -> list[Html]:
    charts = []
    if histograms := report.get("histograms"):
        num = len(next(iter(histograms.values())))
        bins = [index / num for index in range(num + 1)]
        keys = [(f"s{index % 6}", name) for index, name in enumerate(histograms)]
        chart = histogram(
            "Scores of held-out passages by source",
            bins,
            [(class_, histograms[name]) for class_, name in keys],
        )
        charts.append(figure("Scores of held-out passages by source", legend(keys), chart))
    if calibration := report.get("calibration"):
        points = [(row["score"], row["curated"]) for row in calibration]
        drawn = [Line("as calibrated", points), Line("a perfect one", [(0.0, 0.0), (1.0, 1.0)], "ideal")]
        chart = lines("Share of curated passages by score", drawn, "score", low=0.0, dots=True)
        charts.append(figure("Calibration: share of curated passages by score; dotted, a perfect one", chart))
    return charts


def _rates(report: Mapping[str, Any]) -> list[Html]:
    """What each keep rule would have kept of crawled passages."""
    made = []
    for key, name in (("keep_rate_by_alpha", "pareto, alpha"), ("keep_rate_by_threshold", "threshold")):
        rows = [
            [Cell(number(float(setting)), float(setting)), Cell(share(rate, 1), rate)]
            for setting, rate in sorted(report.get(key, {}).items(), key=lambda item: float(item[0]))
        ]
        if rows:
            made.append(table([name, "keeps of crawled"], rows))
    return made


def _ngrams(ngrams: Mapping[str, Sequence[Mapping[str, Any]]]) -> Html:
    sides = []
    for key, title in (("top", "speaks for curated"), ("bottom", "speaks for crawled")):
        rows = [
            [
                tag("bdi", row["ngram"]),
                Cell(number(row["score"]), row["score"]),
                *(
                    Cell(count(row[side]), row[side]) if side in row else ""
                    for side in ("curated", "crawled")
                ),
            ]
            for row in ngrams.get(key, ())[:_SHOWN_NGRAMS]
        ]
        heads = [title, "score", "curated passages", "crawled"]
        sides.append(table(heads, rows) if rows else note(f"No word or pair of words {title} text."))
    return tag("div", *sides, class_="cards")


def _decile(part: Mapping[str, Any]) -> Html:
    rows = [
        [
            Cell(number(sample["score"]), sample["score"]),
            sample["source"],
            tag("bdi", sample["text"][:_EXCERPT]),
        ]
        for sample in part["samples"][:_SHOWN_SAMPLES]
    ]
    return join(
        [tag("h3", f"tenth {part['decile']} of 10"), table(["score", "source", "text"], rows, sortable=False)]
    )
