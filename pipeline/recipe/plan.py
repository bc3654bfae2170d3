"""From a recipe to steps: extract and filter per source, deduplicate together, then score, encode, mix and
train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from gristmill.classifiers.settings import CoverageSettings, Pareto
from gristmill.dedup.settings import (
    DecontaminateSettings,
    ExactSettings,
    FuzzySettings,
    LineSettings,
    ParagraphSettings,
    SpanSettings,
    SubstringSettings,
)
from gristmill.errors import RecipeError, UsageError
from gristmill.hashing import sha256_json
from gristmill.pins import collect_pins, pin
from gristmill.pipeline.recipe.model import ClassifySettings, Recipe, RecipeSource, StageName, UnknownSource
from gristmill.pipeline.run.engine import inside_job
from gristmill.pipeline.run.runner import Plan
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.pipeline.stages import slices

ORDER: tuple[StageName, ...] = (
    "extract",
    "filter",
    "dedup",
    "classify",
    "ngram",
    "coverage",
    "tokenizer",
    "encode",
    "mix",
    "train",
)


class Sample(NamedTuple):
    """For a preflight: the size of a source's ranges, and for each task the numbers of those it reads."""

    range_bytes: int
    tasks: tuple[tuple[int, ...], ...]


Samples = Mapping[str, Sample]

_DEDUP_SLICES: dict[type, tuple[type[BaseModel], str]] = {
    ExactSettings: (slices.ExactSlice, "exact"),
    FuzzySettings: (slices.FuzzySlice, "fuzzy"),
    LineSettings: (slices.PiecesSlice, "pieces"),
    ParagraphSettings: (slices.PiecesSlice, "pieces"),
    SpanSettings: (slices.PiecesSlice, "pieces"),
    SubstringSettings: (slices.SubstringSlice, "substring"),
    DecontaminateSettings: (slices.DecontaminateSlice, "decontaminate"),
}


@dataclass(slots=True)
class _Building:
    """Steps so far, and for each source the step that last wrote its documents."""

    recipe: Recipe
    steps: list[Step]
    last: dict[str, str]
    samples: Samples
    adopted: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # the sources within an output folder that a recipe names

    def add(
        self,
        name: str,
        stage: str,
        slice_: BaseModel,
        inputs: tuple[str, ...] = (),
        external: dict[str, str] | None = None,
        **carried: Any,
    ) -> str:
        holders = {source: step for source, step in self.last.items() if step in inputs}
        pins = collect_pins()  # of the files that were digested for this step
        self.steps.append(Step(name, stage, slice_, inputs, external or {}, holders, pins, carried))
        return name

    def sources(self, names: Iterable[str]) -> tuple[str, ...]:
        """Sources as a recipe names them: one that is an output folder stands for the sources in it."""
        return tuple(dict.fromkeys(part for name in names for part in self.adopted.get(name, (name,))))

    def inputs(self, sources: tuple[str, ...]) -> tuple[str, ...]:
        """The steps that hold these sources' documents, each once."""
        return tuple(dict.fromkeys(self.last[source] for source in sources))


def build_plan(recipe: Recipe, until: str | None = None, samples: Samples | None = None) -> Plan:
    """Resolve a recipe into its steps, all or up to and with one stage; lists inputs, reads none of them."""
    building = _Building(recipe, [], {}, samples or {})
    collect_pins()  # of a plan that was given up
    last = ORDER.index(until) if until in ORDER else len(ORDER) - 1  # type: ignore[arg-type]
    makers = (_extract, _filter, _dedup, _classify, _ngram, _coverage, _tokenizer, _encode, _mix, _train)
    for maker in makers[: last + 1]:
        maker(building)
    shown = recipe.model_dump(mode="json", exclude_none=True)
    return Plan(recipe.name, recipe.seed, building.steps, shown, recipe.limits.quarantined_shards)


def _extract(building: _Building) -> None:
    from gristmill.pipeline.stages.adopt import adoptable

    for name, source in building.recipe.sources.items():
        folders = building.recipe.outputs(source)
        if not folders:
            building.last[name] = _extract_source(building, name, source)
            continue
        if len(source.inputs) > 1:
            raise UsageError(
                f"the source `{name}` mixes an output folder of gristmill with other inputs",
                hint="make it a source of its own",
            )
        parts = adoptable(folders[0], partial=source.partial)
        building.adopted[name] = tuple(part.source for part in parts)
        for part in parts:
            digest = sha256_json([entry.sha256 for _, entry in part.files])
            adopted = slices.AdoptSlice(source=part.source, folder=folders[0])
            building.last[part.source] = building.add(
                f"adopt/{part.source}", "adopt", adopted, external={"documents": digest}, part=part
            )
    for location, name in building.recipe.named_sources():
        if name not in building.last and (name not in building.adopted or location[0] == "mix"):
            hint = f"`{name}` is an output folder with several sources" if name in building.adopted else None
            raise RecipeError(str(UnknownSource(location, name, building.last)), hint=hint)


def _extract_source(building: _Building, name: str, source: RecipeSource) -> str:
    from gristmill.pipeline.sources.plan import list_inputs

    recipe = building.recipe
    inputs = input_settings(source)
    relative = [path for path in inputs.inputs if not path.startswith("/") and "://" not in path]
    if relative and inside_job():
        raise UsageError(
            f"the input `{relative[0]}` of `{name}` is relative, in a job it must be absolute or a URL",
            hint="a job's working folder is a copy without your data",
        )
    files = list_inputs(inputs)
    listing = [[file.path, file.size, file.version] for file in files]
    shard_bytes, only = building.samples.get(name, (recipe.shard_bytes, None))
    piece = slices.ExtractSlice(
        source=name,
        inputs=inputs,
        extract=recipe.extract,
        shard_bytes=shard_bytes,
        only=only,
        keep_removed=recipe.keep_removed,
    )
    return building.add(
        f"extract/{name}", "extract", piece, external={"inputs": sha256_json(listing)}, files=files
    )


def input_settings(source: RecipeSource) -> SourceSettings:
    """What reading depends on: a source without the choice of stages it passes through."""
    return SourceSettings(**{field: getattr(source, field) for field in SourceSettings.model_fields})


def _filter(building: _Building) -> None:
    from gristmill.filters.order import digests_of

    recipe = building.recipe
    for source in list(building.last):
        said = recipe.sources[source].filter if source in recipe.sources else True
        settings = recipe.filter if said is True else said or None
        if settings is None:
            continue
        piece = slices.FilterSlice(source=source, filter=settings, keep_removed=recipe.keep_removed)
        inputs = (building.last[source],)
        digests = digests_of(settings, recipe.seed)  # of lists, models and user code
        building.last[source] = building.add(f"filter/{source}", "filter", piece, inputs, digests)


def _dedup(building: _Building) -> None:
    from gristmill.pipeline.stages.decontaminate import benchmark_digests
    from gristmill.pipeline.stages.dedup_index import index_digest

    recipe = building.recipe
    untouched = tuple(name for name, source in recipe.sources.items() if not source.dedup)
    sources = tuple(name for name in building.last if name not in untouched)
    for name, settings in recipe.dedup.stages.items() if sources else ():
        kind, section = _DEDUP_SLICES[type(settings)]
        piece = kind.model_validate({section: settings, "keep_removed": recipe.keep_removed})
        external = index_digest(settings) if isinstance(settings, FuzzySettings) else {}
        if isinstance(settings, DecontaminateSettings):
            external = benchmark_digests(settings)
        step = building.add(f"dedup-{name}", f"dedup-{section}", piece, building.inputs(sources), external)
        building.last.update(dict.fromkeys(sources, step))


def _classify(building: _Building) -> None:
    settings, recipe = building.recipe.classify, building.recipe
    if settings is None:
        return
    model: tuple[str, ...] = ()
    external: dict[str, str] = {}
    if settings.classifier.model:
        external = {"model": _file_digest(settings.classifier.model, "classify.classifier.model")}
    else:
        model = (_classify_train(building, settings),)
    for source in building.sources(settings.targets):
        score = slices.ClassifyScoreSlice(
            source=source, classifier=settings.classifier, keep_removed=recipe.keep_removed
        )
        building.last[source] = building.add(
            f"classify-score/{source}", "classify-score", score, (building.last[source], *model), external
        )


def _classify_train(building: _Building, settings: ClassifySettings) -> str:
    recipe = building.recipe
    for role in ("positives", "negatives"):
        if not getattr(settings, role):
            raise RecipeError(
                f"`classify.{role}` must name at least one source",
                hint=f"the recipe has {', '.join(recipe.sources)}",
            )
    positives, negatives = building.sources(settings.positives), building.sources(settings.negatives)
    piece = slices.ClassifyTrainSlice(
        classifier=settings.classifier.model_copy(
            update={"keep": Pareto()}
        ),  # another rule needs no other model
        positives=positives,
        negatives=negatives,
        heldout_fraction=_heldout(recipe),
    )
    return building.add("classify-train", "classify-train", piece, building.inputs((*positives, *negatives)))


def _ngram(building: _Building) -> None:
    """Count a model, score sources with it, and measure it on what is held out of the sources that end in the
    mixture."""
    settings, recipe = building.recipe.ngram, building.recipe
    if settings is None:
        return
    fraction = _heldout(recipe) if recipe.mix else settings.heldout_fraction
    model: tuple[str, ...] = ()
    external: dict[str, str] = {}
    if settings.path:
        external = {"model": _file_digest(settings.path, "ngram.path")}
    else:
        sources = building.sources(settings.train_on)
        piece = slices.NgramTrainSlice(model=settings.model, sources=sources, heldout_fraction=fraction)
        model = (building.add("ngram-train", "ngram-train", piece, building.inputs(sources)),)
    for source in building.sources(settings.apply_to):
        score = slices.NgramScoreSlice(
            source=source, path=settings.path, buckets=settings.buckets, keep_removed=recipe.keep_removed
        )
        inputs = (building.last[source], *model)
        building.last[source] = building.add(f"ngram-score/{source}", "ngram-score", score, inputs, external)


def _ngram_heldout(building: _Building) -> None:
    """Lay the n-gram model beside the transformer: the same documents, as they are after all that removes
    some."""
    settings, recipe = building.recipe.ngram, building.recipe
    if settings is None or settings.path:
        return
    fraction = _heldout(recipe) if recipe.mix else settings.heldout_fraction
    sources = (
        _mixed_sources(recipe, building)
        if recipe.mix
        else building.sources((*settings.train_on, *settings.apply_to))
    )
    piece = slices.NgramHeldoutSlice(sources=sources, heldout_fraction=fraction)
    building.add("ngram-heldout", "ngram-heldout", piece, (*building.inputs(sources), "ngram-train"))


def _coverage(building: _Building) -> None:
    """Tables of what each source covers; a selection by age or domain makes its documents the source's."""
    settings, recipe = building.recipe.coverage, building.recipe
    if settings is not None:
        selection = CoverageSettings(
            **{name: getattr(settings, name) for name in CoverageSettings.model_fields}
        )
        for source in building.sources(settings.apply_to or building.last):
            piece = slices.CoverageSlice(source=source, coverage=selection, keep_removed=recipe.keep_removed)
            step = building.add(f"coverage/{source}", "coverage", piece, (building.last[source],))
            if selection.selects:
                building.last[source] = step
    _ngram_heldout(building)


def _file_digest(name: str, where: str) -> str:
    """The digest of a file that a recipe names: a model or tokenizer replaced under the same name makes steps
    stale."""
    path = Path(name)
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    if not path.exists():
        raise RecipeError(f"`{where}` names `{name}`, which does not exist")
    return sha256_json([pin(file) for file in files])


def _mixed_sources(recipe: Recipe, building: _Building) -> tuple[str, ...]:
    return tuple(recipe.mix.proportions) if recipe.mix and recipe.mix.proportions else tuple(building.last)


def _heldout(recipe: Recipe) -> float:
    return recipe.mix.heldout_fraction if recipe.mix else 0.0


def _tokenizer(building: _Building) -> None:
    recipe = building.recipe
    if recipe.tokenizer is None:
        return
    sources = _mixed_sources(recipe, building)
    proportions = dict(recipe.mix.proportions) if recipe.mix else {}
    piece = slices.TokenizerSlice(
        tokenizer=recipe.tokenizer,
        sources=sources,
        proportions=proportions,
        heldout_fraction=_heldout(recipe),
    )
    external = (
        {"tokenizer": _file_digest(recipe.tokenizer.path, "tokenizer.path")} if recipe.tokenizer.path else {}
    )
    building.add("tokenizer", "tokenizer", piece, building.inputs(sources), external)


def _encode(building: _Building) -> None:
    recipe = building.recipe
    if recipe.tokenizer is None:
        return
    for source in _mixed_sources(recipe, building):
        piece = slices.EncodeSlice(source=source, tokenizer=recipe.tokenizer)
        building.add(f"encode/{source}", "encode", piece, (building.last[source], "tokenizer"))


def _mix(building: _Building) -> None:
    recipe = building.recipe
    if recipe.mix is None or recipe.tokenizer is None:
        return
    sources = _mixed_sources(recipe, building)
    building.add(
        "mix",
        "mix",
        slices.MixSlice(mix=recipe.mix, tokenizer=recipe.tokenizer),
        (*(f"encode/{source}" for source in sources), "tokenizer"),
    )


def _train(building: _Building) -> None:
    if building.recipe.train is not None:
        building.add("train", "train", slices.TrainSlice(train=building.recipe.train), ("mix",))
