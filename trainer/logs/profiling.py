"""A window of steps under torch's profiler, and what lay in a GPU's memory when a run failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gristmill.errors import UsageError

_EVENTS = 100_000  # of the allocator, kept for a snapshot


def window(text: str) -> range:
    """Read `100:110`: the steps 100 to 109, as a log counts them."""
    first, colon, stop = text.partition(":")
    if not (colon and first.isdecimal() and stop.isdecimal() and 1 <= int(first) < int(stop)):
        raise UsageError(f"`profile` must be two steps such as 100:110, got {text!r}")
    return range(int(first), int(stop))


class Profiler:
    """Record the steps of a window and write them as a trace that Perfetto and chrome://tracing open."""

    def __init__(self, text: str, folder: Path, rank: int) -> None:
        self.steps, self.folder, self.rank = window(text) if text else range(0), folder, rank
        self._running: Any = None

    def before(self, step: int) -> None:
        """Begin with the first step of the window."""
        if self._running is None and step in self.steps:
            self._running = torch.profiler.profile(record_shapes=True)
            self._running.__enter__()

    def after(self, step: int) -> Path | None:
        """End after the last, and return the trace that was written."""
        if self._running is None or step + 1 in self.steps:
            return None
        self._running.__exit__(None, None, None)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"steps-{self.steps.start}-{step}-rank-{self.rank}.json"
        self._running.export_chrome_trace(str(path))
        self._running, self.steps = None, range(0)
        return path


@contextlib.contextmanager
def memory_snapshot(device: torch.device, folder: Path, rank: int, history: bool) -> Iterator[None]:
    """On CUDA write what lies in memory when a run fails, for pytorch.org/memory_viz; with `history` also
    where each block was taken."""
    if device.type != "cuda":
        yield
        return
    memory: Any = torch.cuda.memory
    if history:
        memory._record_memory_history(max_entries=_EVENTS, stacks="python")
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError):
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Exception):  # the failure itself is what has to be told
            memory._dump_snapshot(str(folder / f"memory-rank-{rank}.pickle"))
        raise
    finally:
        if history:
            memory._record_memory_history(enabled=None)
