"""Fits, predictions and plans in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.pipeline.look.printing.figures import short
from gristmill.pipeline.look.printing.terminal import Paper, rows
from gristmill.pipeline.proof import planning
from gristmill.pipeline.proof.fitted import BIASES, Fits, Prediction, SourceFit, fit_rows
from gristmill.pipeline.proof.laws import EPOCH, FLOPS_PER_TOKEN, HOFFMANN, NAMES, Law
from gristmill.pipeline.proof.planning import Choice
from gristmill.pipeline.proof.rows import Rows, read_rows

PAPER_EXPONENTS = {1: (0.50, 0.488, 0.502), 2: (0.49, 0.462, 0.534), 3: (0.46, 0.454, 0.455)}  # table 2


def tell_fit(found: Fits, paper: Paper | None = None) -> Iterator[str]:
    """Constants with intervals, exponents by every approach, residuals, and what is known to be biased."""
    paper = paper or Paper()
    for source, fit in found.fits.items():
        yield paper.paint(f"{source}: L = E + A / N^alpha + B / D^beta, {fit.rows} rows", "bold")
        constants = {**{name: getattr(fit.law, name) for name in NAMES}, "a": fit.law.exponents[0]}
        shown = [
            [name, _figure(value), *map(_figure, fit.intervals[name])] for name, value in constants.items()
        ]
        yield from rows(paper, ["constant", "fit", "2.5 %", "97.5 %"], shown, right=(1, 2, 3), indent="  ")
        yield (
            f"  Huber objective {fit.objective:.8f}; log residuals: root mean square"
            f" {float((fit.residuals**2).mean() ** 0.5):.4f}, largest {float(abs(fit.residuals).max()):.4f}"
        )
        yield "  N_opt ~ C^a, by approach: " + ", ".join(_exponents(fit))
        if fit.compute:
            yield (
                f"  along the frontier L = {fit.compute['scale']:.4g} C^{fit.compute['exponent']:.4f};"
                f" Kaplan: alpha_N {fit.kaplan['alpha_n']:.4f}, alpha_D {fit.kaplan['alpha_d']:.4f}"
            )
        off = [b for b in fit.approach_2["budgets"] if not b["is_centred"]]
        if off:
            yield (
                f"  {len(off)} of {len(fit.approach_2['budgets'])} budgets have their minimum outside their"
                " sizes and are left out of approach 2"
            )
    yield from tell_without(found.without)
    yield ""
    for bias in BIASES:
        yield from paper.wrap(f"note: {bias}", "")


def tell_without(without: Mapping[str, str]) -> Iterator[str]:
    """Name the sources that no law was fitted to."""
    for source, reason in without.items():
        yield f"{source}: no law: {reason}"


def _exponents(fit: SourceFit) -> Iterator[str]:
    one, two = fit.approach_1, fit.approach_2["a"]
    values = {1: one["a"] if one else None, 2: two, 3: fit.law.exponents[0]}
    for number, value in values.items():
        yield f"{number}: {'the rows do not allow it' if value is None else f'{value:.3f}'}"


def tell_predictions(
    found: Sequence[Prediction], n: float, d: float, level: float, paper: Paper | None = None
) -> Iterator[str]:
    paper, tail = paper or Paper(), (1 - level) / 2
    yield f"N {short(n)}, D {short(d)} tokens, C {FLOPS_PER_TOKEN * n * d:.3g} FLOPs"
    shown = [[one.source, f"{one.loss:.4f}", f"{one.low:.4f}", f"{one.high:.4f}"] for one in found]
    head = ["source", "loss", f"{100 * tail:.4g} %", f"{100 * (1 - tail):.4g} %"]
    yield from rows(paper, head, shown, right=(1, 2, 3))
    beyond = list(dict.fromkeys(said for one in found for said in one.beyond))
    for said in beyond:
        yield f"extrapolated: {said}"
    if beyond:
        yield "the interval is the ladder's scatter; beyond it the law's form is not tested"


def tell_plan(
    law: Law,
    named: str,
    choices: Sequence[tuple[str, Choice]],
    notes: Sequence[str],
    paper: Paper | None = None,
) -> Iterator[str]:
    paper = paper or Paper()
    constants = f"E {law.E:.4f}, A {law.A:.5g}, B {law.B:.5g}, alpha {law.alpha:.4f}, beta {law.beta:.4f}"
    yield f"law: {named}: {constants}"
    shown = [
        [
            name,
            short(one.n),
            short(one.d),
            f"{one.tokens_per_parameter:,.1f}",
            f"{one.epochs:.2f}",
            f"{one.flops:.3g}",
            f"{one.loss:.4f}",
        ]
        for name, one in choices
    ]
    head = ["for", "N", "D", "D/N", "epochs", "FLOPs", "loss"]
    yield from rows(paper, head, shown, right=(1, 2, 3, 4, 5, 6))
    for note in notes:
        yield from paper.wrap(note, "")


def tell_table(law: Law, paper: Paper | None = None) -> Iterator[str]:
    """Chinchilla's table of sizes beside 20 tokens per parameter and a law's own optimum."""
    paper = paper or Paper()
    shown = []
    for n, flops, tokens in planning.CHINCHILLA_TABLE:
        own_n, own_d = law.optimum(flops)
        shown.append(
            [
                short(n),
                f"{flops:.3g}",
                short(tokens),
                short(planning.TOKENS_PER_PARAMETER * n),
                short(own_n),
                short(own_d),
            ]
        )
    head = ["N", "FLOPs", "tokens (table 3)", "20 N", "law's N", "law's D"]
    yield from rows(paper, head, shown, right=(0, 1, 2, 3, 4, 5))


def llama_case(law: Law) -> str:
    """LLaMA 3 8B, 15 T tokens: the served volume for which that is the cheapest way to its loss."""
    n, d = 8e9, 15e12
    served = planning.served_for(law, n, d)
    loss = float(law.loss(n, d))
    plain = planning.equal_compute(law, loss)
    best = planning.compute_optimal(law, plain)
    return (
        f"LLaMA 3 8B: {d / n:,.0f} tokens per parameter, {d / n / planning.TOKENS_PER_PARAMETER:,.0f} times"
        f" Chinchilla's. By this law the same loss {loss:.4f} comes from {short(best.n)} on {short(best.d)}"
        f" tokens for {best.flops / (FLOPS_PER_TOKEN * n * d):.0%} of the training FLOPs; the smaller model"
        f" is the cheaper one in all once {short(served)} tokens are served."
    )


LAWS = {"epoch": EPOCH, "hoffmann": HOFFMANN}


def _figure(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A ladder's largest size as the others predict it; `without` names sources that have no fit, and why."""

    rows: Sequence[tuple[float, float, Prediction, float]]  # N, D, what is predicted, the loss it had
    without: Mapping[str, str]


def held_back(rows: Rows) -> HeldBack:
    """Fit all sizes of a ladder but the largest, and predict that."""
    largest = rows.n == rows.n.max()
    there, found = rows.only(largest), fit_rows(rows.only(~largest))
    predicted = [
        (float(n), float(d), fit.predict(source, float(n), float(d)), float(loss))
        for source, fit in found.fits.items()
        for n, d, loss in zip(there.n, there.d, there.losses[source], strict=True)
    ]
    return HeldBack(predicted, found.without)


def tell_held_back(path: Path) -> Iterator[str]:
    """Lay the losses of a ladder's largest size beside what the other sizes predict."""
    found = held_back(read_rows(path))
    for n, d, one, loss in found.rows:
        yield (
            f"{one.source}: N {short(n)}, D {short(d)}: predicted {one.loss:.4f} ({one.low:.4f} to"
            f" {one.high:.4f}), measured {loss:.4f}, off by {one.loss / loss - 1:+.2%}"
        )
    yield from tell_without(found.without)
