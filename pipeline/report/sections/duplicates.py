"""Deduplication: how large clusters are, how sure the matches, and one cluster with its differences shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.printing.figures import count, share
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.histograms import histogram, without_empty_ends
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
from gristmill.pipeline.stages.dedup import EXACT, FUZZY, SEMANTIC, FuzzyFacts

_SHOWN_MEMBERS = 4
_COMPARED_WORDS = 400


def duplicates_section(view: RunView) -> PageSection | None:
    steps = [step for step in view.of_stage(EXACT.name, FUZZY.name, SEMANTIC.name) if step.totals.has_books]
    if not steps:
        return None
    return PageSection(
        "duplicates",
        "Duplicates",
        join(_step(step) for step in steps),
        "Every cluster keeps one document; each removed one names it.",
    )


def _step(step: StepView) -> Html:
    books, stated = step.totals.books, step.stated(FuzzyFacts)
    copies = books.items_out["removed"]
    facts = [
        f"{count(copies)} of {count(books.items_in)} documents were copies ({share(copies, books.items_in)})"
    ]
    if step.manifest:
        facts.append(f"{count(stated.clusters)} clusters")
    if step.manifest and step.stage in (FUZZY.name, SEMANTIC.name):
        facts.append(f"{count(stated.compared)} pairs compared")
    body: list[Html] = [tag("h3", step.name), tag("p", "; ".join(facts) + ".")]
    body += [note(said) for said in stated.warnings or ()]
    if step.totals.bounded:
        ids = [tag("code", value, " ") for value in step.totals.bounded]
        body.append(details("some of the documents whose comparisons a bound ended", *ids))
    if stated.old:
        body += _old(stated.old)
    charts = []
    if sizes := step.totals.histograms.get("cluster_size"):
        title = "Clusters by number of documents"
        charts.append(figure(title, drawing.columns(title, _sizes(sizes))))
    if similarity := step.totals.histograms.get("pair_similarity"):
        found = [("removed", similarity["accepted"]), ("kept", similarity["rejected"])]
        bins, series = without_empty_ends(similarity["bins"], found)
        title = "Jaccard similarity of compared texts: copies (removed) and pairs that were not (kept)"
        charts.append(figure(title, histogram(title, bins, series)))
    if charts:
        body.append(tag("div", *charts, class_="cards"))
    if pairs := _pairs(step):
        body.append(pairs)
    # Exact copies look alike; it is near ones whose differences tell whether the threshold is right.
    shown = 0 if step.stage == EXACT.name else 1
    first, rest = step.totals.clusters[:shown], step.totals.clusters[shown:]
    body += [_cluster(cluster, open_=True) for cluster in first]
    if rest:
        more = f"{len(rest)} {'more ' if first else ''}clusters, chosen by hash"
        body.append(details(more, *(_cluster(cluster, open_=False) for cluster in rest)))
    return tag("div", *body, class_="block")


def _sizes(histogram: Mapping[str, Sequence[float]]) -> list[tuple[str, float]]:
    """Bins of cluster sizes up to the last that holds some: 2, 3, 4, 5-8, ..."""
    bins, counts = histogram["bins"], histogram["clusters"]
    last = max((index for index, value in enumerate(counts) if value), default=0)
    rows = []
    for index in range(last + 1):
        low = int(bins[index])
        high = int(bins[index + 1]) - 1 if index + 1 < len(bins) else None
        rows.append(
            (f"{low}" if high == low else f"{low}+" if high is None else f"{low}-{high}", counts[index])
        )
    return rows


def _old(told: Mapping[str, Any]) -> list[Html]:
    """What of earlier corpora the documents are, by corpus and host, and how near those are that stay."""
    names = ("removed", "removed_bytes", "near")
    rows = [
        [tag("bdi", name), *(Cell(count(found.get(key, 0)), found.get(key, 0)) for key in names)]
        for name, found in told["corpora"].items()
    ]
    head = ["corpus", "documents it has too", "their bytes", "near one of it, kept"]
    parts = [table(head, rows)]
    if told["hosts"]:
        hosts = [
            [tag("bdi", host or "-"), Cell(count(number), number)] for host, number in told["hosts"].items()
        ]
        parts.append(details("hosts of the documents that it has too", table(["host", "documents"], hosts)))
    near = [round(step / len(told["kept_similarity"]), 2) for step in range(len(told["kept_similarity"]) + 1)]
    if any(told["kept_similarity"]):
        title = "Similarity of documents that stay to the nearest old one"
        bins, series = without_empty_ends(near, [("kept", told["kept_similarity"])])
        parts.append(figure(title, histogram(title, bins, series)))
    return parts


def _pairs(step: StepView) -> Html | None:
    """What was compared and with which outcome, and some pairs of either."""
    counts = step.totals.counts
    if "pairs_accepted" not in counts:
        return None
    said = (
        f"{count(counts['pairs_accepted'])} pairs were verified as copies; {count(counts['pairs_rejected'])}"
        f" shared a band and were not; of {count(counts['pairs_unread'])} more the signatures alone were too"
        " far apart to read the texts."
    )
    samples = [pair for outcome in ("accepted", "rejected") for pair in step.totals.pairs.get(outcome, ())]
    rows = [
        [
            tag("code", pair["id"]),
            tag("code", pair["kept_id"]),
            "accepted" if pair["accepted"] else "rejected",
            Cell(_score(pair["estimate"]), pair["estimate"]),
            Cell(_score(pair["score"]), pair["score"]),
        ]
        for pair in samples
    ]
    listed = table(["document", "compared with", "outcome", "estimate", "score of the texts"], rows)
    return (
        tag("div", note(said), details("some compared pairs, chosen by hash", listed)) if rows else note(said)
    )


def _cluster(cluster: Mapping[str, Any], *, open_: bool) -> Html:
    members = sorted(cluster["members"], key=lambda member: (member.get("removed", False), member["id"]))
    first, rest = members[0], members[1:_SHOWN_MEMBERS]
    shown = [_member(first, tag("bdi", (first.get("text") or "")[:2000], class_="text"))]
    for member in rest:
        before, after = first.get("text") or "", member.get("text") or ""
        alike = before.split()[:_COMPARED_WORDS] == after.split()[:_COMPARED_WORDS]
        shown.append(
            _member(
                member,
                note("No word differs in what is shown of it.") if alike else differences(before, after),
            )
        )
    rows = [
        [
            tag("bdi", member.get("url") or member["id"], class_="url"),
            "removed" if member.get("removed") else "kept",
            Cell(_score(member.get("jaccard")), member.get("jaccard")),
        ]
        for member in members
    ]
    listed = table(["page", "outcome", "similarity"], rows, sortable=False)
    more = note(
        f"{count(cluster['size'])} documents in this cluster; {len(members)} are shown here, {len(shown)}"
        " with text."
    )
    return details(
        f"a cluster of {count(cluster['size'])}: {first.get('url') or first['id']}",
        listed,
        *shown,
        more,
        open_=open_,
    )


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _member(member: Mapping[str, Any], text: Html) -> Html:
    score = f", similarity {_score(member['jaccard'])}" if member.get("jaccard") is not None else ""
    said = f"{'removed' if member.get('removed') else 'kept'}{score}"
    return tag(
        "article",
        tag("p", tag("bdi", member.get("url") or member["id"], class_="url"), f" · {said}", class_="note"),
        text,
        class_="sample",
    )


def differences(before: str, after: str) -> Html:
    """Show `after` with what `before` lacks marked as inserted and what only `before` has as deleted, word by
    word."""
    old, new = before.split()[:_COMPARED_WORDS], after.split()[:_COMPARED_WORDS]
    parts: list[Html] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(tag("span", " ".join(new[c:d])))
            continue
        if b > a:
            parts.append(tag("del", " ".join(old[a:b])))
        if d > c:
            parts.append(tag("ins", " ".join(new[c:d])))
    return tag("bdi", join(parts, " "), class_="text")
