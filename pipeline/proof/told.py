"""An ablation's verdict in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from gristmill.pipeline.look.printing.figures import short
from gristmill.pipeline.look.printing.terminal import Paper, rows
from gristmill.pipeline.proof.ablation import Outcome
from gristmill.pipeline.proof.verdict import Table, Verdict

_WORDS = {
    "better": "better",
    "worse": "worse",
    "within noise": "within noise",
    "unknown": "one seed: unknown",
}
MANY_EPOCHS = 4  # beyond, repeating is worth less and less (Muennighoff et al. 2023)
PUBLISHED = (
    "published: 1 M-parameter proxies rank mixtures with rho .73, 15 M above .89 (Olmix); 150 M models rank"
    " 80 % of pairs as 1 B models do (DataDecide)"
)


def tell_verdict(verdict: Verdict, outcome: Outcome, paper: Paper | None = None) -> Iterator[str]:
    """The ranking, each target's differences with intervals and noise, and what proxies are worth."""
    paper = paper or Paper()
    main = verdict.tables[verdict.main]
    yield from _data(outcome, paper)
    yield ""
    yield from _ranking(verdict, paper)
    for target in main.cells:
        yield ""
        yield from _target(main, target, verdict.main, paper)
    yield ""
    yield from tell_agreement(verdict, paper)
    if verdict.leaked:
        yield f"{verdict.leaked} texts of targets are among some variant's training documents: left out"


def _data(outcome: Outcome, paper: Paper) -> Iterator[str]:
    shown = [
        [one.variant.name, short(one.tokens), f"{one.epochs:.2f}", one.variant.changes]
        for one in outcome.prepared
    ]
    yield f"each model is trained on {outcome.tokens:,} tokens"
    yield from rows(paper, ["variant", "tokens", "epochs", "what it changes"], shown, right=(1, 2))
    first = outcome.prepared[0]
    same = [
        one.variant.name
        for one in outcome.prepared[1:]
        if one.mix.content_digest == first.mix.content_digest and not one.variant.is_placebo
    ]
    if same:
        yield f"{', '.join(same)}: the same text as the recipe's, so the same models"
    often = [one.variant.name for one in outcome.prepared if one.epochs > MANY_EPOCHS]
    if often:
        yield (
            f"{', '.join(often)}: more than {MANY_EPOCHS} epochs; what is measured is repetition, too"
        )  # fmt: skip


def _ranking(verdict: Verdict, paper: Paper) -> Iterator[str]:
    main = verdict.tables[verdict.main]
    names = main.ranking()
    measures = list(verdict.tables)
    shown = []
    for place, name in enumerate(names, 1):
        means = [_mean(verdict.tables[measure], name) for measure in measures]
        told = [cells[name].difference for cells in main.cells.values()]
        counts = [sum(1 for one in told if one and one.told == word) for word in ("better", "worse")]
        said = "the recipe" if told[0] is None else f"{counts[0]} better, {counts[1]} worse"
        shown.append([str(place), name, *(f"{mean:.4f}" for mean in means), said])
    unit = "bits per byte" + (" (classifier: bits a document)" if "classifier" in measures else "")
    yield paper.paint(f"{unit}, mean of targets (less is better)", "bold")
    yield from rows(
        paper, ["", "variant", *measures, "of targets"], shown, right=(0, *range(2, 2 + len(measures)))
    )


def _mean(table: Table, name: str) -> float:
    return sum(cells[name].bits_per_byte for cells in table.cells.values()) / len(table.cells)


def _target(table: Table, target: str, measure: str, paper: Paper) -> Iterator[str]:
    noise = table.noise[target]
    known = f"one seed's noise {noise.deviation:.4f}" if noise.known else "one seed: its noise is not known"
    yield paper.paint(f"{target}: {measure}, {table.documents[target]} documents, {known}", "bold")
    shown = []
    cells = table.cells[target]
    for name in sorted(cells, key=lambda name: cells[name].bits_per_byte):
        cell = cells[name]
        if cell.difference is None:
            shown.append([name, f"{cell.bits_per_byte:.4f}", "", "", "the recipe"])
            continue
        one = cell.difference
        shown.append(
            [
                name,
                f"{cell.bits_per_byte:.4f}",
                f"{one.value:+.4f}",
                f"{one.low:+.4f} to {one.high:+.4f}",
                _WORDS[one.told],
            ]
        )
    yield from rows(
        paper, ["variant", "bits/byte", "difference", "interval", "verdict"], shown, right=(1, 2, 3)
    )


def tell_agreement(verdict: Verdict, paper: Paper | None = None) -> Iterator[str]:
    """How far a proxy ranks these variants as the trained models do."""
    paper = paper or Paper()
    shown = [
        [
            proxy,
            target,
            f"{one.accuracy:.0%} of {one.pairs}",
            f"{one.rho:+.2f}",
            f"{one.low:+.2f} to {one.high:+.2f}",
        ]
        for proxy, found in verdict.agreements.items()
        for target, one in found.items()
    ]
    if shown:
        yield paper.paint("proxies against trained models, on these variants", "bold")
        yield from rows(paper, ["proxy", "target", "pairs alike", "rho", "interval"], shown, right=(2, 3, 4))
    elif verdict.main != "trained":
        yield f"nothing was trained: {verdict.main} is a proxy; docs/proof.md says how far to trust it"
    yield from paper.wrap(PUBLISHED, "")
