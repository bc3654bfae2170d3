"""What the kept documents are: languages, domains, years, lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gristmill.pipeline.look.funnel import Funnel
from gristmill.pipeline.look.printing.figures import count, share
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.histograms import histogram as draw_histogram
from gristmill.pipeline.report.charts.histograms import without_empty_ends
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    details,
    figure,
    legend,
    note,
    table,
    tag,
)
from gristmill.pipeline.run.records.totals import Totals

TOP = 12
LANGUAGES = "kept.language"
_SHOWN_DOMAINS = 300  # as many as a shard keeps


@dataclass(slots=True)
class Corpus:
    """What documents of all sources are like, each source as its own last step saw it."""

    tallies: dict[str, Counter[str]] = field(default_factory=dict)
    lengths: dict[str, list[float]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)  # names that summaries leave out, by tally
    num_shards: int = 0


def corpus_section(funnel: Funnel, tokens: Html | None = None) -> PageSection | None:
    """Describe the documents that are left, source by source as the last step over documents kept them."""
    corpus = read_corpus(funnel)
    parts = [
        part
        for part in (
            _languages(corpus),
            _domains(corpus),
            _years(corpus),
            length_figure(corpus.lengths, "Lengths"),
            tokens,
        )
        if part
    ]
    if not parts:
        return None
    lead = "The documents that are left, as the last stage over documents saw them."
    return PageSection("corpus", "What is kept", tag("div", *parts, class_="cards wide"), lead, "Kept")


def read_corpus(funnel: Funnel) -> Corpus:
    last: dict[str, Totals] = {}
    for level in funnel.levels:
        for step in level.steps:
            last |= {source: step.totals for source, tallies in step.totals.tallies.items() if tallies}
    corpus = Corpus()
    for source, totals in last.items():
        corpus.num_shards = max(corpus.num_shards, totals.num_records)
        for name, tally in totals.tallies[source].items():
            corpus.tallies.setdefault(name, Counter()).update(tally)
        corpus.left_out.update({name: num for name, (num, _) in totals.left_out.get(source, {}).items()})
        for outlet, values in totals.lengths.get(source, {}).items():
            before = corpus.lengths.get(outlet)
            summed = (
                values
                if before is None or outlet == "bins"
                else [a + b for a, b in zip(before, values, strict=True)]
            )
            corpus.lengths[outlet] = summed
    return corpus


def ranked(tally: Counter[str], name: str, whole: int) -> list[Html]:
    """The largest of a tally in a table, more of them to unfold."""
    following = Counter(dict(sorted(tally.items(), key=lambda item: (-item[1], item[0]))[TOP:_SHOWN_DOMAINS]))
    more = (
        [details(f"the next {len(following)}", _top(following, name, _SHOWN_DOMAINS, whole))]
        if following
        else []
    )
    return [_top(tally, name, TOP, whole), *more]


def _top(tally: Counter[str], name: str, most: int, whole: int) -> Html:
    rows = []
    ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))[:most]
    for key, number in ordered:
        shown = tag("bdi", key if key not in ("None", "") else "unknown")
        rows.append(
            [
                shown,
                Cell(count(number), number),
                drawing.bar(number, ordered[0][1]),
                Cell(share(number, whole), number / whole),
            ]
        )
    return table([name, "documents", "", "share"], rows)


def _languages(corpus: Corpus) -> Html | None:
    tally = corpus.tallies.get(LANGUAGES, Counter())
    whole = sum(tally.values())
    return figure(f"Languages: {count(len(tally))}", *ranked(tally, "language", whole)) if whole else None


def _domains(corpus: Corpus) -> Html | None:
    tally = corpus.tallies.get("kept.domain", Counter())
    with_url = sum(tally.values())
    if not with_url:
        return None
    several = corpus.num_shards > 1
    said = (
        f"Every shard tells its {_SHOWN_DOMAINS} largest; counts of smaller ones may be low where there are"
        " many shards."
    )
    if left_out := corpus.left_out["kept.domain"]:
        said += f" The rarest of each source, {count(left_out)}, are left out."
    return figure(
        f"Domains: {count(len(tally))}", *ranked(tally, "domain", with_url), note(said) if several else ""
    )


def _years(corpus: Corpus) -> Html | None:
    tally = corpus.tallies.get("kept.year", Counter())
    dated = sorted((year, number) for year, number in tally.items() if year != "None")
    if not dated:
        return None
    undated = tally.get("None", 0)
    said = (
        f"When pages were fetched or texts published. {count(undated)} documents carry no date."
        if undated
        else ("When pages were fetched or texts published.")
    )
    return figure(
        "Years", drawing.columns("Kept documents by year", dated, width=460, height=170), note(said)
    )


def length_figure(histogram: Mapping[str, Sequence[float]], title: str) -> Html | None:
    """The lengths of documents in bytes, kept and removed."""
    if "kept" not in histogram:
        return None
    seen: list[tuple[str, Sequence[float]]] = [
        (outlet, histogram[outlet]) for outlet in ("kept", "removed") if outlet in histogram
    ]
    bins, series = without_empty_ends(histogram["bins"], seen)
    chart = draw_histogram("Length of documents in bytes", bins, series, width=460, height=170)
    keys = legend((name, name) for name, _ in series)
    return figure(
        title,
        keys,
        chart,
        note("Bytes of UTF-8 in a document; each bar is twice as wide as the one before."),
    )
