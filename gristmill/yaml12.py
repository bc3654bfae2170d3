"""YAML as its version 1.2 reads it, by PyYAML: `3e-4` is a number, `no` a word, a key twice an error.

A file is of bounded depth and size: a few lines of aliases of aliases stand for billions of values, and
brackets without end exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from gristmill import overrides

_DEEPEST = 100
_MOST_VALUES = 1_000_000  # with what aliases stand for


class BoundedLoader(yaml.SafeLoader):
    """PyYAML's safe loader; raises ComposerError for what is nested too deep, too large, or in itself."""

    def get_single_node(self) -> Any:
        try:
            node = super().get_single_node()
        except RecursionError:
            problem: str | None = "it is nested too deep"
            raise yaml.composer.ComposerError(None, None, problem, self.get_mark()) from None
        if node is not None and (problem := _beyond_bounds(node)):
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node


def _beyond_bounds(root: Any) -> str | None:
    """Say what is wrong with a tree of nodes, in which an alias is the node it stands for."""
    sizes: dict[int, int] = {}
    path: list[tuple[Any, Iterator[Any]]] = [(root, iter(_below(root)))]
    open_nodes = {id(root)}
    while path:
        node, below = path[-1]
        for child in below:
            if id(child) in open_nodes:
                return f"what stands on line {child.start_mark.line + 1} is part of itself"
            if id(child) not in sizes:
                path.append((child, iter(_below(child))))
                open_nodes.add(id(child))
                break
        else:
            path.pop()
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _below(node))
        if len(path) > _DEEPEST:
            return f"it is nested deeper than {_DEEPEST} levels"
    if sizes[id(root)] > _MOST_VALUES:
        return f"its aliases make {sizes[id(root)]:,} values of it, at most {_MOST_VALUES:,} are read"
    return None


def _below(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class Yaml12Loader(BoundedLoader):
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
