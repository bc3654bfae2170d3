"""Where compiled kernels are cached, and the argument types they share.

numba stamps a cached kernel with its own file only: after a change to a helper or a table in another file it
would go on running the old machine code. So the kernels of each module are cached in a folder of their own,
named by the digest of that module and of all it imports from this package, directly or not. Import this
module before any `@njit`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import config, entrypoints
from numba.core.caching import InTreeCacheLocator
from numba.np import linalg

config.ENABLE_SYS_MONITORING = 1  # without it profilers see no kernel since Python 3.12

# Arrow buffers that are memory-mapped are read-only; the plain `uint8[::1]` would reject them.
BYTES = types.Array(types.uint8, 1, "C", readonly=True)
OFFSETS = types.Array(types.int64, 1, "C", readonly=True)

_PACKAGE = __name__.partition(".")[0]
_ROOT = Path(__file__).parent.parent
_IMPORT = re.compile(
    rf"^[ \t]*(?:from|import) ({_PACKAGE}[\w.]*)(?: import (?:\(([^)]*)\)|(.*)))?", re.MULTILINE
)


def import_closure(module: str) -> tuple[str, ...]:
    """Name a module and all modules of this package that it imports, directly or not."""
    found = {module}
    open_ends = [module]
    while open_ends:
        fresh = set(_imports(open_ends.pop())) - found
        found |= fresh
        open_ends += fresh
    return tuple(sorted(found))


@cache
def _imports(module: str) -> tuple[str, ...]:
    found = (_named(*match.groups(default="")) for match in _IMPORT.finditer(_source(module).decode()))
    return tuple(name for names in found for name in names if _source(name))


def _named(module: str, several: str, one: str) -> Iterator[str]:
    """Yield what an import statement may mean: the module, and each name that could be a module in it."""
    yield module
    yield from (f"{module}.{name}" for name in re.findall(r"\w+", several + one))


@cache
def _source(module: str) -> bytes:
    """Read a module, empty where there is none of that name."""
    path = _ROOT.joinpath(*module.split(".")[1:])
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file.read_bytes() for file in files if file.is_file()), b"")


def cache_folder(module: str) -> Path:
    """Return the folder for machine code that this numba makes of a module and what it imports."""
    state = hashlib.sha256(numba.__version__.encode())
    for name in import_closure(module):
        state.update(name.encode() + b"\0" + _source(name) + b"\0")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "gristmill" / "kernels" / f"{module.rpartition('.')[2]}-{state.hexdigest()[:16]}"


class KernelCacheLocator(InTreeCacheLocator):  # type: ignore[misc]  # numba carries no types
    """Tells numba where this package's kernels are cached; of other functions it says nothing."""

    def __init__(self, function: Callable[..., Any], path: str) -> None:
        super().__init__(function, path)
        self._cache_path = str(cache_folder(function.__module__))

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> Any:
        return (
            super().from_function(function, path) if function.__module__.startswith(f"{_PACKAGE}.") else None
        )


_OTHERS = (
    "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator,ZipCacheLocator"
)
numba.config.CACHE_LOCATOR_CLASSES = (
    f"{__name__}.KernelCacheLocator,{numba.config.CACHE_LOCATOR_CLASSES or _OTHERS}"
)

# Other packages' extensions of numba are not loaded: that of awkward, which gigatoken brings, takes .2 s
# of every process. Who wants it beside these kernels calls `awkward.numba.register()`.
entrypoints._already_initialized = True


def _postpone_blas() -> None:
    """Let numba's start believe that scipy has a BLAS: to look, it imports all of `scipy.linalg`, .2 s of
    every process. It looks again where a function needs one, which no kernel here does."""
    if find_spec("scipy") is None:
        return
    look, linalg.ensure_blas = linalg.ensure_blas, lambda: None
    try:
        import numba.np.arraymath  # noqa: F401  what looks
    finally:
        linalg.ensure_blas = look


_postpone_blas()


def kernel(*signatures: Any) -> Any:
    """Compile a function for these signatures when its module is imported; it runs without the interpreter's
    lock.

    It and its parts count no references to their arrays, and so cannot make any: two counts a call, with the
    bus locked, cost as much as a word.
    """
    return numba.njit(list(signatures), cache=True, nogil=True, _nrt=False)


part = numba.njit(cache=True, nogil=True, _nrt=False)  # of kernels: compiled for the types they call it with
