"""The steps that a recipe makes, as its sections add them one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from gristmill.document import FIELDS
from gristmill.errors import RecipeError
from gristmill.heldout import UNIT_COLUMN
from gristmill.pins import collect_pins
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.stage import Slice, StageKind, sections
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.sources.settings import stored_name
from gristmill.tokenize.settings import MixSettings


class PreflightSample(NamedTuple):
    """For a preflight: the size of a source's ranges, and for each task the numbers of those it reads."""

    range_bytes: int
    tasks: tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Making:
    """Steps so far, and for each source the step that last wrote its documents.

    `adopted` holds the sources within an output folder that a recipe names as one source. `spelled`: the
    settings at hand are those of an entry of the recipe's `stages`, not those of a section.
    """

    recipe: Recipe
    samples: Mapping[str, PreflightSample]
    steps: list[Step] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    adopted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spelled: bool = False

    def add(
        self,
        name: str,
        kind: StageKind,
        slice_: Slice,
        inputs: tuple[str, ...] = (),
        external: dict[str, str] | None = None,
        keeps: tuple[str, ...] = (),
        **carried: Any,
    ) -> str:
        """Add a step that reads the steps `inputs`; `external` digests what lies outside the recipe.

        `keeps`: an earlier result stays while these settings are the same. `carried` are the listings
        themselves, so that what is read is what was planned. Returns the step's name: `filter-2/web` where
        there is a `filter/web`.
        """
        name = self._free(name)
        holders = {source: step for source, step in self.last.items() if step in inputs}
        pins = collect_pins()  # of the files that were digested for this step
        self.steps.append(Step(name, kind, slice_, inputs, external or {}, holders, pins, carried, keeps))
        return name

    def _free(self, name: str) -> str:
        head, slash, source = name.partition("/")
        taken = {step.name for step in self.steps}
        names = (f"{head}{f'-{number}' if number > 1 else ''}{slash}{source}" for number in count(1))
        return next(free for free in names if free not in taken)

    def sources(self, names: Iterable[str]) -> tuple[str, ...]:
        """Sources as a recipe names them: one that is an output folder stands for the sources in it."""
        return tuple(dict.fromkeys(part for name in names for part in self.adopted.get(name, (name,))))

    def inputs(self, sources: Iterable[str]) -> tuple[str, ...]:
        """The steps that hold these sources' documents, each once."""
        return tuple(dict.fromkeys(self.last[source] for source in sources))

    def columns(self, source: str, *, numbers: bool = False) -> tuple[str, ...] | None:
        """The columns that a source's documents carry after the steps so far; `numbers`: those that can weigh
        a document.

        None where another run wrote the documents: what those carry their files say.
        """
        if source not in self.recipe.sources and source not in self.recipe.made_sources():
            return None
        made: dict[str, str] = {}
        by_name, at = {step.name: step for step in self.steps}, self.last.get(source)
        while at:
            if by_name[at].kind.name == "adopt":
                return None
            made = {**by_name[at].kind.carries, **made}
            at = by_name[at].holders.get(source)
        own = self.recipe.sources.get(source)
        passed = own.passthrough if own else {}
        further = {**{stored_name(name): kind for name, kind in passed.items()}, **made}
        if numbers:
            return tuple(name for name, kind in further.items() if kind in ("int64", "float64"))
        return (*(field.name for field in FIELDS), *further)

    def check_column(
        self, column: str, sources: Iterable[str], key: tuple[str, ...], *, numbers: bool = False
    ) -> None:
        """Raise RecipeError for a column that a key names and that the documents of a source lack."""
        for source in sources:
            there = self.columns(source, numbers=numbers)
            if there is None or column in there:
                continue
            what = "number" if numbers else "column"
            given = [
                section.name
                for section in sections()
                if section.model and any(column in kind.carries for kind in section.kinds)
            ]
            passed = f"sources.{source}.passthrough: {{{column}: {'float64' if numbers else 'string'}}}"
            raise RecipeError(
                f"`{'.'.join(key)}` names the {what} `{column}`, the documents of `{source}` will carry"
                f" {', '.join(there) or f'no {what}'}",
                where=self.recipe.place_of(*key),
                hint=(f"documents get it by a section `{given[0]}` that stands before; " if given else "")
                + f"of rows it comes along with `{passed}`",
            )

    def check_passed(self) -> None:
        """Raise RecipeError for a pass-through column that has the name of one that a step of its source
        makes: it would be lost for the step's, or be of another type than the step writes."""
        by_name = {step.name: step for step in self.steps}
        for source, own in self.recipe.sources.items():
            passed = {stored_name(name): name for name in own.passthrough}
            held: list[str] = []
            at = self.last.get(source)
            while at:
                held, at = [*held, at], by_name[at].holders.get(source)
            makers = {column: name for name in held for column in by_name[name].kind.carries}
            if (encoding := f"encode/{source}") in by_name:
                makers |= {UNIT_COLUMN: encoding}  # what is held out as one goes by it
            for column in sorted({*passed} & {*makers}):
                raise RecipeError(
                    f"`passthrough` of `{source}` names `{passed[column]}`, and the step `{makers[column]}`"
                    f" has a column `{column}` of its own",
                    where=self.recipe.place_of("sources", source, "passthrough"),
                    hint="leave it out, and the step's stands there; to keep both, give that of the rows"
                    " another name",
                )

    @property
    def mixed_sources(self) -> tuple[str, ...]:
        """The sources that the mixture is of: those with a proportion, else all."""
        mix = self.recipe.section(MixSettings)
        return tuple(mix.proportions) if mix and mix.proportions else tuple(self.last)

    @property
    def heldout_fraction(self) -> float:
        """The share of documents that nothing is trained on."""
        mix = self.recipe.section(MixSettings)
        return mix.heldout_fraction if mix else 0.0
