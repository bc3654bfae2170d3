"""The record of answers: appended to before anything else is made of them, so that a kill repeats none.

    OUT/answers/SOURCE/BITS-PREFIX.jsonl

A file has lines `{"sent": REQUEST}`, written before a request leaves, and `{"answer": REQUEST, ...}` or
`{"refused": REQUEST}`, written as soon as it comes back. What was sent and did not come back (its client was
killed, the connection broke, it took too long) may have been charged: it is counted as lost. Files outlive
the steps that use them: a changed filter, or seed, asks only for what has no answer. A file holds the
requests whose digests begin with PREFIX in BITS bits; one with fewer or more bits, of a run over less or
more, is read as well.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gristmill.errors import LockedError
from gristmill.files.inside import parsed

FOLDER = "answers"
_HOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: `finish` as it says (stop, length, ...), tokens as it counts them."""

    text: str
    finish: str | None
    tokens_in: int
    tokens_out: int
    model: str | None = None
    is_estimated: bool = False  # the tokens: the server did not count


class AnswerRecord:
    """The answers of one part of the requests, known and to come; one task at a time writes."""

    def __init__(self, folder: Path, bits: int, part: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_name(bits, part)}.jsonl"
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        _hold(self._file, path)
        self.known: dict[str, Answer] = {}
        self.lost = Counter[str]()  # how often each was sent and did not come back; those in flight, too
        for path in sorted(folder.glob("*.jsonl")):
            if _shares(path.stem, bits, part):
                self._read(path)
        _end_line(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sync()
        os.close(self._file)

    def sent(self, request: str) -> None:
        """Write down that a request is about to leave."""
        self._append({"sent": request})
        self.lost[request] += 1

    def refused(self, request: str) -> None:
        """Write down that a request came back without an answer, or never left: it was not paid."""
        self._append({"refused": request})
        self._came_back(request)

    def put(self, request: str, answer: Answer) -> None:
        """Write down an answer; it is on its way to the disk when this returns, and there after `sync`."""
        self._append({"answer": request, **asdict(answer)})
        self._came_back(request)
        self.known[request] = answer

    def sync(self) -> None:
        """Have all that was written reach the disk."""
        os.fsync(self._file)

    def _append(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        while data:
            data = data[os.write(self._file, data) :]

    def _read(self, path: Path) -> None:
        for line in _lines(path):
            if request := line.pop("answer", None):
                self._came_back(request)
                self.known[request] = Answer(**line)
            elif request := line.get("sent"):
                self.lost[request] += 1
            elif request := line.get("refused"):
                self._came_back(request)

    def _came_back(self, request: str) -> None:
        self.lost[request] -= 1
        if self.lost[request] <= 0:
            del self.lost[request]


def bits_for(num_requests: int, per_part: int) -> int:
    """Into how many parts requests are cut: 2 to the power of this."""
    return max(0, (max(1, -(-num_requests // per_part)) - 1).bit_length())


def _name(bits: int, part: int) -> str:
    return f"{bits}-{part:x}"


def _shares(name: str, bits: int, part: int) -> bool:
    """Whether a file may hold requests of a part: one prefix begins the other."""
    own, _, prefix = name.partition("-")
    try:
        other_bits, other = int(own), int(prefix, 16)
    except ValueError:
        return False
    shared = min(bits, other_bits)
    return part >> (bits - shared) == other >> (other_bits - shared)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file; what a crash cut off is none."""
    with path.open("rb") as file:
        for line in file:
            try:
                value = parsed(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def _end_line(file: int) -> None:
    """End a line that a crash cut off, so that the next one is whole."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")


def _hold(file: int, path: Path) -> None:
    """Be the only one that asks for this part: the worker of a killed run may live for seconds more.

    Raises LockedError for one that does not end; where there are no such locks, none is held.
    """
    until = time.monotonic() + _HOLD_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return
        if time.monotonic() > until:
            os.close(file)
            raise LockedError(
                "another process asks for the same requests",
                where=str(path),
                hint="wait for it to end, or end it: two would pay for the same twice",
            )
        time.sleep(0.2)
