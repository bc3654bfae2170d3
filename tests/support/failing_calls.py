"""A command under a kernel that fails its N-th call: whatever makes the call, Python, Arrow, NumPy or a child
process.

`python -m tests.support.failing_calls` is a server: it imports the command line, runs a command once to load
what that loads, and from then on runs each command it is sent in a fork of itself. The fork asks the kernel
(seccomp, `SECCOMP_RET_USER_NOTIF`) to hand chosen system calls to the server, which lets them pass, or
answers with an error number in their place. Counted are calls on files below the watched folders alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Name of the call, then where its folder descriptor (or descriptor) and its path are among the arguments.
_CALLS: dict[str, dict[int, tuple[str, int | None, int | None]]] = {
    "x86_64": {
        2: ("open", None, 0), 257: ("open", 0, 1), 0: ("read", 0, None), 17: ("read", 0, None),
        1: ("write", 0, None), 18: ("write", 0, None), 20: ("write", 0, None), 74: ("fsync", 0, None),
        75: ("fsync", 0, None), 86: ("link", None, 1), 265: ("link", 2, 3), 82: ("rename", None, 1),
        264: ("rename", 2, 3), 316: ("rename", 2, 3), 83: ("mkdir", None, 0), 258: ("mkdir", 0, 1),
        217: ("list", 0, None),
    },
    "aarch64": {
        56: ("open", 0, 1), 63: ("read", 0, None), 67: ("read", 0, None), 64: ("write", 0, None),
        68: ("write", 0, None), 66: ("write", 0, None), 82: ("fsync", 0, None), 83: ("fsync", 0, None),
        37: ("link", 2, 3), 38: ("rename", 2, 3), 276: ("rename", 2, 3), 34: ("mkdir", 0, 1),
        61: ("list", 0, None),
    },
}  # fmt: skip
_ARCHITECTURE = platform.machine()
_SECCOMP = {"x86_64": 317, "aarch64": 277}
CALLS = ("open", "read", "write", "fsync", "link", "rename", "mkdir", "list")
# What a disk, a network file system, a quota or an administrator says to each.
ERRORS = {
    "open": (errno.EIO, errno.EACCES, errno.ESTALE),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    "fsync": (errno.EIO, errno.ENOSPC),
    "link": (errno.EIO, errno.ENOSPC, errno.EPERM),
    "rename": (errno.EIO, errno.EACCES),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "list": (errno.EIO, errno.EACCES),
}
_TAKES_SPACE = {"write", "mkdir", "link"}  # and an open that creates


@dataclass(frozen=True, slots=True)
class Fault:
    """Which call fails: the N-th below the folders, of the kinds in `calls`; `full`: from there on, all that
    takes space."""

    folders: tuple[str, ...]
    nth: int = 0
    calls: tuple[str, ...] = CALLS
    turn: int = 0  # which of its errors a call meets
    full: bool = False


@dataclass(slots=True)
class Ending:
    """How a command ended, and what it met."""

    code: int | None  # None: it did not come to an end
    out: str
    err: str
    count: int = 0  # calls that could have failed
    met: tuple[str, str, str] | None = None  # call, error, path
    calls: dict[str, int] = field(default_factory=dict)


def is_possible() -> bool:
    """Whether this kernel lets a process watch another's calls."""
    return sys.platform == "linux" and _ARCHITECTURE in _CALLS


class CommandsThatFail:
    """The server, for as long as a test module needs it; `first` is run once without a fault."""

    def __init__(self, cwd: Path, first: Sequence[str]) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.support.failing_calls"]
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
        self._cwd = cwd
        self._process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._ask({"first": list(first)})

    def run(self, arguments: Sequence[str], fault: Fault, seconds: float = 60) -> Ending:
        return self._ask({"run": list(arguments), "fault": asdict(fault), "seconds": seconds})

    def _ask(self, question: dict[str, Any]) -> Ending:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the server of failing calls died"
        answer = json.loads(line)
        return Ending(**{**answer, "met": tuple(answer["met"]) if answer["met"] else None})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        question = json.loads(line)
        if "first" in question:
            code, out, err = _in_process(question["first"])
            ending = Ending(code, out, err)
        else:
            said = question["fault"]
            fault = Fault(**{**said, "folders": tuple(said["folders"]), "calls": tuple(said["calls"])})
            ending = _run(question["run"], fault, question["seconds"])
        answers.write(json.dumps(asdict(ending)) + "\n")
        answers.flush()


def _in_process(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a command here, with what it prints; the code that it ends with."""
    import contextlib
    import io

    from gristmill.pipeline.cli import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        except BaseException:
            err.write(traceback.format_exc())
            code = 1
    out.flush()
    return code, out.buffer.getvalue().decode("utf-8", "replace"), err.getvalue()  # type: ignore[attr-defined]


def _run(arguments: Sequence[str], fault: Fault, seconds: float) -> Ending:
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        _become(arguments, theirs, write_end)
    theirs.close()
    os.close(write_end)
    said = bytearray()
    reader = threading.Thread(target=_drain, args=(read_end, said))
    reader.start()
    _, listeners, _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    watch = _Watch(listeners[0], fault)
    ended = watch.until_it_ends(child, time.monotonic() + seconds)
    os.close(listeners[0])
    reader.join()
    if not ended or not said:
        return Ending(None, "", "", watch.count, watch.met, watch.calls)
    code, out, err = json.loads(bytes(said))
    return Ending(code, out, err, watch.count, watch.met, watch.calls)


def _become(arguments: Sequence[str], to_server: socket.socket, write_end: int) -> None:
    """In the fork: have calls handed to the server, run the command, and say how it ended."""
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with os.fdopen(write_end, "wb") as answers:
        listener = _hand_over_calls()
        socket.send_fds(to_server, [b"x"], [listener])
        os.close(listener)
        to_server.close()
        answers.write(json.dumps(_in_process(arguments)).encode())
    os._exit(0)


def _hand_over_calls() -> int:
    """Install the filter and return the descriptor at which calls are told."""
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = sorted(_CALLS[_ARCHITECTURE])
    notify, allow = 0x7FC00000, 0x7FFF0000
    program = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # load the number of the call
    program += [struct.pack("HBBI", 0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    program += [struct.pack("HBBI", 0x06, 0, 0, allow), struct.pack("HBBI", 0x06, 0, 0, notify)]
    code = ctypes.create_string_buffer(b"".join(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    if libc.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(_SECCOMP[_ARCHITECTURE], 1, 8, ctypes.byref(head))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def _drain(descriptor: int, into: bytearray) -> None:
    with os.fdopen(descriptor, "rb") as file:
        into += file.read()


class _Watch:
    """Answers the calls of one command, until all its processes are gone."""

    _RECEIVE, _SEND = 0xC0502100, 0xC0182101
    _CONTINUE = 1

    def __init__(self, listener: int, fault: Fault) -> None:
        self.listener, self.fault = listener, fault
        self.count, self.calls = 0, dict.fromkeys(CALLS, 0)
        self.met: tuple[str, str, str] | None = None

    def until_it_ends(self, child: int, deadline: float) -> bool:
        """Whether the command ended by itself."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN | select.POLLHUP)
        while True:
            (event,) = poll.poll(1000) or [(0, 0)]
            if event[1] & select.POLLIN:
                self._answer_one()
            elif event[1]:
                os.waitpid(child, 0)
                return True
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return False

    def _answer_one(self) -> None:
        buffer = bytearray(80)
        try:
            fcntl.ioctl(self.listener, self._RECEIVE, buffer)
        except OSError:
            return  # its process was killed meanwhile
        identity, pid, _, number = struct.unpack_from("QIIi", buffer)
        arguments = struct.unpack_from("6Q", buffer, 32)
        error = self._error(pid, number, arguments)
        answer = struct.pack("QqiI", identity, 0, -error, 0 if error else self._CONTINUE)
        try:
            fcntl.ioctl(self.listener, self._SEND, answer)
        except OSError:
            return

    def _error(self, pid: int, number: int, arguments: tuple[int, ...]) -> int:
        """The error that a call meets; 0 where it passes."""
        call, descriptor, name = _CALLS[_ARCHITECTURE][number]
        try:
            path = _path(pid, arguments, descriptor, name)
        except OSError:
            return 0
        if not path.startswith(self.fault.folders):
            return 0
        self.calls[call] += 1
        if call not in self.fault.calls:
            return 0
        self.count += 1
        if self.fault.full:
            flags = arguments[1 if descriptor is None else 2] if call == "open" else 0
            if not self.fault.nth <= self.count or not (call in _TAKES_SPACE or flags & os.O_CREAT):
                return 0
            code = errno.ENOSPC
        elif self.count == self.fault.nth:
            code = ERRORS[call][self.fault.turn % len(ERRORS[call])]
        else:
            return 0
        self.met = self.met or (call, errno.errorcode[code], path)
        return code


def _path(pid: int, arguments: tuple[int, ...], descriptor: int | None, name: int | None) -> str:
    """The path that a call is about."""
    if name is None:
        assert descriptor is not None
        return str(Path(f"/proc/{pid}/fd/{arguments[descriptor]}").readlink())
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        memory.seek(arguments[name])
        page = 4096 - arguments[name] % 4096
        spelled = memory.read(page)
        if b"\0" not in spelled:
            spelled += memory.read(4096)
    path = os.fsdecode(spelled.partition(b"\0")[0])
    if path.startswith("/"):
        return path
    at = arguments[descriptor] & 0xFFFFFFFF if descriptor is not None else 0xFFFFFF9C
    base = Path(f"/proc/{pid}", "cwd" if at == 0xFFFFFF9C else f"fd/{at}").readlink()
    return os.path.normpath(f"{base}/{path}")


if __name__ == "__main__":
    _serve()
