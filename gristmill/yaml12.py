"""YAML as its version 1.2 reads it, by PyYAML: `3e-4` is a number, `no` a word, a key twice an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from gristmill import overrides


class Yaml12Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raises ConstructorError for a key that is given twice, naming both lines."""
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, str | int | float | bool | None) and key in seen:
                said = f"the key `{key}` stands on line {seen[key]} and again on line {line}"
                raise yaml.constructor.ConstructorError(None, None, said, key_node.start_mark)
            if isinstance(key, str | int | float | bool | None):
                seen[key] = line
        return super().construct_mapping(node, deep)


def _scalar(loader: Yaml12Loader, node: Any) -> Any:
    return overrides.parse_scalar(loader.construct_scalar(node))


Yaml12Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag.endswith((":merge", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in (
    ("null", overrides.NULL),
    ("bool", overrides.BOOL),
    ("int", overrides.INT),
    ("float", overrides.FLOAT),
):
    _name = f"tag:yaml.org,2002:{_tag}"
    Yaml12Loader.add_implicit_resolver(_name, re.compile(f"^(?:{_pattern.pattern})$"), None)
    Yaml12Loader.add_constructor(_name, _scalar)
