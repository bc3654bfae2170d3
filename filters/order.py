"""From settings to blocks, in the order they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from gristmill.filters.block import Batch, Block, Measured
from gristmill.filters.by_language import (
    STOP_WORDS,
    language_bounds,
    read_thresholds,
    stop_word_block,
    threshold_paths,
)
from gristmill.filters.contents import datatrove_block, function_block, model_block, word_list_block
from gristmill.filters.files import digest_of
from gristmill.filters.options import FilterSection
from gristmill.filters.own_code import class_file, code_digests, filter_classes, function_file
from gristmill.filters.presets import PRESETS
from gristmill.filters.rules import SIDES
from gristmill.filters.settings import FilterSettings, resolve
from gristmill.filters.sources import age_block, language_block, sample_block, url_block
from gristmill.hashing import canonical_json


def build_blocks(settings: FilterSettings, seed: int) -> list[Block]:
    """Build every filter that is set; lists and models are read here, and code of one's own is imported."""
    classes = filter_classes(settings.datatrove)
    blocks = [*_source_blocks(settings, seed), *_list_blocks(settings, seed)]
    blocks += [PRESETS[name].block(*resolve(name, settings.set)) for name in settings.presets]
    if settings.pii is not None:
        from gristmill.filters.pii import pii_block  # who plans loads no kernel

        blocks.append(pii_block(settings.pii))
    blocks += [
        datatrove_block(part, made_of) for part, made_of in zip(settings.datatrove, classes, strict=True)
    ]
    blocks += [function_block(part) for part in settings.rules]
    named = {block.name: block for block in blocks}
    recipes = dict(_recipes(settings))
    built = [replace(named[name], recipe=recipes[name]) for name in settings.order or settings.names]
    return [_by_language(settings, block) for block in built]


def _by_language(settings: FilterSettings, block: Block) -> Block:
    """Give a block the bounds that are others for some languages, and the signal that says which one."""
    bounds = language_bounds(settings, block)
    if not bounds:
        return block
    recipe = f"{block.recipe} by language"
    if "code" in block.signals:  # the language that the filter itself finds
        return replace(block, by_language=bounds, spoken="code", recipe=recipe)

    def measure(batch: Batch) -> Measured:
        measured = block.measure(batch)
        spoken = batch.documents.column("language").to_pylist()
        return replace(measured, signals={**measured.signals, "spoken": spoken})

    signals = {**block.signals, "spoken": pa.string()}
    return replace(
        block, signals=signals, measure=measure, by_language=bounds, spoken="spoken", recipe=recipe
    )


def digests_of(settings: FilterSettings, seed: int) -> dict[str, str]:
    """Digest the lists, models and code that filters read, as `build_blocks` does; code is read as bytes and
    never imported."""
    found = {
        f"{block.name}.{name}": digest
        for block in (*_source_blocks(settings, seed), *_list_blocks(settings, seed))
        for name, digest in block.digests.items()
    }
    for name in settings.presets:
        read = PRESETS[name].digests(resolve(name, settings.set)[1])
        found |= {f"{name}.{part}": digest for part, digest in read.items()}
    for part in settings.datatrove:
        if source := class_file(part.filter):
            block = f"datatrove.{part.filter.rpartition('.')[2]}"
            found |= {f"{block}.{name}": digest for name, digest in code_digests(source).items()}
    for rule in settings.rules:
        path, _, name = rule.function.rpartition(":")
        digests = code_digests(function_file(path, name))
        found |= {f"rules.{rule.rule}.{name}": digest for name, digest in digests.items()}
    if paths := threshold_paths(settings):
        found["by_language"] = digest_of(paths)
    return found


def _source_blocks(settings: FilterSettings, seed: int) -> list[Block]:
    """What looks at a document's source and language rather than at its words."""
    blocks = []
    if settings.sample is not None:
        blocks.append(sample_block(settings.sample, seed))
    if settings.age is not None:
        blocks.append(age_block(settings.age))
    if settings.url is not None:
        blocks.append(url_block(settings.url))
    if settings.language is not None:
        blocks.append(language_block(settings.language))
    return blocks


def _list_blocks(settings: FilterSettings, seed: int) -> list[Block]:
    """What reads a list of words or a model by path."""
    blocks = []
    if settings.stop_words is not None:
        blocks.append(stop_word_block(settings.stop_words, settings.by_language))
    blocks += [word_list_block(part, seed) for part in settings.wordlists]
    blocks += [model_block(part) for part in settings.models]
    return blocks


def _recipes(settings: FilterSettings) -> Iterator[tuple[str, str]]:
    """Name what each filter measures: its settings without those that only bound."""

    def spell(part: FilterSection, *bounds: str) -> str:
        return canonical_json(part.model_dump(mode="json", exclude={*SIDES, *bounds})).decode()

    for name in settings.presets:
        changed = {
            key: value
            for key, value in resolve(name, settings.set)[1].items()
            if value != PRESETS[name].parameters[key]
        }
        yield name, canonical_json(changed).decode()
    optional = (
        ("age", "after", "before", "undated"),
        ("url", "max_word_score", "mark"),
        ("language", "min_score"),
        ("pii", "max_matches"),
    )
    for name, *bounds in optional:
        part = getattr(settings, name)
        if part is not None:
            yield name, spell(part, *bounds)
    if settings.sample is not None:
        yield "sample", ""
    if settings.stop_words is not None:
        configs = {
            code: read_thresholds(said)[1]
            for code, said in settings.by_language.items()
            if isinstance(said, str)
        }
        yield STOP_WORDS, spell(settings.stop_words) + canonical_json(configs).decode()
    yield from ((part.name, spell(part, "max_fraction")) for part in settings.wordlists)
    yield from ((part.name, spell(part)) for part in settings.models)
    yield from ((f"datatrove.{part.filter.rpartition('.')[2]}", spell(part)) for part in settings.datatrove)
    yield from ((f"rules.{part.rule}", spell(part)) for part in settings.rules)
