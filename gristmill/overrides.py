"""Settings given as `a.b=value` on a command line: one reading of values and paths, for recipes and trainer.

Values are read as YAML 1.2 reads them (its core schema, yaml.org/spec/1.2.2 section 10.3.2): `3e-4` is a
number, only `true` and `false` are booleans, and `off`, `no` and `yes` are words. Besides, digits may be
grouped as in `1_000_000`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gristmill.errors import UsageError
from gristmill.files.inside import parsed

INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
NULL = re.compile(r"~|null|Null|NULL|")
_SIZE = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)\s*([kKMGT])(i?)B?")
_MOST_DIGITS = 4000  # Python reads no longer integers; what is longer stays a word
_POWERS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}

Location = tuple[str | int, ...]


def parse_scalar(text: str) -> Any:
    """Return the value of a plain word: null, a boolean, a number, else the word itself."""
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() == "true"
    if INT.fullmatch(text) and len(text) < _MOST_DIGITS:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def parse_number(text: str) -> int | float | None:
    """Return a count with a suffix, `3M` or `8k` (powers of 1,000) or `32Mi` (of 1,024), else None."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        return None
    value = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2]]
    return int(value) if value.is_integer() else value


def parse_value(text: str, option: str) -> Any:
    """Read what stands behind the `=` of an option; raises UsageError for brackets that do not close."""
    text = text.strip()
    if text[:1] not in ("[", "{", '"', "'"):
        return parse_scalar(text)
    try:
        return parsed(text)
    except ValueError:
        pass
    import yaml  # only for lists and mappings that are no JSON: a node with torch alone has none

    from gristmill.yaml12 import Yaml12Loader

    try:
        return yaml.load(text, Yaml12Loader)  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise UsageError(f"`{option}` cannot be read: {getattr(error, 'problem', None) or error}") from None


def split(option: str, *, name: str = "--set") -> tuple[Location, Any]:
    """Part `a.b=value` into its path and value."""
    key, equals, value = option.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UsageError(f"`{name} {option}` must have the form `a.b=value`")
    return tuple(int(part) if part.isdigit() else part for part in parts), parse_value(
        value, f"{name} {option}"
    )


def assign(data: dict[str, Any], option: str, *, name: str = "--set") -> Location:
    """Set `a.b=value` in nested data, copying the mappings and lists on its way; return the path.

    Raises UsageError for an index that a list does not have.
    """
    location, value = split(option, name=name)
    here: Any = data
    for part, following in pairwise(location):
        below = _below(here, part, f"{name} {option}")
        if isinstance(below, list) and not isinstance(following, int):
            raise UsageError(
                f"`{name} {option}`: `{part}` is a list of {len(below)}, and `{following}` is no number"
            )
        if isinstance(below, str | int | float) and below not in (True, False, "on", "off", "yes", "no"):
            raise UsageError(f"`{name} {option}`: `{part}` is {below!r}, no section")
        below = below.copy() if isinstance(below, dict | list) else {}
        here[part] = below
        here = below
    if isinstance(here, list):
        _below(here, location[-1], f"{name} {option}")
    here[location[-1]] = value
    return location


def _below(here: Any, part: str | int, option: str) -> Any:
    if isinstance(here, Mapping):
        return here.get(part)
    if not isinstance(part, int) or part >= len(here):
        raise UsageError(f"`{option}`: the list has {len(here)} entries, from 0, and no `{part}`")
    return here[part]


def merged(data: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested data with other nested data laid over it, mapping by mapping."""
    found = dict(data)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def unfolded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with keys that are paths, such as `mix.tokens`, as nested data."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        part: Any = value
        for name in reversed(key.split(".")):
            part = {name: part}
        found = merged(found, part)
    return found


def nested(options: Sequence[str], *, name: str = "--set") -> dict[str, Any]:
    """Read `a.b=value` options into nested data."""
    data: dict[str, Any] = {}
    for option in options:
        assign(data, option, name=name)
    return data
