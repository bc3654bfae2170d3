"""What plain data of a recipe means before it is validated: sections on or off, counts with a suffix.

dedup: {fuzzy: }          # nothing behind the colon: on, with its defaults; so do `true` and `on`
dedup: {fuzzy: off}       # absent, as `false`, `no`, `null` and `~`
mix: {tokens: 3M}         # 3,000,000; 32Mi is 33,554,432
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from gristmill.overrides import parse_number

_ON, _OFF = (True, "on", "yes"), (False, "off", "no", None)


def meant(data: Any, annotation: Any, node: Any = None) -> Any:
    """Return data as an annotation wants it; `node` is what YAML composed it from, if from a file."""
    kinds = members(annotation)
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if isinstance(data, Mapping) and models:
        fields = {name: field for model in models for name, field in _fields(model)}
        return {
            key: meant(value, fields[key].annotation, _below(node, key)) if key in fields else value
            for key, value in data.items()
        }
    if isinstance(data, Mapping):
        values = [typing.get_args(kind)[1] for kind in kinds if typing.get_origin(kind) is dict]
        if not values:
            return data
        return {key: meant(value, values[-1], _below(node, key)) for key, value in data.items()}
    if isinstance(data, list):
        entries = [entry for kind in kinds if (entry := _entry(kind)) is not None]
        if len(entries) != 1:
            return data
        return [meant(value, entries[0], _at(node, number)) for number, value in enumerate(data)]
    if models and not kinds & {bool, str}:
        if _is_empty(node) or _among(data, _ON):
            return {}
        if _among(data, _OFF) and type(None) in kinds:
            return None
    if isinstance(data, bool) and kinds & {int, float} and not kinds & {bool, str}:
        return str(data).lower()  # a word, and refused: `true` is no count of 1
    if isinstance(data, str) and str not in kinds and kinds & {int, float}:
        number = parse_number(data)
        return data if number is None else number
    return data


def members(annotation: Any) -> frozenset[Any]:
    """The members of a union, of one within another too; any other annotation is alone."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return frozenset(member for argument in typing.get_args(annotation) for member in members(argument))
    if origin is typing.Annotated:
        return members(typing.get_args(annotation)[0])
    return frozenset([annotation])


def _entry(kind: Any) -> Any:
    """What each entry of a list is, None for what is no list of one kind."""
    kinds = typing.get_args(kind)
    is_list = typing.get_origin(kind) is list or (typing.get_origin(kind) is tuple and kinds[1:] == (...,))
    return kinds[0] if is_list else None


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield name, field
        if field.alias:
            yield field.alias, field


def _below(node: Any, key: Any) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == str(key)), None)


def _at(node: Any, number: int) -> Any:
    listed = node.value if isinstance(node, yaml.SequenceNode) else []
    return listed[number] if number < len(listed) else None  # an override may be longer than the file


def _is_empty(node: Any) -> bool:
    """Whether nothing stands behind a key's colon."""
    return isinstance(node, yaml.ScalarNode) and node.value == "" and node.style is None


def _among(value: Any, words: tuple[Any, ...]) -> bool:
    return any(value is word or (isinstance(word, str) and value == word) for word in words)
