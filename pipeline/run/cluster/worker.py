"""What a worker on Ray does with the tasks of one call, and what it tells the driver meanwhile.

Events are tuples, told in lists at most a few times a second:

    ("begin", node id, pid, path of the log)          first, from the gate
    ("unfit", reason)                                  this node does not see what the run needs; nothing done
    ("done", key, record path, record digest)
    ("failed", key, Trouble)
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import secrets
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.collecting import importing
from gristmill.errors import Interrupted, RefusedError, StaleError, StorageRefused, UsageError
from gristmill.files.location import Roots, use_storage
from gristmill.files.storage import write_atomic
from gristmill.pins import check_pins
from gristmill.pipeline.run.attempt import attempt
from gristmill.pipeline.run.cluster.attempts import first_line, hint_of
from gristmill.pipeline.run.job import Shared
from gristmill.pipeline.sources.record import InputRange

_TELL_SECONDS = 0.2
FATAL = (UsageError, StaleError, StorageRefused, Interrupted)  # these end the run, they are not tried again
Unseen = tuple[str, int, str]  # a file, its size and version as planned; of a pinned file -1 and its digest


@dataclass(frozen=True, slots=True)
class Named:
    """One task as it is handed to a worker."""

    key: str
    function: str
    arguments: Mapping[str, Any]
    checks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Call:
    """Tasks of one phase for one worker, and how it sees the output: the probe is a file in the output folder
    and what is written there."""

    folder: Path
    phase: str
    tasks: Sequence[Named]
    storage: Roots
    probe: tuple[Path, bytes] | None
    cwd: str | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt failed. `fatal` is the error itself where it ends the run; `unseen` are inputs that are
    not here as they were planned: the driver says whether that is this node's fault."""

    error: str
    traceback: str
    hint: str | None
    fatal: Exception | None
    unseen: tuple[Unseen, ...]
    in_vain: bool = False  # another attempt would end as this one


def work_off(packed: bytes, packed_shared: bytes) -> Iterator[list[Any]]:
    """Attempt tasks one after another; one that fails does not keep the next from its turn."""
    with importing():  # the modules of the stage's settings
        call: Call = pickle.loads(packed)
        shared: Shared = pickle.loads(packed_shared)
    for root, settings in call.storage:
        use_storage(root, settings)
    reason = _blind(call)
    if reason:
        yield [("unfit", reason)]
        return
    events: list[Any] = []
    told = time.monotonic()
    for task in call.tasks:
        try:
            named = (call.folder, call.phase, task.key, task.function, task.arguments, shared)
            done = attempt(*named, None, task.checks)
            events.append(("done", task.key, done.path, done.digest))
        except Exception as error:
            events.append(("failed", task.key, _trouble(error, task, shared)))
        if time.monotonic() - told > _TELL_SECONDS:
            yield events
            events, told = [], time.monotonic()
    if events:
        yield events


_sees: dict[tuple[str, bytes], str] = {}  # by probe: why this process is blind to the output, if it is


def _blind(call: Call) -> str:
    """Say why this process cannot work in the output folder: looked at by name, once for each run."""
    if call.cwd is not None:
        with suppress(OSError):  # what is named relative to it is missed where it is read
            os.chdir(call.cwd)
    if call.probe is None:
        return ""
    path, said = call.probe
    key = (str(path), said)
    if key not in _sees:
        _sees[key] = _look(path, said)
    return _sees[key]


def _look(path: Path, said: bytes) -> str:
    out = path.parent
    try:
        found = path.read_bytes()
    except Exception as error:
        return f"cannot see the output `{out}`: {first_line(error)}"
    if found != said:
        return f"sees another folder at `{out}`"
    own = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
    try:
        write_atomic(own, said)
        back = own.read_bytes()
    except Exception as error:
        return f"cannot write to the output `{out}`: {first_line(error)}"
    finally:
        with suppress(Exception):
            own.unlink(missing_ok=True)
    return "" if back == said else f"reads something else than it wrote in `{out}`"


def _trouble(error: Exception, task: Named, shared: Shared) -> Trouble:
    fatal = error if isinstance(error, FATAL) else None
    unseen = tuple(unseen_inputs(task.arguments, shared.pins))
    spelled = "".join(traceback.format_exception(error))
    return Trouble(first_line(error), spelled, hint_of(error), fatal, unseen, is_in_vain(error))


def is_in_vain(error: BaseException) -> bool:
    """Whether another attempt at a task would end as this one."""
    return isinstance(error, RefusedError)


def unseen_inputs(arguments: Mapping[str, Any], pins: Mapping[str, str]) -> Iterator[Unseen]:
    """Yield the local inputs of a task that are not here as they were planned."""
    ranges = {range_.path: range_ for range_ in _ranges(arguments)}
    for path, range_ in ranges.items():
        expected = (path, range_.size, range_.version)
        if "://" not in path and not is_as_planned(expected):
            yield expected
    for path, digest in pins.items():
        if not is_as_planned((path, -1, digest)):
            yield path, -1, digest


def is_as_planned(expected: Unseen) -> bool:
    path, size, version = expected
    try:
        if size < 0:
            check_pins({path: version})
            return True
        status = Path(path).stat()
    except (OSError, StaleError):
        return False
    return status.st_size == size and str(status.st_mtime_ns) == version


def _ranges(value: Any) -> Iterator[InputRange]:
    if isinstance(value, InputRange):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _ranges(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _ranges(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _ranges(getattr(value, field.name))
