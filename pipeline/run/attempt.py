"""One attempt at a task, from its arguments to the committed record: what both engines call."""

from __future__ import annotations

import resource
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gristmill.files.location import Roots, staged, use_storage
from gristmill.files.remote import take_retries
from gristmill.files.stores import store_of
from gristmill.manifest import TaskRecord, put_record, record_path
from gristmill.pins import check_named, check_pins, pins_held
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.cpu_profile import profiled
from gristmill.pipeline.run.job import Attempt, Shared
from gristmill.pipeline.run.onward import hand_through
from gristmill.pipeline.run.stage import resolve


class Finished(NamedTuple):
    """A task that has a record: where it lies, and the digest of what it says."""

    path: str
    digest: str


def attempt(
    folder: Path,
    phase: str,
    key: str,
    function: str,
    arguments: Mapping[str, Any],
    shared: Shared | None = None,
    storage: Roots | None = None,
    checks: Sequence[str] = (),
) -> Finished:
    """Run one task to its committed record; `shared` is what its whole phase has in common.

    Both engines call this and nothing else; to another process they pass `storage`, how remote outputs are
    reached. `checks` are files to compare with the digests in their names. Raises what the task raises; its
    scratch folder is removed either way. Records of steps that worked on what the task handed on are put
    before its own, so that a task with a record has them all.
    """
    start = time.perf_counter()
    for root, settings in storage or ():
        use_storage(root, settings)
    scratch = store_of(folder).scratch(folder, f"{phase}-{key}-{secrets.token_hex(6)}")
    record = TaskRecord(phase, key)
    try:
        shared = shared or Shared()
        given = staged({**arguments, **shared.arguments}, scratch / ".inputs")
        for path in checks:
            check_named(path)
        stamps = check_pins(shared.pins)
        task = Attempt(folder, scratch, record, shared.settings, shared.seed)
        followers = hand_through(task, shared.onward)
        work = partial(resolve(function), task, **given)
        if shared.profile:
            with profiled() as spent:
                work()
            record.timing["profile"] = spent.seconds
        else:
            work()
        # What reads strangers' bytes takes any exception for damage, that of a Ctrl-C, too: a task in which
        # one came leaves no record.
        signals.check()
        pins_held(shared.pins, stamps)
        if record.books:
            record.books.balance(f"{folder.name}, {phase} {key}")
        others = sum(follower.seconds for follower in followers)
        machine = {"peak_bytes": peak_bytes(), "ended": round(time.time(), 1)}
        record.timing |= {
            "seconds": round(time.perf_counter() - start - others, 3),
            **machine,
            **take_retries(),  # those of the record before, too, which were asked after it was written
        }
        for follower in reversed(followers):
            follower.put_records(machine)
        put_record(folder, record)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Finished(str(record_path(folder, phase, key)), record.digest)


def peak_bytes() -> int:
    """The largest resident size of this process; Linux's `ru_maxrss` would begin with what its parent held at
    the fork."""
    with suppress(FileNotFoundError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
