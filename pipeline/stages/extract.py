"""Documents enter: extracted from a source's inputs, or adopted from an output that gristmill wrote."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gristmill.errors import InputError, RecipeError, UsageError
from gristmill.facts import StepFacts
from gristmill.hashing import sha256_json
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.run.libraries import COLUMNS, EXTRACTION, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.pipeline.stages.rights import RightsSection, statements_for

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making
    from gristmill.pipeline.recipe.model import RecipeSource
    from gristmill.pipeline.run.records.final import SourceFiles


class ExtractSlice(Slice):
    """`only` names for each task the shards it reads: a preflight's sample."""

    source: str
    inputs: SourceSettings
    extract: ExtractSettings
    shard_bytes: int
    only: tuple[tuple[int, ...], ...] | None = None
    keep_removed: KeepRemoved


class AdoptSlice(Slice):
    """Documents that gristmill wrote before: taken as they are, with their ids and origins."""

    source: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractFacts(StepFacts):
    """`read` counts what was read otherwise than it lies there, by name; `notes` says it, with what several
    shards show together."""

    read: dict[str, int] | None = None


EXTRACT = StageKind(
    "extract",
    ExtractSlice,
    "gristmill.pipeline.phases.extract:extract",
    version=19,
    libraries=(*KERNELS, *EXTRACTION),
    label="extracted",
    books="texts",
    entry=True,
    hands="extract",
    report=("gristmill.pipeline.report.sections.reading:reading_section",),
)
ADOPT = StageKind(
    "adopt",
    AdoptSlice,
    "gristmill.pipeline.phases.adopt:adopt",
    version=3,
    libraries=COLUMNS,
    label="taken in",
    books="texts",
    entry=True,
    hands="adopt",
)


def plan(making: Making, settings: ExtractSettings) -> None:
    """Extract every source; one that is an output folder is adopted, source by source."""
    from gristmill.pipeline.phases.adopt import adoptable

    recipe = making.recipe
    for name, source in recipe.sources.items():
        folders = recipe.outputs(source)
        if not folders:
            making.last[name] = _extract_source(making, name, source, settings)
            continue
        if len(source.inputs) > 1:
            raise UsageError(
                f"the source `{name}` mixes an output folder of gristmill with other inputs",
                hint="make it a source of its own",
            )
        parts = adoptable(folders[0], partial=source.partial)
        making.adopted[name] = tuple(part.source for part in parts)
        for whole in parts:
            part = _sampled(making, whole)
            digest = sha256_json([entry.sha256 for _, entry in part.files])
            adopted = AdoptSlice(source=part.source, folder=folders[0])
            making.last[part.source] = making.add(
                f"adopt/{part.source}", ADOPT, adopted, external={"documents": digest}, part=part
            )
    _check_named_sources(making)


def check_language(making: Making, source: str, *location: str) -> None:
    """Refuse what the recipe asks at a location of a source's documents where these will have no language."""
    recipe = making.recipe
    asked = recipe.section(ExtractSettings) or ExtractSettings()
    said = recipe.sources.get(source)
    if asked.language == "detect" or said is None or said.columns.language or recipe.outputs(said):
        return
    raise RecipeError(
        f"`{'.'.join(location)}` goes by languages, and with `extract.language: off` documents of `{source}`"
        " have none",
        where=recipe.place_of(*location),
        hint=f"leave `extract.language` out, or name the column: `sources.{source}.columns.language`",
    )


def _sampled(making: Making, part: SourceFiles) -> SourceFiles:
    """The files of an adopted source, or those that a preflight reads."""
    sample = making.samples.get(part.source)
    if sample is None:
        return part
    numbers = [number for task in sample.tasks for number in task]
    return replace(part, files=tuple(part.files[number] for number in numbers))


def _check_named_sources(making: Making) -> None:
    from gristmill.pipeline.recipe.model import UnknownSource

    made = making.recipe.made_sources()
    for location, name in making.recipe.named_sources():
        if name in made:
            _check_made_before(making, location, name, made[name])
        elif name not in making.last and (name not in making.adopted or location[0] == "mix"):
            adopted = name in making.adopted
            hint = f"`{name}` is an output folder with several sources" if adopted else None
            raise RecipeError(str(UnknownSource(location, name, making.last)), hint=hint)


def _check_made_before(making: Making, location: tuple[str, ...], name: str, maker: Section) -> None:
    from gristmill.pipeline.recipe.turns import turns_of

    order = [turn.section.name for turn in turns_of(making.recipe)]
    asks = location[0] if location[0] in order else location[1]
    if order.index(maker.name) > order.index(asks):
        raise RecipeError(
            f"`{'.'.join(location)}` names the source `{name}`, which `{maker.name}` makes later",
            where=making.recipe.place_of(*location),
            hint=f"list the stages in another order: `stages: [..., {maker.name}, {asks}]`",
        )


def _extract_source(making: Making, name: str, source: RecipeSource, settings: ExtractSettings) -> str:
    from gristmill.pipeline.run.engine import inside_job
    from gristmill.pipeline.sources.plan import list_inputs

    recipe = making.recipe
    inputs = source.reading()
    asked = statements_for(recipe.section(RightsSection), name, tuple(inputs.passthrough))
    if asked:
        inputs = inputs.model_copy(
            update={"passthrough": {**inputs.passthrough, **dict.fromkeys(asked, "string")}}
        )
    relative = [path for path in inputs.inputs if not path.startswith("/") and "://" not in path]
    if relative and inside_job():
        raise UsageError(
            f"the input `{relative[0]}` of `{name}` is relative, in a job it must be absolute or a URL",
            hint="a job's working folder is a copy without your data",
        )
    try:
        files = list_inputs(inputs)
    except (UsageError, InputError) as error:
        if (place := recipe.place_of("sources", name, "inputs")) is None:
            raise
        message = f"`sources.{name}.inputs`: {error.message}: `{error.where}`"
        raise type(error)(message, where=place, hint=error.hint) from error
    listing = [[file.shown, file.size, file.version] for file in files]
    shard_bytes, only = making.samples.get(name, (recipe.shard_bytes, None))
    piece = ExtractSlice(
        source=name,
        inputs=inputs,
        extract=settings,
        shard_bytes=shard_bytes,
        only=only,
        keep_removed=recipe.keep_removed,
    )
    return making.add(
        f"extract/{name}", EXTRACT, piece, external={"inputs": sha256_json(listing)}, files=files
    )


SECTIONS = (
    Section("extract", ExtractSettings, plan, order=10, kinds=(EXTRACT, ADOPT), default=ExtractSettings()),
)
