"""The quality classifier: scores of kept and removed, how far a score is a probability, and what the tenths
look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.figures import count, number, share
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.curves import Line, lines
from gristmill.pipeline.report.histograms import histogram
from gristmill.pipeline.report.markup import Cell, Html, Section, details, figure, join, legend, table, tag

_MEASURES = (
    ("f1", "F1"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("auc", "area under ROC"),
    ("brier", "Brier score"),
)
_SHOWN_NGRAMS, _SHOWN_SAMPLES, _EXCERPT = 15, 3, 220


def quality_section(view: RunView) -> Section | None:
    parts: list[Html] = []
    for step in view.of_stage("classify-train"):
        if report := step.extra.get("report"):
            parts.append(_trained(report))
    scored = [
        _scored(step.name, scores, step.totals.books.items_out["kept"], step.totals.books.items_in)
        for step in view.of_stage("classify-score")
        if (scores := step.totals.histograms.get("classify.score"))
    ]
    if scored:
        parts.append(tag("div", *scored, class_="cards wide"))
    if not parts:
        return None
    lead = "A classifier of curated against crawled text, measured on documents it was not trained on."
    return Section("quality", "Quality", join(parts), lead)


def _scored(name: str, scores: Mapping[str, Sequence[float]], kept: int, entered: int) -> Html:
    series = [(outlet, scores[outlet]) for outlet in ("kept", "removed")]
    chart = histogram(f"{name}: scores of kept and removed", scores["bins"], series, width=460, height=170)
    said = f"{count(kept)} of {count(entered)} documents stay ({share(kept, entered)})"
    return figure(f"Scores at {name}: {said}", legend((outlet, outlet) for outlet, _ in series), chart)


def _trained(report: Mapping[str, Any]) -> Html:
    heldout = report.get("heldout", {})
    said = (
        f"Held out: {count(heldout.get('positives', 0))} curated and {count(heldout.get('negatives', 0))}"
        " crawled passages."
    )
    body: list[Html] = [tag("p", said), tag("div", *_charts(report), _measures(report), class_="cards")]
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
    rows = [[title, Cell(f"{report[key]:.3f}", report[key])] for key, title in _MEASURES if key in report]
    return figure("How well it tells them apart", table(["measure", "held out"], rows, sortable=False))


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
            [number(float(setting)), Cell(share(rate, 1), rate)]
            for setting, rate in report.get(key, {}).items()
        ]
        if rows:
            made.append(table([name, "keeps of crawled"], rows, sortable=False))
    return made


def _ngrams(ngrams: Mapping[str, Sequence[Mapping[str, Any]]]) -> Html:
    sides = []
    for key, title in (("top", "speaks for curated"), ("bottom", "speaks for crawled")):
        rows = [
            [
                tag("bdi", row["ngram"]),
                Cell(number(row["score"]), row["score"]),
                Cell(count(row["passages"]), row["passages"]),
            ]
            for row in ngrams.get(key, ())[:_SHOWN_NGRAMS]
        ]
        sides.append(table([title, "score", "passages"], rows))
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
