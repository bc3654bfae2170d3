"""What a preset is: a named set of rules with one way to measure them, its constants' sources and bins."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.filters.block import Block, Measurement
from gristmill.filters.files import digest_of
from gristmill.filters.published import distribution
from gristmill.filters.rules import Bound, Rule

UNIT = tuple(number / 20 for number in range(21))
COUNTS = (
    0.0,
    1,
    2,
    3,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    1_000_000,
)
LENGTHS = tuple(float(number) for number in range(16))


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of rules with one way to measure them.

    `measured_by` names the measurement as `module:NAME`: it is loaded with its kernels when texts are
    measured, so that whoever plans or checks bounds waits for none.
    """

    name: str
    measured_by: str
    rules: tuple[Rule, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lists: tuple[str, ...] = ()  # those of its parameters that are paths
    distributions: tuple[str, ...] = ()  # those of its lists that importance weights are told by
    # Signals that are measured where parameters name what they need: signal to parameters.
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def measurement(self) -> Measurement:
        module, _, name = self.measured_by.partition(":")
        found: Measurement = getattr(importlib.import_module(f"gristmill.filters.published.{module}"), name)
        return found

    def digests(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Digest the files that changed parameters name; raises InputError for one that cannot be read, and
        for distributions that are none."""
        values = {**self.parameters, **parameters}
        named = {name: str(values[name]) for name in self.lists if values[name]}
        counted = {name: place for name, place in named.items() if name in self.distributions}
        if distribution.SOURCE in counted:
            distribution.open_distributions(counted)
        return {
            name: digest_of(distribution.files_of(place) if name in counted else _files(place))
            for name, place in named.items()
        }

    def unmeasured(self, parameters: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Signals that are left out, and the parameters that they lack."""
        values = {**self.parameters, **parameters}
        lacking = {
            signal: tuple(name for name in needed if not values[name])
            for signal, needed in self.needs.items()
        }
        return {signal: names for signal, names in lacking.items() if names}

    def block(self, bounds: Mapping[str, Bound | None], parameters: Mapping[str, Any]) -> Block:
        """Build the block with changed bounds and parameters; a rule whose bound is None is off."""
        measurement = self.measurement
        values = {**self.parameters, **parameters}
        rules, without = [], self.unmeasured(parameters)
        for rule in self.rules:
            bound = bounds.get(rule.name, rule.bound)
            if bound is not None and rule.signal not in without:
                rules.append(Rule(rule.name, rule.signal, rule.per, bound, rule.source, rule.bins))
        languages = values.pop("languages", None)
        values["page_chars_bound"] = any(
            rule.name.endswith(".page_chars") and rule.bound.max is not None for rule in rules
        )
        return Block(
            self.name,
            {
                name: pa.float64() if name in measurement.floats else pa.int64()
                for name in measurement.signals
                if name not in without
            },
            tuple(rules),
            lambda batch: measurement.measure(batch, values),
            tuple(f"{self.name}.{edit}" for edit in measurement.edits),
            tuple(languages) if languages is not None else None,
            self.digests(parameters),
        )


def _files(path: str) -> list[str]:
    """A path, or the files of a folder: a model may be several."""
    folder = Path(path)
    if not folder.is_dir():
        return [path]
    return [str(file) for file in sorted(folder.iterdir()) if file.is_file()]


def rules_of(
    preset: str, source: str, *rows: tuple[str, str, str | None, Bound, tuple[float, ...]]
) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"{preset}.{name}", signal, per, bound, source, bins) for name, signal, per, bound, bins in rows
    )
