"""Find text on this machine: documentation of modules read by `ast`, long descriptions, licences, help
topics, source files.

Nothing is imported to be documented: some modules print, some open windows. Listings are sorted, and what is
too much is cut by hash, so that one machine always gives the same texts in the same order.
"""

from __future__ import annotations

import ast
import csv
import functools
import importlib.metadata
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gristmill.hashing import digest16

_SKIPPED_FOLDERS = {
    "test", "tests", "testing", "_tests", "idle_test", "site-packages", "dist-packages", "__pycache__",
    "lib2to3",
}  # fmt: skip
_SKIPPED_FOLDERS |= {"pydoc_data", "idlelib", "turtledemo", "_vendor", "vendor", "_vendored_packages", "msvs"}
_LICENCE = re.compile(r"(^|/)(LICEN[CS]E|COPYING)[^/]*$", re.IGNORECASE)
_MIN_MODULE_BYTES, _MAX_MODULE_BYTES = 1_500, 250_000
_PACKAGE_FILES = 150
_PACKAGE_BYTES = 250_000  # source parsed per installed package
_CHARACTERS_PER_DOCSTRING = (
    1_200  # a module with fewer docstrings than one in so many characters is not worth parsing
)
_MIN_LICENCE_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Documented:
    """A module, class or function with what its docstring says; members are those of its own that say
    something."""

    name: str
    kind: str
    signature: str
    text: str
    members: tuple[Documented, ...] = ()

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def num_characters(self) -> int:
        return len(self.text) + sum(member.num_characters for member in self.members)


@dataclass(frozen=True, slots=True)
class DemoPassage:
    """A text with a key of its own, such as `licence:numpy`."""

    key: str
    title: str
    text: str


@functools.cache
def standard_library_files() -> tuple[tuple[str, Path], ...]:
    """Return (module name, path) of the standard library's public modules, by name."""
    root = Path(sysconfig.get_path("stdlib"))
    files = []
    for folder, folders, names in os.walk(root):  # what is installed beside it is not entered
        folders[:] = [name for name in folders if not _is_skipped(name)]
        inside = Path(folder).relative_to(root).parts
        for name in names:
            if name.endswith(".py") and (inside or not _is_skipped(name.removesuffix(".py"))):
                module = ".".join((*inside, name.removesuffix(".py"))).removesuffix(".__init__")
                files.append((module, Path(folder, name)))
    return tuple(sorted(pair for pair in files if not pair[0].rpartition(".")[2].startswith("_")))


def _is_skipped(name: str) -> bool:
    return name in _SKIPPED_FOLDERS or name.startswith(("_", "config-"))


@functools.cache
def distributions() -> tuple[tuple[str, importlib.metadata.Distribution], ...]:
    """Return what is installed beside this interpreter, by name, without Gristmill itself.

    The name is read once: a distribution parses all of its metadata again each time it is asked.
    """
    folders = list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
    named = [(dist.name or "", dist) for dist in importlib.metadata.distributions(path=folders)]
    found = {name: dist for name, dist in named if name not in ("", "gristmill")}
    return tuple(sorted(found.items(), key=lambda pair: pair[0].lower()))


@functools.cache
def installed_files(dist: importlib.metadata.Distribution) -> tuple[str, ...]:
    """Return what a package installed, as relative paths with slashes.

    Read from its RECORD where it has one: `dist.files` builds an object per file, which takes seconds over a
    whole environment.
    """
    record = dist.read_text("RECORD")
    if record is None:
        return tuple(file.as_posix() for file in dist.files or ())
    return tuple(row[0] for row in csv.reader(record.splitlines()) if row)


@functools.cache
def standard_library_modules() -> tuple[Documented, ...]:
    """Read the standard library's modules, by name; some have no documentation and are left out."""
    texts = ((name, read_text(path)) for name, path in standard_library_files())
    modules = (read_module(name, source) for name, source in texts if '"""' in source)
    return tuple(module for module in modules if module)


def package_modules(name: str, dist: importlib.metadata.Distribution) -> Iterator[Documented]:
    """Read a package's modules in hash order, up to a number of bytes."""
    listed = [
        file
        for file in installed_files(dist)
        if file.endswith(".py") and not _SKIPPED_FOLDERS & set(file.split("/"))
    ]
    listed.sort(key=lambda file: digest16(name, file))
    taken = 0
    for file in listed[:_PACKAGE_FILES]:
        path = Path(str(dist.locate_file(file)))
        size = path.stat().st_size if path.is_file() else 0
        if not _MIN_MODULE_BYTES <= size <= _MAX_MODULE_BYTES or taken + size > _PACKAGE_BYTES:
            continue
        source = read_text(path)
        if source.count('"""') * _CHARACTERS_PER_DOCSTRING >= 2 * len(source):
            taken += size
            module = read_module(file.removesuffix(".py").replace("/", ".").removesuffix(".__init__"), source)
            yield from [module] if module else []


def read_module(name: str, source: str) -> Documented | None:
    """Return the documentation in a module's source, None when it says nothing or is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    documented = _document(tree, name, "module", "")
    return documented if documented.num_characters else None


def _document(node: ast.AST, name: str, kind: str, signature: str) -> Documented:
    text = ast.get_docstring(node) or ""  # type: ignore[arg-type]
    members = []
    for child in getattr(node, "body", ()):
        if isinstance(child, ast.ClassDef) and kind == "module" and not child.name.startswith("_"):
            bases = ", ".join(ast.unparse(base) for base in child.bases)
            members.append(_document(child, f"{name}.{child.name}", "class", f"({bases})" if bases else ""))
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            members.append(
                Documented(
                    f"{name}.{child.name}", "function", _signature(child), ast.get_docstring(child) or ""
                )
            )
    return Documented(
        name, kind, signature, text, tuple(member for member in members if member.num_characters)
    )


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return f"({ast.unparse(function.args)})"


def descriptions() -> Iterator[DemoPassage]:
    """Yield installed packages' long descriptions."""
    for name, dist in distributions():
        text = str(dist.metadata["Description"] or "") if "Description" in dist.metadata else ""
        if len(text) > 500:
            yield DemoPassage(f"description:{name}", name, _clean(text))


def licences() -> Iterator[DemoPassage]:
    """Yield each wording of a licence once: Python's own and those that installed packages carry."""
    own = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    files = [("Python", own)] if own.is_file() else []
    for name, dist in distributions():
        listed = sorted(
            file for file in installed_files(dist) if _LICENCE.search(file) and not file.endswith(".py")
        )
        files += [(name, Path(str(dist.locate_file(file)))) for file in listed]
    seen: dict[bytes, None] = {}
    for owner, path in files:
        text = read_text(path) if path.is_file() else ""
        digest = digest16(" ".join(text.split()))
        if len(text) >= _MIN_LICENCE_CHARACTERS and digest not in seen:
            seen[digest] = None
            yield DemoPassage(
                f"licence:{owner}:{path.name}:{digest.hex()[:8]}", f"{owner}: {path.name}", text
            )


def topics() -> Iterator[DemoPassage]:
    """Yield the language reference as `help()` knows it; some systems install Python without it."""
    try:
        from pydoc_data.topics import topics as known
    except ImportError:
        return
    for name, text in sorted(known.items()):
        yield DemoPassage(f"topic:{name}", name, text)


def sources() -> Iterator[DemoPassage]:
    """Yield the standard library's modules as source text."""
    for name, path in standard_library_files():
        if _MIN_MODULE_BYTES <= path.stat().st_size <= _MAX_MODULE_BYTES and (text := read_text(path)):
            yield DemoPassage(f"stdlib:{name}", name, text)


def read_text(path: Path) -> str:
    """Return a file as text, "" when it is no UTF-8: other people's files may be in anything."""
    try:
        return _clean(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return ""


def _clean(text: str) -> str:
    """Lone surrogates and NUL can be in neither HTML nor Parquet."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "").replace("\r\n", "\n")
