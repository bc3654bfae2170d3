"""Coverage: tables of domains, years, languages and lengths, and selection by age and domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from gristmill.classifiers.settings import CoverageSettings
from gristmill.facts import StepFacts
from gristmill.pipeline.run.libraries import KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class CoverageSection(CoverageSettings):
    """Selection by age and domain, and tables of domains, years, languages and lengths, for some sources or
    all."""

    apply_to: tuple[str, ...] = Field((), description="all sources when unset")


class CoverageSlice(Slice):
    source: str
    coverage: CoverageSettings
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class CoverageFacts(StepFacts):
    """Documents of the source, its domains, and the documents that have one."""

    documents: int = 0
    num_domains: int = 0
    with_domain: int = 0


COVERAGE = StageKind(
    "coverage",
    CoverageSlice,
    "gristmill.pipeline.phases.coverage:coverage",
    version=2,
    facts=CoverageFacts,
    libraries=KERNELS,
    label="coverage",
    books="texts",
)


def plan(making: Making, settings: CoverageSection | None) -> None:
    """One step a source; a selection by age or domain makes its documents the source's."""
    if settings is None:
        return
    selection = CoverageSettings(**{name: getattr(settings, name) for name in CoverageSettings.model_fields})
    for source in making.sources(settings.apply_to or making.last):
        piece = CoverageSlice(source=source, coverage=selection, keep_removed=making.recipe.keep_removed)
        step = making.add(f"coverage/{source}", COVERAGE, piece, (making.last[source],))
        if selection.selects:
            making.last[source] = step


SECTIONS = (
    Section(
        "coverage",
        CoverageSection,
        plan,
        order=60,
        kinds=(COVERAGE,),
        sources=("apply_to",),
        listed=True,
    ),
)
