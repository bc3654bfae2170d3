"""A recipe: one YAML file, one frozen model, each section owned by the part that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from gristmill.files.location import default_storage
from gristmill.files.remote import Access
from gristmill.files.remote_store import StorageSettings
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.recipe.about import About, beside
from gristmill.pipeline.recipe.turns import check_stages, listed_turns
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import KeepRemoved, Section, sections
from gristmill.pipeline.sources.settings import SourceSettings

Settings = TypeVar("Settings")


class UnknownSource(ValueError):
    """A section names a source that there is none of; `location` is the place in the recipe."""

    def __init__(self, location: tuple[str, ...], name: str, known: Iterable[str]) -> None:
        self.location = (*location, name)
        super().__init__(
            f"`{'.'.join(location)}` names the source `{name}`, the recipe has {', '.join(known)}"
        )


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecipeSource(SourceSettings):
    """A source, and which of the recipe's text stages it passes through."""

    filter: bool | FilterSettings = Field(
        True, description="true: the recipe's filters; false: none; or filters of its own"
    )
    dedup: bool = Field(True, description="whether its documents are compared with others and can be removed")
    licence: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.+-]*$",
        description=(
            "of the whole source, as SPDX or the Hub spells it (cc-by-sa-4.0): what holds for documents whose"
            " pages name none (see `rights`), and stands in the data card"
        ),
    )
    partial: bool = Field(
        False,
        description="take an output folder of gristmill as it is, though steps or shards of it are missing",
    )

    def reading(self) -> SourceSettings:
        """What reading depends on: the source without the choice of stages it passes through."""
        return SourceSettings(**{field: getattr(self, field) for field in SourceSettings.model_fields})


class OutputSettings(_Section):
    """How an output on remote storage is reached; nothing here touches its bytes."""

    storage_options: dict[str, Any] = Field(
        default={}, repr=False, description="for fsspec; never shown or stored"
    )
    cache: str | None = Field(
        None,
        description=(
            "a folder of each machine for files on their way; GRISTMILL_CACHE, else one below the temporary"
            " folder"
        ),
    )
    cache_bytes: int = Field(10 << 30, ge=0, description="how much of what was read or written is kept there")
    request_seconds: float = Field(60.0, gt=0, description="deadline of one request (16 MiB at most)")
    request_attempts: int = Field(8, ge=1, description="attempts at one request, over about a minute")

    @field_serializer("storage_options")
    def _redacted(self, value: dict[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(sorted(value), "***")

    def settings(self) -> StorageSettings:
        """What the stores are told; options given on the command line hold where the recipe says nothing."""
        options = {**default_storage().access.options, **self.storage_options}
        return StorageSettings(
            Access(options, self.request_attempts, self.request_seconds), self.cache, self.cache_bytes
        )


_STAGES = (
    "the stages between extraction and tokenizer in an order of the recipe's own: names of sections"
    " (`filter`) or parts of one (`dedup.fuzzy`), or a section with settings of its own (`filter: {presets:"
    " [fineweb]}`), as often as wanted; the usual order when unset"
)


class StageEntry(_Section):
    """One of `stages`: a section with settings of its own."""

    @model_validator(mode="after")
    def _is_one_section(self) -> Self:
        named = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(named) != 1 or len(self.model_fields_set) != 1:
            raise ValueError("an entry of `stages` is a name, or one section with its settings")
        return self


class Limits(_Section):
    """How much may be lost before a run counts as failed or as done with losses."""

    failed_fraction: float = Field(
        0.05, ge=0, le=1, description="records that failed, of all read: more means exit code 3"
    )
    quarantined_shards: int = Field(
        0, ge=0, description="shards that may fail on every attempt before a step fails"
    )


def _below(folder: Path, key: str, value: Any) -> Any:
    """A source's setting with its relative paths below a folder: its inputs, and a layout in a file."""
    if key == "inputs" and isinstance(value, list):
        return [_below(folder, key, path) for path in value]
    is_path = key == "inputs" or (key == "columns" and str(value).endswith((".yaml", ".yml")))
    if not is_path or not isinstance(value, str) or "://" in value:
        return value
    mark = "@" if key == "inputs" and value.startswith("@") else ""
    return mark + os.path.join(folder, value.removeprefix(mark)) if folder != Path() else value  # noqa: PTH118


def _archives_below(data: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A recipe's data with the relative archives of `rights` below the recipe's folder, as inputs are."""
    rights = data.get("rights")
    archives = rights.get("archives") if isinstance(rights, Mapping) else None
    if not isinstance(archives, Mapping) or not isinstance(rights, Mapping):
        return data
    moved = {key: _below(folder, key, value) for key, value in archives.items()}
    return {**data, "rights": {**rights, "archives": moved}}


class Recipe(_Section):
    """Everything that decides what a run makes.

    The sections that make steps are declared by `pipeline/stages/`; `recipe_model()` has a field for each.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the output folder")
    seed: int = Field(1, ge=0, lt=1 << 63, description="of every draw")
    sources: dict[str, RecipeSource] = Field(min_length=1)
    shard_bytes: int = Field(32 << 20, ge=1, description="stored input bytes per task: 10 to 60 s of work")
    keep_removed: KeepRemoved = Field(
        "text", description="what removed documents keep: text, signals (no text), sample (text of 1 %)"
    )
    keep: Literal["steps", "ends"] = Field(
        "steps",
        description=(
            "whose documents are written: of all steps, or only where a chain of steps over the same shards"
            " ends (extract, filter, score), which then is worked in one task (docs/contract.md)"
        ),
    )
    stages: tuple[Any, ...] = ()
    about: About | None = Field(None, description="whose corpus it makes, and what it needs")
    engine: EngineSettings = EngineSettings()
    output: OutputSettings = OutputSettings()
    limits: Limits = Limits()

    _place: Callable[[tuple[str | int, ...]], str | None] | None = PrivateAttr(default=None)

    @classmethod
    def relative_to(cls, data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return a recipe's plain data with the relative inputs of its sources below the recipe's folder."""
        data = _archives_below(data, folder)
        sources = data.get("sources")
        if not isinstance(sources, Mapping):
            return beside(data, folder)
        moved = {
            name: {key: _below(folder, key, value) for key, value in source.items()}
            if isinstance(source, Mapping)
            else source
            for name, source in sources.items()
        }
        return beside({**data, "sources": moved}, folder)

    def remember_place(self, place: Callable[[tuple[str | int, ...]], str | None]) -> None:
        """Keep how a location is found in the recipe's file: errors of later steps name its line."""
        self._place = place

    def place_of(self, *location: str | int) -> str | None:
        """Return `recipe.yaml:7` for a location, None for a recipe that is no file."""
        return self._place(location) if self._place else None

    @field_validator("sources")
    @classmethod
    def _names_of_sources(cls, sources: dict[str, RecipeSource]) -> dict[str, RecipeSource]:
        for name in sources:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"the name of a source may hold letters, digits, - and _, got {name!r}")
        return sources

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Self:
        check_stages(self)
        for location, name in self.named_sources():
            known = (*self.sources, *self.made_sources())
            if name not in known and not any(self.outputs(source) for source in self.sources.values()):
                raise UnknownSource(location, name, known)
        for section in sections():
            if section.check:
                section.check(self)
        return self

    def section(self, model: type[Settings]) -> Settings | None:
        """The settings of the section that has this model, else those that `stages` first spells, None where
        the recipe has none."""
        (name,) = (section.name for section in sections() if section.model is model)
        settings: Settings | None = getattr(self, name, None)
        spelled = (turn.settings for turn in listed_turns(self) if turn.section.name == name and turn.spelled)
        return settings if settings is not None else next(spelled, None)

    def made_sources(self) -> dict[str, Section]:
        """The sources that sections add to those that are read, each with its section."""
        made: dict[str, Section] = {}
        for section in sections():
            if section.makes:
                settings = [getattr(self, section.name, None)]
                settings += [turn.settings for turn in listed_turns(self) if turn.section is section]
                made.update((name, section) for own in settings for name in section.makes(own))
        return made

    def named_sources(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield every source that a section names, with the section and key that do."""
        said: list[tuple[tuple[str, ...], Section, Any]] = [
            ((section.name,), section, getattr(self, section.name, None)) for section in sections()
        ]
        said += [
            (("stages", turn.section.name), turn.section, turn.settings)
            for turn in listed_turns(self)
            if turn.spelled
        ]
        for where, section, settings in said:
            for key in section.sources if settings else ():
                named = getattr(settings, key)
                for name in named if isinstance(named, tuple | dict) else ():
                    yield (*where, key), name

    @staticmethod
    def outputs(source: RecipeSource) -> list[str]:
        """Those of a source's inputs that are folders written by gristmill, whose sources go by their own
        names."""
        from gristmill.pipeline.phases.adopt import is_output

        return [path for path in source.inputs if is_output(path, source.access())]


def recipe_model() -> type[Recipe]:
    """Return the model of a whole recipe: a field for every declared section besides the ones above."""
    return _with_sections(sections())


@cache
def _with_sections(declared: tuple[Section, ...]) -> type[Recipe]:
    fields: dict[str, Any] = {}
    for section in declared:
        if section.model is not None:
            model = section.model if section.default is not None else section.model | None
            fields[section.name] = (model, Field(section.default, description=section.description))
    listed: dict[str, Any] = {
        section.name: (section.model | None, Field(None, description=f"as `{section.name}`"))
        for section in declared
        if section.listed
    }
    entry = create_model("StageEntry", __base__=StageEntry, __doc__=StageEntry.__doc__, **listed)
    fields["stages"] = (tuple[entry | str, ...], Field((), description=_STAGES))
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, **fields)
