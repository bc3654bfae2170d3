"""From scores to a verdict: for each target every variant against the recipe, and what proxies are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gristmill.pipeline.proof.ablation import Outcome
from gristmill.pipeline.proof.comparing import (
    Agreement,
    Difference,
    Noise,
    Scores,
    agreement,
    difference,
    interval_of_mean,
    seed_noise,
)
from gristmill.pipeline.proof.scoring import PROXIES

MEASURES = ("trained", *PROXIES)


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant on one target: bits per byte by seed with an interval, and the difference to the recipe."""

    bits_per_byte: float
    per_seed: tuple[float, ...]
    low: float
    high: float
    difference: Difference | None  # None: it is the recipe


@dataclass(frozen=True, slots=True)
class Table:
    """What one measure says of all targets: cells by target and variant, noise and documents by target."""

    cells: Mapping[str, Mapping[str, Cell]]
    noise: Mapping[str, Noise]
    documents: Mapping[str, int]

    def ranking(self) -> list[str]:
        """Variants by their mean over targets, best first."""
        names = list(next(iter(self.cells.values())))
        means = {
            name: np.mean([cells[name].bits_per_byte for cells in self.cells.values()]) for name in names
        }
        return sorted(names, key=lambda name: (float(means[name]), names.index(name)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """All tables by measure, the agreement of proxies with trained models, and left-out texts."""

    tables: Mapping[str, Table]
    agreements: Mapping[str, Mapping[str, Agreement]]  # by proxy and target
    leaked: int

    @property
    def main(self) -> str:
        """The measure that is most to be trusted of those there are."""
        return next(name for name in MEASURES if name in self.tables)


def decide(outcome: Outcome) -> Verdict:
    """Compare every variant with the first, over the texts that all variants were scored on."""
    names = [one.variant.name for one in outcome.prepared]
    tables = {
        measure: _table(outcome.judged[measure], names, outcome.leaked)
        for measure in MEASURES
        if measure in outcome.judged
    }
    tables = {measure: table for measure, table in tables.items() if table.cells}
    agreements = {
        proxy: found
        for proxy in MEASURES[1:]
        if "trained" in tables
        and proxy in tables
        and (found := _agreements(tables[proxy], tables["trained"]))
    }
    return Verdict(tables, agreements, len(outcome.leaked))


def _table(
    judged: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], names: Sequence[str], leaked: set[str]
) -> Table:
    targets = list(dict.fromkeys(row["target"] for rows in judged[names[0]] for row in rows))
    cells, noises, documents = {}, {}, {}
    for target in targets:
        scores = _scores(judged, names, target, leaked)
        if scores is None:
            continue
        noise = seed_noise(scores)
        reference = scores[names[0]]
        cells[target] = {
            name: _cell(one, None if name == names[0] else reference, noise, len(names) - 1)
            for name, one in scores.items()
        }
        noises[target], documents[target] = noise, len(reference.bytes)
    return Table(cells, noises, documents)


def _cell(scores: Scores, reference: Scores | None, noise: Noise, comparisons: int) -> Cell:
    low, high = interval_of_mean(scores, noise)
    against = difference(scores, reference, noise, comparisons=comparisons) if reference else None
    return Cell(scores.mean, tuple(scores.per_seed.tolist()), low, high, against)


def _scores(
    judged: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    names: Sequence[str],
    target: str,
    leaked: set[str],
) -> dict[str, Scores] | None:
    """Each variant's scores on the texts that all have, in one order; None where there are too few."""
    rows = {
        name: [next((row for row in seed if row["target"] == target), None) for seed in judged[name]]
        for name in names
    }
    if any(row is None for own in rows.values() for row in own):
        return None
    common = set.intersection(*(set(row["keys"]) for own in rows.values() for row in own if row)) - leaked
    if len(common) < 2:
        return None
    order = sorted(common)
    found = {}
    for name, own in rows.items():
        bits = []
        for row in own:
            assert row is not None
            at = {key: place for place, key in enumerate(row["keys"])}
            bits.append([row["bits"][at[key]] for key in order])
            lengths = [row["bytes"][at[key]] for key in order]
        found[name] = Scores(np.array(bits, np.float64), np.array(lengths, np.float64))
    return found


def _agreements(proxy: Table, trained: Table) -> dict[str, Agreement]:
    found = {}
    for target, cells in trained.cells.items():
        if target not in proxy.cells:
            continue
        names = list(cells)
        one = np.array([proxy.cells[target][name].bits_per_byte for name in names])
        other = np.array([cells[name].bits_per_byte for name in names])
        if (measured := agreement(one, other)) is not None:
            found[target] = measured
    return found


def as_json(verdict: Verdict, outcome: Outcome) -> dict[str, Any]:
    """What `ablation.json` holds and `--json` prints."""
    return {
        "format": 1,
        "reference": outcome.prepared[0].variant.name,
        "tokens": outcome.tokens,
        "parameters": outcome.parameters,
        "leaked_texts": verdict.leaked,
        "variants": [
            {
                "name": one.variant.name,
                "changes": one.variant.changes,
                "tokens": one.tokens,
                "epochs": round(one.epochs, 4),
                "mix": one.mix.folder.name,
            }
            for one in outcome.prepared
        ],
        "measures": {
            measure: {
                "ranking": table.ranking(),
                "targets": {
                    target: {
                        "documents": table.documents[target],
                        "seed_noise": asdict(table.noise[target]),
                        "variants": {name: asdict(cell) for name, cell in cells.items()},
                    }
                    for target, cells in table.cells.items()
                },
            }
            for measure, table in verdict.tables.items()
        },
        "agreement_with_trained": {
            proxy: {target: asdict(one) for target, one in found.items()}
            for proxy, found in verdict.agreements.items()
        },
    }
