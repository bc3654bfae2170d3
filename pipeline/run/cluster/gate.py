"""Whether a worker runs what the driver runs: asked before it works, and of nodes that join late, too.

The functions here travel to workers by value (`ray.cloudpickle.register_pickle_by_value`), for a node with
another release has another release of them as well. So they import the standard library alone until the
worker is known to have the driver's.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

PACKAGE = "gristmill"
UNICODE = "unicodedata"  # of Python itself: what is a letter, lower case, composed


def source_digest(package: str) -> str:
    """The sha256 over all Python files of an installed package, in the order of their paths; empty where
    there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ""
    root = next(iter(spec.submodule_search_locations))
    files = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        files += [os.path.join(folder, name) for name in names if name.endswith(".py")]  # noqa: PTH118
    state = hashlib.sha256()
    for path in sorted(files):
        with open(path, "rb") as file:  # noqa: PTH123
            state.update(f"{os.path.relpath(path, root)}\0".encode() + file.read() + b"\0")
    return state.hexdigest()


def version_of(name: str) -> str:
    """The version of an installed distribution, `absent` for one that is not: an optional one decides by its
    absence, too. Of `unicodedata` it is that of the tables which this Python has."""
    if name == UNICODE:
        return unicodedata.unidata_version
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def refusal(expected: Mapping[str, Any]) -> str:
    """Say how this process differs from the driver, in words; empty where it does not.

    `expected` has `package`, `version` and `source` of the release, and `libraries` by name; `here`, if it is
    there, is where the driver imports it from on this very machine. Each is looked at once by a process.
    """
    seen = sys.__dict__.setdefault("_seen_by_gate", {})
    here = expected.get("here")
    if here and expected["package"] not in sys.modules and sys.path[0] != here:
        sys.path.insert(0, here)  # the driver's own machine: Ray puts the working folder before it
    if "source" not in seen:
        seen["source"] = source_digest(expected["package"])
    if seen["source"] != expected["source"]:
        module = sys.modules.get(expected["package"])
        version = getattr(module, "__version__", "")
        if not version:
            try:
                version = __import__(expected["package"]).__version__
            except Exception as error:
                return f"cannot import {expected['package']} ({type(error).__name__}: {error})"
        same = version == expected["version"]
        what = f"other source files under the same version, {version}" if same else f"release {version}"
        spec = importlib.util.find_spec(expected["package"])
        origin = f" (from `{spec.origin}`)" if spec and spec.origin else ""
        return f"runs {what}{origin}; the driver runs {expected['version']}"
    for name, version in expected["libraries"].items():
        if name not in seen:
            seen[name] = version_of(name)
        if seen[name] != version:
            return f"has {name} {seen[name]}; the driver has {version}"
    return ""


def work_through_gate(expected: Mapping[str, Any], call: bytes, shared: bytes) -> Iterator[list[Any]]:
    """Yield lists of events (`run/cluster/worker.py`); the first says where this is, the second may say that
    this process does not work."""
    context = sys.modules["ray"].get_runtime_context()
    try:
        log = os.readlink("/proc/self/fd/2")  # noqa: PTH115
    except OSError:
        log = ""
    yield [("begin", context.get_node_id(), os.getpid(), log)]
    reason = refusal(expected)
    if reason:
        yield [("unfit", reason)]
        return
    from gristmill.collecting import collect_seldom, importing

    collect_seldom()
    with importing():
        from gristmill.pipeline.run.cluster.worker import work_off

    yield from work_off(call, shared)


def tail_of(path: str, num_bytes: int) -> str:
    """The last bytes of a file of this node, as text."""
    with open(path, "rb") as file:  # noqa: PTH123
        size = file.seek(0, 2)
        file.seek(max(0, size - num_bytes))
        return file.read().decode("utf-8", "replace")
