"""Where the CPU time of a task goes: the own time of each function, booked on what kind of work it is.

    with profiled() as spent:
        ...
    spent.seconds        # {"kernel": 1.2, "python": 0.3, ..., "waiting": 0.1}

The profiler of the standard library counts CPU seconds of this thread's functions; it makes Python itself
look slower than it is, by about a microsecond a call. What other processes do meanwhile, such as an
extractor's, is waiting here.
"""

from __future__ import annotations

import cProfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

KINDS = {
    "reading": "bytes come in: files, sockets, requests",
    "decoding": "bytes become columns and texts: Parquet, JSON, decompression",
    "kernel": "the work itself, compiled: the house's kernels, detectors, tokenizers, models",
    "columns": "Arrow and numpy over whole columns",
    "python": "Python between all that",
    "starting": "modules are imported and compiled kernels loaded, once a process",
    "writing": "columns become files: encoding, compression, digests, the disk",
    "waiting": "no CPU time: the disk, the network, another process, a busy machine",
}

# Of compiled functions by a part of the profiler's name for them, of Python's by a part of their file's path.
_BUILT_IN = {
    "starting": ("_imp.", "marshal.loads", "posix.stat", "posix.listdir", "builtins.compile", "llvmlite"),
    "writing": ("posix.fsync", "_hashlib", "BufferedWriter", "posix.link", "posix.rename", "posix.replace"),
    "reading": ("posix.pread", "posix.read", "readinto", "io.open", "BufferedReader", "_socket", "_ssl"),
    "decoding": ("orjson", "zlib", "isal", "zstd", "lz4", "brotli", "_codecs", "_json", "fastwarc"),
    "kernel": (
        *("eldc", "cld.", "pycld2", "resiliparse", "sentencepiece", "gigatoken", "tokenizers", "tiktoken"),
        *("fasttext", "re.Pattern", "ahocorasick", "_blake2", "unicodedata", "kenlm"),
    ),
    "columns": ("numpy", "pyarrow"),
}
_FILES = {
    "starting": ("importlib", "/numba/", "/llvmlite/"),
    "writing": ("pyarrow/parquet/core.py:write_table", "pyarrow/parquet/core.py:close"),
    "decoding": ("pyarrow/parquet/core.py", "pyarrow/ipc.py"),
    "kernel": ("sentencepiece/", "gigatoken/", "fasttext", "eldc/", "tokenizers/"),
    "columns": ("pyarrow/", "numpy/"),
}


@dataclass(slots=True)
class Spent:
    """Seconds by kind; filled when the profiled block ends."""

    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def profiled() -> Iterator[Spent]:
    """Count what the block's functions spend; where another profiler is at work, nothing."""
    spent, profile = Spent(), cProfile.Profile(time.process_time)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        profile.enable()
    except ValueError:  # one profiler a process
        yield spent
        return
    try:
        yield spent
    finally:
        profile.disable()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        spent.seconds = _by_kind(profile, wall, cpu)


def _by_kind(profile: cProfile.Profile, wall: float, cpu: float) -> dict[str, float]:
    kernels = _kernels()
    found = dict.fromkeys(KINDS, 0.0)
    for entry in profile.getstats():
        found[_kind_of(entry.code, kernels)] += entry.inlinetime
    found["python"] += max(cpu - sum(found.values()), 0.0)  # what ran before the profiler saw a call
    found["waiting"] = max(wall - cpu, 0.0)
    return {name: round(seconds, 4) for name, seconds in found.items()}


def _kind_of(code: CodeType | str, kernels: frozenset[Any]) -> str:
    if isinstance(code, str):
        return next(
            (kind for kind, marks in _BUILT_IN.items() if any(mark in code for mark in marks)), "python"
        )
    if (code.co_filename, code.co_firstlineno) in kernels:
        return "kernel"
    if code.co_name == "<module>":
        return "starting"
    named = f"{code.co_filename}:{code.co_name}"
    return next((kind for kind, marks in _FILES.items() if any(mark in named for mark in marks)), "python")


def _kernels() -> frozenset[Any]:
    """The places of all compiled functions that this process has loaded."""
    import sys

    numba = sys.modules.get("numba")
    if numba is None:
        return frozenset()
    from numba.core.registry import CPUDispatcher

    found = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("gristmill."):
            for value in vars(module).values():
                if isinstance(value, CPUDispatcher):
                    code = value.py_func.__code__
                    found.add((code.co_filename, code.co_firstlineno))
    return frozenset(found)
