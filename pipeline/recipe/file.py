"""From a YAML file and `--set` options to a validated model; every mistake is shown with its file and
line."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gristmill.errors import GristmillError, RecipeError, UsageError
from gristmill.files.disk import read_file
from gristmill.overrides import Location, assign, merged
from gristmill.pipeline.recipe.meaning import meant, members
from gristmill.pipeline.recipe.model import Recipe, recipe_model
from gristmill.redact import shown_override
from gristmill.yaml12 import Yaml12Loader

Model = TypeVar("Model", bound=BaseModel)

_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def read_recipe(path: Path, overrides: Sequence[str] = (), over: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe from a YAML file, with `over` laid over its data; raises what `load` raises."""
    return load(path, recipe_model(), overrides, over)


def make_recipe(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Validate a recipe given as plain data."""
    return validate(data, recipe_model(), overrides)


def load(
    path: Path, model: type[Model], overrides: Sequence[str] = (), over: Mapping[str, Any] | None = None
) -> Model:
    """Read a recipe; raises RecipeError for the first mistake, UsageError when there is no such file."""
    try:
        text = read_file(path).decode("utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"there is no recipe at `{path}`", hint="`gristmill demo` writes one to start from"
        ) from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise UsageError(f"`{path}` is not a recipe file: {error}") from None
    try:
        node = yaml.compose(text, Loader=Yaml12Loader)
        data = yaml.load(text, Yaml12Loader)  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise RecipeError(
            f"`{path}` is not valid YAML: {getattr(error, 'problem', error)}", where=place
        ) from None
    if not isinstance(data, dict):
        raise RecipeError(
            f"`{path}` must hold a mapping of settings, got {type(data).__name__}", where=f"{path}:1"
        )
    relative_to: Any = getattr(model, "relative_to", None)
    if relative_to:
        data = relative_to(data, path.parent)
    loaded = validate(merged(data, over or {}), model, overrides, path=path, node=node)
    remember_place: Any = getattr(loaded, "remember_place", None)
    if remember_place:
        remember_place(lambda location: _place(location, {}, path, node))
    return loaded


def validate(
    data: Mapping[str, Any],
    model: type[Model],
    overrides: Sequence[str] = (),
    *,
    path: Path | None = None,
    node: Any = None,
) -> Model:
    """Apply `a.b=c` overrides to plain data and validate it."""
    own = dict(data)
    places: dict[Location, str] = {}
    for override in overrides:
        places[assign(own, override)] = f"--set {shown_override(override)}"
    try:
        return model.model_validate(meant(own, model, node))
    except ValidationError as error:
        details = error.errors()[0]
        raise _recipe_error(details, model, own, places, path, node) from None


def _recipe_error(
    details: ErrorDetails,
    model: type[BaseModel],
    data: Mapping[str, Any],
    places: Mapping[Location, str],
    path: Path | None,
    node: Any,
) -> RecipeError:
    location = _keys_of(details, data)
    message, hint = _explain(details, location, model)
    place = getattr(
        details.get("ctx", {}).get("error"), "location", location
    )  # a section names what another one lacks
    return RecipeError(message, where=_place(place, places, path, node), hint=hint)


def _keys_of(details: ErrorDetails, data: Any) -> Location:
    """The keys on the way to a mistake; pydantic puts the names of a union's members among them.

    A part is a key where the data has it, and the last one is where the mistake is that the data lacks it.
    """
    found: list[str | int] = []
    for number, part in enumerate(details["loc"]):
        is_last = number == len(details["loc"]) - 1
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif is_last and details["type"] == "missing":
            data = None  # it lacks the key, or is a section with nothing behind its colon
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        found.append(part)
    return tuple(found)


def _explain(details: ErrorDetails, location: Location, model: type[BaseModel]) -> tuple[str, str | None]:
    name, kind, value = ".".join(str(part) for part in location), details["type"], details["input"]
    if kind == "extra_forbidden":
        known = sorted(_keys_at(model, location[:-1]))
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = (
            f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(known)}" if known else None
        )
        return f"unknown key `{name}`", hint
    if kind == "missing":
        return f"`{name}` is required", None
    if kind in _BOUNDS:
        word, field = _BOUNDS[kind]
        bound = details["ctx"][field]
        hint = None
        if kind.startswith("less") and bound == 1 and isinstance(value, int | float) and 1 < value <= 100:
            hint = f"it is a fraction; did you mean {value / 100:.2f}?"
        return f"`{name}` must be {word} {bound}, got {value!r}", hint
    if kind == "value_error":
        error = details["ctx"]["error"]
        if isinstance(error, GristmillError):
            return f"`{name}`: {error.message}" if name else error.message, error.hint
        return f"`{name}`: {error}" if name else str(error), None
    message = details["msg"][0].lower() + details["msg"][1:]
    shown = "" if isinstance(value, dict | list) and len(str(value)) > 60 else f", got {value!r}"
    return f"`{name}`: {message}{shown}" if name else f"{message}{shown}", None


def _keys_at(model: type[BaseModel], location: Location) -> set[str]:
    """The keys a mapping at `location` may have, found by walking the models' annotations."""
    candidates: list[Any] = [model]
    for part in location:
        below: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                fields = candidate.model_fields
                found = fields.get(str(part)) or next(
                    (field for field in fields.values() if field.alias == part), None
                )
                below += members(found.annotation) if found else []
            elif typing.get_origin(candidate) in (dict, Mapping):
                below += members(typing.get_args(candidate)[1])
            elif typing.get_origin(candidate) in (list, tuple):
                below += members(typing.get_args(candidate)[0])
        candidates = below
    models = [
        candidate
        for candidate in candidates
        if isinstance(candidate, type) and issubclass(candidate, BaseModel)
    ]
    return {field.alias or name for candidate in models for name, field in candidate.model_fields.items()}


def _place(location: Location, places: Mapping[Location, str], path: Path | None, node: Any) -> str | None:
    for length in range(len(location), 0, -1):
        if location[:length] in places:
            return places[location[:length]]
    for said, place in places.items():  # an option that lies below what does not fit
        if location and said[: len(location)] == location and len(said) > len(location):
            return place
    if path is None or node is None:
        return str(path) if path else None
    return f"{path}:{_line(node, location)}"


def _line(node: Any, location: Location) -> int:
    """The line of the deepest part of `location` that the file spells out."""
    line = int(node.start_mark.line) + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
