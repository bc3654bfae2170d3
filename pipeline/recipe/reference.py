"""Every key of a recipe, from the models: as a page of documentation, and as a JSON Schema for editors."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gristmill.pipeline.recipe.meaning import members
from gristmill.pipeline.recipe.model import recipe_model
from gristmill.pipeline.run.stage import sections

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}
_HEAD = """# A recipe, key by key

Made from the models that read recipes (`gristmill schema --markdown`); a test holds it to them. `gristmill
schema` prints the JSON Schema, so that an editor completes and checks: keep it as `recipe.schema.json`, and
begin a recipe with the line `# yaml-language-server: $schema=recipe.schema.json`.

A section with nothing behind its colon is on with its defaults; `off`, `false` and `null` take it away.
Numbers may be written `3M`, `8k`, `32Mi`, `5e6`, `1_000`. Relative paths are relative to the recipe.
`--set a.b=value` overrides any key.
"""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, draft 2020-12."""
    found = recipe_model().model_json_schema()
    return {
        "$schema": _DRAFT,
        "title": "A recipe of gristmill",
        **found,
    }


def markdown() -> str:
    """Return docs/recipe.md: a table for each section, in the order in which steps are made."""
    fields = recipe_model().model_fields
    made = [section.name for section in sections() if section.name in fields]
    plain = [name for name in fields if name not in made]
    parts = [_HEAD, "\n## Keys of the recipe itself\n\n", *_table("", {name: fields[name] for name in plain})]
    for name in ("sources", *made, *(name for name in plain if name != "sources")):
        for below in _models(fields[name].annotation):
            parts.append(f"\n## `{name}`\n\n{_about(below)}\n\n")
            parts += _table(f"{name}.NAME" if name == "sources" else name, _flat("", below, {below}, made))
    return "".join(parts)


def _flat(
    prefix: str, model: type[BaseModel], seen: set[type[BaseModel]], elsewhere: Sequence[str] = ()
) -> dict[str, FieldInfo]:
    """A model's keys, with those of the models within it under their whole names.

    A section that has a table of its own is not written out again.
    """
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        found[key] = field
        named = any(typing.get_origin(member) is dict for member in members(field.annotation))
        for below in _models(field.annotation) if key not in elsewhere else ():
            if below not in seen:
                found |= _flat(f"{key}.NAME." if named else f"{key}.", below, seen | {below})
    return found


def _about(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _table(where: str, fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield "| key | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in fields.items():
        key = f"`{where}.{name}`" if where else f"`{name}`"
        cells = (key, _type(field.annotation), _default(field), _meaning(field))
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that stand below a key: of a section, of a list's or mapping's entries."""
    found: list[type[BaseModel]] = []
    for member in sorted(members(annotation), key=str):
        if isinstance(member, type) and issubclass(member, BaseModel):
            found.append(member)
        for argument in typing.get_args(member) if typing.get_origin(member) in (dict, tuple, list) else ():
            found += _models(argument)
    return found


def _type(annotation: Any) -> str:
    spelled = sorted({_spelled(member) for member in members(annotation)} - {"nothing"})
    return " or ".join(spelled) or "nothing"


def _spelled(member: Any) -> str:
    origin, arguments = typing.get_origin(member), typing.get_args(member)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (tuple, list):
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {_type(arguments[1])}"
    if isinstance(member, type) and issubclass(member, BaseModel):
        return "section"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "nothing"}
    return plain.get(member, getattr(member, "__name__", "anything").lower())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "off"
    if isinstance(value, BaseModel):
        return "on, its defaults"
    if isinstance(value, list | tuple | dict) and not value:
        return "none"
    if isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
        return f"{len(value)} entries"
    return f"`{json.dumps(value, default=str)}`"


def _meaning(field: FieldInfo) -> str:
    told = (field.description or "").strip().removesuffix(".")
    if not told:
        told = "; ".join(_about(model).removesuffix(".") for model in _models(field.annotation))
    for name, word in _BOUNDS.items():
        limits = (getattr(rule, name, None) for rule in field.metadata)
        told += "".join(f"; {word} {limit:,}" for limit in limits if limit is not None)
    return told
