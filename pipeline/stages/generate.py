"""Synthetic text: a model at a server writes new sources from the documents of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gristmill.errors import RecipeError
from gristmill.facts import StepFacts
from gristmill.pipeline.run.libraries import KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind
from gristmill.pipeline.synthesis.settings import GenerateSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gristmill.pipeline.recipe.making import Making
    from gristmill.pipeline.recipe.model import Recipe

GenerateSection = dict[str, GenerateSettings]


class GenerateSlice(Slice):
    """`wording` are the templates' texts: another wording is another prompt. `dry`: an estimate's sample,
    whose answers are stood in for and cost nothing."""

    source: str
    seeds: tuple[str, ...]
    generate: GenerateSettings
    wording: dict[str, str]
    dry: bool = False
    keep_removed: KeepRemoved

    def foretold(self) -> list[str]:
        settings = self.generate
        where = f" at {settings.server.url}" if settings.server.url else ""
        asks = f"generate/{self.source} asks `{settings.server.model}`{where}"
        if bound := settings.budget.shown():
            return [f"{asks}: at most {bound} are spent"]
        each = f"each answer up to {settings.sampling.max_tokens:,} tokens"
        return [f"{asks}: no budget is set, every prompt is asked, {each}; `--estimate` counts them"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateFacts(StepFacts):
    """Prompts made and the seeds they are of; those of their requests that are distinct; tokens and money
    over all answers used, and the most that could have been spent. In a manifest's timing: requests that the
    attempt which finished it `retried`; over all attempts those sent that did not come back (`lost`), of
    which a server may have charged each, those among them that were answered later (`paid_twice`, perhaps),
    and the most tokens that they can have taken (`lost_tokens`)."""

    seeds: int = 0
    prompts: int = 0
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0
    most_tokens: int = 0
    most_money: float = 0.0
    by_template: dict[str, int] = field(default_factory=dict)


GENERATE = StageKind(
    "generate",
    GenerateSlice,
    "gristmill.pipeline.phases.generate.generate:generate",
    version=2,
    libraries=(*KERNELS, "eldc", "pycld2", "resiliparse"),
    facts=GenerateFacts,
    label="written by a model",
    books="texts",
    entry=True,
    carries={
        "cluster_id": "binary",
        **dict.fromkeys(("seed", "seed_url", "template", "request", "model", "parameters"), "string"),
    },
    report=("gristmill.pipeline.report.sections.generated:generated_section",),
)


def sources_made(settings: Mapping[str, GenerateSettings] | None) -> Iterable[str]:
    return settings or ()


def plan(making: Making, settings: Mapping[str, GenerateSettings] | None) -> None:
    """One step for each source that is written; its documents go on as those of any other source."""
    made = dict(settings or {})
    for source, own in made.items():
        seeds = making.sources(own.seeds or [name for name in making.last if name not in made])
        for name in seeds:
            if name not in making.last:
                known = ", ".join(making.last)
                raise RecipeError(
                    f"`generate.{source}.seeds` names the source `{name}`, the recipe has {known}",
                    where=making.recipe.place_of("generate", source, "seeds"),
                )
        piece = GenerateSlice(
            source=source,
            seeds=seeds,
            generate=own,
            wording=own.texts(),
            dry=bool(making.samples),
            keep_removed=making.recipe.keep_removed,
        )
        making.last[source] = making.add(f"generate/{source}", GENERATE, piece, making.inputs(seeds))


def check(recipe: Recipe) -> None:
    """Raise ValueError where a source that is written has the name of one that is read, or no fit name."""
    for name in recipe.section(GenerateSection) or ():
        if name in recipe.sources:
            raise ValueError(f"`generate` writes the source `{name}`, which `sources` has already")
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"the name of a source may hold letters, digits, - and _, got {name!r}")


SECTIONS = (
    Section(
        "generate",
        GenerateSection,
        plan,
        order=65,
        kinds=(GENERATE,),
        description="sources that a model writes from the documents of others, by name",
        check=check,
        makes=sources_made,
        listed=True,
    ),
)
