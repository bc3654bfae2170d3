"""What travels with a job: the recipe, and the files that it names by relative paths.

Code, lists, models, tokenizers and layouts go into the job's working folder under the same relative paths;
Ray brings it to every node. Inputs and outputs of other runs do not travel: relative ones are named by
absolute paths, which every node must see.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gristmill.errors import UsageError
from gristmill.overrides import nested
from gristmill.yaml12 import Yaml12Loader

MOST_BYTES = 500 << 20  # Ray refuses a working folder above 512 MiB (GCS_STORAGE_MAX_SIZE)
_OUTPUT_MARKS = ("run.json", "manifest.json")


@dataclass(slots=True)
class Packed:
    """`travels` maps places in the working folder to files here; `resolved` are overrides that name inputs by
    absolute paths; `seen` are absolute paths that every node must see."""

    travels: dict[str, Path] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def copy_to(self, folder: Path) -> None:
        for place, path in self.travels.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)

    def told(self) -> Iterator[str]:
        """Say what travels and what does not."""
        others = list(self.travels)[1:]
        if others:
            size = sum(_bytes_of(path) for path in self.travels.values())
            yield f"goes with the job: {', '.join(others)} ({size / 1e6:,.1f} MB)"
        if self.seen:
            yield f"does not go with it, every node must see: {', '.join(self.seen)}"


def pack(recipe: Path, overrides: Sequence[str]) -> Packed:
    """Collect what a job needs of a recipe that has been read without an error.

    Raises UsageError for a relative path that leads out of its folder, and for more than Ray takes.
    """
    data = yaml.load(recipe.read_text(encoding="utf-8"), Yaml12Loader)  # a subclass of SafeLoader
    said = nested(list(overrides))
    packed = Packed({recipe.name: recipe})
    for path in sorted(recipe.resolve().parent.glob("*.py")):
        packed.travels[path.name] = path
    for keys, text in _texts(data):
        _take(packed, keys, text, recipe.parent if _is_of_source(keys) else Path())
    for keys, text in _texts(said):
        _take(packed, keys, text, Path())
    _resolve_inputs(packed, data, recipe.parent, said)
    if (size := sum(_bytes_of(path) for path in packed.travels.values())) > MOST_BYTES:
        largest = max(packed.travels.items(), key=lambda item: _bytes_of(item[1]))[0]
        raise UsageError(
            f"what the recipe names by relative paths is {size:,} bytes, a job takes {MOST_BYTES:,} along",
            hint=f"put the largest, `{largest}`, where every node sees it, and name it by that absolute path",
        )
    return packed


def _take(packed: Packed, keys: tuple[str, ...], text: str, base: Path) -> None:
    """Note a file or folder that a value names, if it names one that is here."""
    if "://" in text or "\n" in text or len(text) > 4096 or (_is_input(keys) and not text.startswith("@")):
        return
    name = (
        text.removeprefix("@")
        if _is_input(keys)
        else text.partition(".py:")[0] + ".py"
        if ".py:" in text
        else text
    )
    path = base / name
    if not name or name in (".", "..") or not path.exists():
        return
    if Path(name).is_absolute() or _is_output(path):
        absolute = str(path.absolute())
        if not Path(name).is_absolute():
            packed.resolved.append(f"{'.'.join(keys)}={json.dumps(absolute)}")
        packed.seen += [absolute] if absolute not in packed.seen else []
        return
    if ".." in Path(name).parts:
        raise UsageError(
            f"`{'.'.join(keys)}` names `{text}`, outside of the folder that goes with the job",
            hint="put it below this folder, or name it by an absolute path that every node sees",
        )
    known = packed.travels.get(name)
    if known is not None and known.resolve() != path.resolve():
        raise UsageError(f"two files would be `{name}` in the job: `{known}` and `{path}`", hint="rename one")
    packed.travels[name] = path
    if path.suffix == ".py":  # and the modules beside it, which it may import
        for beside in sorted(path.parent.glob("*.py")):
            packed.travels[str(Path(name).with_name(beside.name))] = beside


def _resolve_inputs(packed: Packed, data: Mapping[str, Any], folder: Path, said: Mapping[str, Any]) -> None:
    """Name relative inputs by absolute paths: the recipe's are relative to it, those of `--set` to here."""
    for where, base in ((data, folder), (said, Path())):
        for name, source in (where.get("sources") or {}).items():
            inputs = source.get("inputs") if isinstance(source, Mapping) else None
            listed = [inputs] if isinstance(inputs, str) else inputs
            if not isinstance(listed, list) or (where is data and "inputs" in _of(said, name)):
                continue
            found = [_absolute(path, base) for path in listed]
            if found != listed:
                packed.resolved.append(f"sources.{name}.inputs={json.dumps(found)}")
            packed.seen += [path for path in found if path.startswith("/") and path not in packed.seen]


def _of(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    source = (said.get("sources") or {}).get(name)
    return source if isinstance(source, Mapping) else {}


def _absolute(path: str, base: Path) -> str:
    return path if "://" in path or path.startswith(("@", "/")) else str((base / path).absolute())


def _texts(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in nested data, with the keys that lead to it."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _texts(below, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for number, below in enumerate(value):
            yield from _texts(below, (*keys, str(number)))


def _is_of_source(keys: tuple[str, ...]) -> bool:
    """Whether a value is relative to the recipe rather than to where the command is given."""
    return len(keys) > 2 and keys[0] == "sources" and keys[2] in ("inputs", "columns")


def _is_input(keys: tuple[str, ...]) -> bool:
    return len(keys) > 2 and keys[0] == "sources" and keys[2] == "inputs"


def _is_output(path: Path) -> bool:
    """Whether a folder is an output of gristmill: it may be large, and its manifests name files by place."""
    return path.is_dir() and any((path / name).exists() for name in _OUTPUT_MARKS)


def _bytes_of(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
