"""Which files a recipe's own code consists of: a file, and the modules that it imports and nobody installed.

Imports are read from the syntax tree, at any depth of the code; nothing is run. A module that is imported by
a name made up at run time, or data that the code reads, is not seen.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from gristmill.files.disk import read_file
from gristmill.hashing import sha256_file

_INSTALLED = {"site-packages", "dist-packages"}


def code_files(path: Path) -> list[Path]:
    """Return a file and, in order of discovery, the files of modules that it reaches beside it or on Python's
    path."""
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        if file in found:
            continue
        found[file] = None
        for name in _imported(file):
            waiting += _own(name, path.parent)
    return list(found)


def code_libraries(files: list[Path]) -> dict[str, str]:
    """Return the versions of installed distributions that these files import, without those that every step
    depends on."""
    names = {name.partition(".")[0] for file in files for name in _imported(file)}
    foreign = {
        name
        for name in names - sys.stdlib_module_names - {"gristmill"}
        if any(_is_installed(spec.origin) for spec in [_spec(name, None)] if spec)
    }
    if not foreign:
        return {}
    owners = sorted({owner for name in foreign for owner in _owners().get(name, ())})
    return {owner: importlib.metadata.version(owner) for owner in owners}


def forget_changed(files: list[Path]) -> None:
    """Let modules be imported anew whose file has changed since this process imported them."""
    for file in files:
        digest = sha256_file(file)
        if _loaded.setdefault(file, digest) == digest:
            continue
        _loaded[file] = digest
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None)
            if origin and name != "__main__" and Path(origin) == file.absolute():
                del sys.modules[name]


_loaded: dict[Path, str] = {}


def _imported(file: Path) -> list[str]:
    """The dotted names that a file imports, those taken from a module included: they may be modules."""
    try:
        tree = ast.parse(read_file(file))
    except (SyntaxError, ValueError):
        return []  # it says so when it is imported
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= dict.fromkeys([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return list(found)


def _own(name: str, beside: Path) -> Iterator[Path]:
    """The files of a module that lies beside the code or on Python's path and is not installed; of a package,
    all of them: its modules import each other by relative names."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names or parts[0] == "gristmill":
        return
    where = [str(beside.absolute()), *sys.path]
    for depth in range(len(parts)):
        spec = _spec(".".join(parts[: depth + 1]), where)
        if spec is None or _is_installed(spec.origin):
            return
        if spec.origin and spec.origin.endswith("__init__.py"):
            yield from sorted(Path(spec.origin).parent.rglob("*.py"))
            return
        if spec.origin and spec.origin.endswith(".py"):
            yield Path(spec.origin)
        where = list(spec.submodule_search_locations or ())


def _spec(name: str, where: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    return importlib.machinery.PathFinder.find_spec(name, where)


def _is_installed(origin: str | None) -> bool:
    return bool(origin) and bool(_INSTALLED & set(Path(origin or "").parts))


@cache
def _owners() -> dict[str, list[str]]:
    return {name: list(owners) for name, owners in importlib.metadata.packages_distributions().items()}
