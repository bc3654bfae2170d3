"""Filters: documents are measured, removed by rules, and edited; a recut decides anew from signals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gristmill.facts import StepFacts
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.run.libraries import FILTERS, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class FilterSlice(Slice):
    source: str
    filter: FilterSettings
    keep_removed: KeepRemoved


class RecutSlice(Slice):
    """A finished filter step decided anew: the folders of that step and of the one it read."""

    source: str
    folder: str
    documents: str
    before: FilterSettings
    filter: FilterSettings
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class FilterFacts(StepFacts):
    """Rules in the order that decisions number them; how each is judged from signals; and which version of
    the text a block's edits are of."""

    rules: list[str] = field(default_factory=list)
    bounds: list[dict[str, Any]] = field(default_factory=list)
    edit_versions: dict[str, int] = field(default_factory=dict)


FILTER = StageKind(
    "filter",
    FilterSlice,
    "gristmill.pipeline.phases.filter:filter_documents",
    version=5,
    facts=FilterFacts,
    libraries=(*KERNELS, *FILTERS),
    label="filtered",
    books="texts",
    hands="filter",
    follows="gristmill.pipeline.phases.filter:as_they_come",
)
RECUT = StageKind(
    "recut",
    RecutSlice,
    "gristmill.pipeline.phases.recut:recut_documents",
    version=3,
    facts=FilterFacts,
    libraries=(*KERNELS, *FILTERS),
    label="decided anew",
    books="texts",
    entry=True,
)


def plan(making: Making, settings: FilterSettings | None) -> None:
    """Filter every source by the recipe's filters, or by its own; `filter: false` leaves it as it is.

    Filters that an entry of `stages` spells hold for sources with filters of their own, too.
    """
    from gristmill.filters.order import digests_of
    from gristmill.pipeline.stages.extract import check_language

    recipe = making.recipe
    for source in list(making.last):
        said = recipe.sources[source].filter if source in recipe.sources else True
        own = settings if said is True or (said and making.spelled) else said or None
        if own is None:
            continue
        asking = {
            "language": own.language is not None and own.language.detector == "document",
            "by_language": bool(own.by_language),
            "stop_words": own.stop_words is not None,
        }
        for key in (key for key, asks in asking.items() if asks):
            check_language(making, source, "filter", key)
        piece = FilterSlice(source=source, filter=own, keep_removed=recipe.keep_removed)
        digests = digests_of(own, recipe.seed)  # of lists, models and user code
        making.last[source] = making.add(f"filter/{source}", FILTER, piece, (making.last[source],), digests)


SECTIONS = (Section("filter", FilterSettings, plan, order=20, kinds=(FILTER,), listed=True),)
KINDS = (RECUT,)
