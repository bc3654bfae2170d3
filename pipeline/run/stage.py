"""What a stage is declared by: one module of `pipeline/stages/` says all there is to say of a stage.

    # pipeline/stages/coverage.py
    class CoverageSlice(Slice): ...                     # what of the recipe its bytes depend on
    COVERAGE = StageKind("coverage", CoverageSlice, "...phases.coverage:coverage", version=2, label=...)
    def plan(making, settings): making.add(...)         # the steps it makes of a recipe
    SECTIONS = (Section("coverage", CoverageSection, plan, order=60, kinds=(COVERAGE,)),)

Every table of stages is derived from these: recipes and their schema, plans, funnels, `verify`, `why`,
`compare` and the report. Declarations import settings only; the work of a stage, which is heavy to import,
lies in `pipeline/phases/` and is loaded when a step runs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from gristmill.collecting import importing
from gristmill.facts import StepFacts

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making
    from gristmill.pipeline.recipe.model import Recipe
    from gristmill.pipeline.run.job import Job, Stage

KeepRemoved = Literal["text", "signals", "sample"]  # what a removed document keeps of its text


class Slice(BaseModel):
    """The part of a recipe that a step depends on: what is not in it cannot make the step stale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def foretold(self) -> list[str]:
        """What is said of a step before it is run, by `plan`: such as what it will spend."""
        return []


@dataclass(frozen=True, slots=True)
class StageKind:
    """A kind of step, declared once.

    `work` is the generator of its phases, as module:function. `version` is raised whenever the same input
    would give other bytes; a golden test holds it to that. `libraries` are the distributions that shape the
    bytes. `facts` is what a step states of itself beside its files. `label` names what the stage leaves in a
    funnel. `books` says what its records count: texts of documents, tokens, or nothing. Documents enter a run
    at an `entry`. `report` names the sections of the page that show it, as module:function over a RunView.
    `carries` are the columns that it adds to documents, by type.

    `hands` is the phase whose tasks can hand the documents that they keep on to the next step instead of
    writing them. `follows` makes of a job what works on documents as they come (`run.onward.RowWise`), as
    module:function; `follows_if` says for which settings.
    """

    name: str
    slice: type[Slice]
    work: str
    version: int
    libraries: tuple[str, ...] = ()
    facts: type[StepFacts] = StepFacts
    label: str = ""
    books: Literal["texts", "tokens", ""] = ""
    entry: bool = False
    report: tuple[str, ...] = ()
    carries: Mapping[str, str] = field(default_factory=dict)
    hands: str = ""
    follows: str = ""
    follows_if: Callable[[Any], bool] = lambda _: True

    def load(self) -> Callable[[Job[Any]], Stage]:
        """Import the generator of the stage's phases."""
        function: Callable[[Job[Any]], Stage] = resolve(self.work)
        return function


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A section of the recipe: its model, and the steps it makes of a recipe, in the order of sections.

    `sources` are the keys below it that name sources. `plan` gets the section's settings, None where a recipe
    has none and there is no default. `check` raises ValueError for a recipe in which the section lacks
    another. A section without a model has no key of its own: it adds steps that follow from other sections.
    `listed`: it takes documents and leaves documents, so that a recipe's `stages` may list it in another
    place, or twice. `makes` names the sources that its settings add to the recipe's.
    """

    name: str
    model: Any
    plan: Callable[[Making, Any], None]
    order: int
    kinds: tuple[StageKind, ...]
    default: Any = None
    sources: tuple[str, ...] = ()
    description: str | None = None
    check: Callable[[Recipe], None] | None = None
    listed: bool = False
    makes: Callable[[Any], Iterable[str]] | None = None


@dataclass(frozen=True, slots=True)
class _Declared:
    """All sections in their order, and all kinds of steps in the order of the sections that make them."""

    sections: tuple[Section, ...] = ()
    kinds: Mapping[str, StageKind] = field(default_factory=dict)

    def plus(self, sections: Sequence[Section], kinds: Sequence[StageKind]) -> _Declared:
        """The table with more; raises ValueError for a stage that is declared twice."""
        ordered = sorted((*self.sections, *sections), key=lambda section: section.order)
        listed = [kind for section in ordered for kind in section.kinds]
        others = [kind for kind in self.kinds.values() if kind not in listed]
        named: dict[str, StageKind] = {}
        for kind in (*listed, *others, *kinds):
            if kind.name in named:
                raise ValueError(f"the stage `{kind.name}` is declared twice")
            named[kind.name] = kind
        return _Declared(tuple(ordered), named)


@cache
def _shipped() -> _Declared:
    """Read every module of pipeline/stages: its `SECTIONS`, and the `KINDS` that no section makes."""
    table = _Declared()
    folder = Path(__file__).resolve().parent.parent / "stages"
    for name in sorted(module.name for module in pkgutil.iter_modules([str(folder)])):
        module = importlib.import_module(f"gristmill.pipeline.stages.{name}")
        table = table.plus(module.SECTIONS, getattr(module, "KINDS", ()))
    return table


_added: list[_Declared] = []  # the innermost `declared` block last


def _table() -> _Declared:
    return _added[-1] if _added else _shipped()


def sections() -> tuple[Section, ...]:
    """Every section of a recipe that makes steps, in the order they are made."""
    return _table().sections


def kinds() -> Mapping[str, StageKind]:
    """Every kind of step by name, in the order of sections."""
    return _table().kinds


def is_entry(name: str) -> bool:
    """Whether documents enter a run at a stage."""
    kind = kinds().get(name)
    return bool(kind and kind.entry)


def stage_of(step: str) -> str:
    """The stage of a step by the step's name: `dedup-fuzzy-2` is the second `dedup-fuzzy` of a recipe."""
    head = step.partition("/")[0]
    plain, dash, number = head.rpartition("-")
    return plain if dash and number.isdigit() and head not in kinds() else head


def label_of(name: str) -> str:
    """What a funnel calls a stage; its own name where it has no label or is of another version."""
    kind = kinds().get(name)
    return kind.label if kind and kind.label else name


@contextmanager
def declared(sections: Sequence[Section] = (), kinds: Sequence[StageKind] = ()) -> Iterator[None]:
    """Know more stages, as one more module of pipeline/stages would declare them, while the block runs."""
    _added.append(_table().plus(sections, kinds))
    try:
        yield
    finally:
        _added.pop()


def resolve(name: str) -> Any:
    """Import what `module:function` names."""
    module, _, attribute = name.partition(":")
    with importing():
        loaded = importlib.import_module(module)  # waits for another thread that imports it
    return getattr(loaded, attribute)
