"""An extractor's process as its parent holds it: started with two pipes and shared memory, ended with all it
has started."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gristmill
from gristmill.pipeline.extract.frames import share, shared_memory


@dataclass(slots=True)
class Process:
    """A running extractor and what it has sent that is not a whole frame yet."""

    popen: subprocess.Popen[bytes]
    wake: int  # descriptor of a second pipe: a byte when results are worth reading; closes with the process
    shared: mmap.mmap | None  # where payloads lie
    buffer: bytearray = field(default_factory=bytearray)
    num_pages: int = 0
    resident_bytes: int = 0  # when it was ready


def start_process(options: Mapping[str, Any]) -> Process:
    """Start `worker_main` with these options; raises OSError where the system starts none, and leaves nothing
    open then."""
    root = str(Path(gristmill.__file__).resolve().parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        wake, wake_end = os.pipe()
        ours.callback(os.close, wake)
        theirs.callback(os.close, wake_end)
        descriptor = share()
        if descriptor >= 0:
            theirs.callback(os.close, descriptor)
        memory = shared_memory(descriptor, writes=True)
        if memory is not None:
            ours.callback(memory.close)
        own = {"parent": os.getpid(), "wake": wake_end, "shared": descriptor if memory is not None else -1}
        popen = subprocess.Popen(
            [sys.executable, "-m", "gristmill.pipeline.extract.worker_main", json.dumps({**options, **own})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            pass_fds=tuple(number for number in (wake_end, own["shared"]) if number >= 0),
            process_group=0,
        )
        os.set_blocking(popen.stdout.fileno(), False)  # type: ignore[union-attr]
        ours.pop_all()
        return Process(popen, wake, memory)


def kill(process: Process) -> None:
    """End a process and everything it has started."""
    popen = process.popen
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()
    for pipe in (popen.stdin, popen.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):  # what was buffered for the dead
                pipe.close()
    os.close(process.wake)
    if process.shared is not None:
        process.shared.close()
