"""A recipe's own code: which filters are code, where it lies, and when it may run.

`rules` name functions of files; `datatrove` names classes, which are code of the recipe's own where they are
not datatrove's. Neither is imported to plan, validate or estimate: files are found and digested as bytes.
When a step runs, every class named is first checked to be a filter of datatrove, then they are made.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gristmill.errors import InputError, UsageError
from gristmill.files.disk import read_file
from gristmill.filters.code_files import code_files, code_libraries, forget_changed
from gristmill.filters.files import digest_of
from gristmill.filters.options import DatatroveSettings
from gristmill.hashing import sha256_json

_NAMING = "name a function as path.py:name"


def function_file(path: str, name: str) -> Path:
    """Find a function's file and see, without running it, that it can hold one of that name."""
    if not Path(path).is_file():
        raise InputError(f"there is no file `{path}`", hint=_NAMING)
    try:
        tree = ast.parse(read_file(Path(path)))
    except (SyntaxError, ValueError) as error:
        raise InputError(f"`{path}` cannot be imported: {type(error).__name__}: {error}") from None
    if name not in _bound_names(tree):
        raise InputError(f"`{path}` has no function `{name}`")
    return Path(path)


def code_digests(path: Path) -> dict[str, str]:
    """Digest own code: its file with the modules it imports that nobody installed, and the versions of those
    that somebody did."""
    files = code_files(path)
    libraries = code_libraries(files)
    source = {"source": digest_of(map(str, files))}
    return source | ({"libraries": sha256_json(libraries)} if libraries else {})


def _bound_names(tree: ast.Module) -> set[str]:
    """Every name that a module may bind, wherever it stands: more than it does, so that none is missed."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found


def load_function(path: str, name: str) -> Callable[[str], Any]:
    """Import a file and take a function from it."""
    if not Path(path).is_file():
        raise InputError(f"there is no file `{path}`", hint=_NAMING)
    forget_changed(code_files(Path(path))[1:])
    spec = importlib.util.spec_from_file_location(f"gristmill_rule_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"`{path}` cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"`{path}` has no function `{name}`")
    return function  # type: ignore[no-any-return]


def class_file(path: str) -> Path | None:
    """The source of a class by its dotted path, None for datatrove's own and for what has no source file.

    Packages on the way are looked up in their folders, not imported.
    """
    parts = path.split(".")[:-1]
    if parts[0] == "datatrove":
        return None
    where: list[str] | None = None
    origin: str | None = None
    for depth in range(len(parts)):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: depth + 1]), where)
        if spec is None:
            return None
        origin = spec.origin
        where = list(spec.submodule_search_locations) if spec.submodule_search_locations else []
    return Path(origin) if origin and origin.endswith(".py") else None


def filter_classes(sections: Sequence[DatatroveSettings]) -> list[type]:
    """Import the classes named and see that every one is a filter of datatrove: none is made before all
    are."""
    return [_filter_class(section.filter) for section in sections]


def _filter_class(path: str) -> type:
    from datatrove.pipeline.filters.base_filter import BaseFilter

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise UsageError(
            f"cannot import the datatrove filter `{path}`: {type(error).__name__}: {error}",
            hint="name the class as module.Class, in a module that Python finds",
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseFilter)) or found is BaseFilter:
        raise UsageError(
            f"`{path}` is no filter of datatrove",
            hint="only subclasses of datatrove.pipeline.filters.base_filter.BaseFilter are taken",
        )
    return found
