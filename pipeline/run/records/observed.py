"""What a task's record says of its documents for reports: the forms that writers and readers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gristmill.facts import Facts

SAMPLES = 8  # texts kept per outlet or rule, those with the smallest hash of their id
TOP_DOMAINS = 300


@dataclass(frozen=True, slots=True)
class Tallies(Facts):
    """Counts of a task's documents by outlet and what is counted (language, year, source, domain, error)."""

    tallies: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown(Facts):
    """What of a task's clusters, and of its pairs by their outcome, the page shows, chosen by hash; ids of
    bounded documents."""

    clusters: list[dict[str, Any]] | None = None
    pairs: dict[str, list[dict[str, Any]]] | None = None
    bounded: list[str] | None = None
