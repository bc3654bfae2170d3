"""Extractors that misbehave on command: the page says how. Loaded by the extractor's process in tests."""

from __future__ import annotations

import ctypes
import os
import re
import time

from gristmill.pipeline.extract.extracted import Extracted
from gristmill.pipeline.extract.extractors import Extractor


def hostile() -> Extractor:
    """Return an extractor that does what `<meta name="do" content="...">` says, else returns the page."""

    def extract(html: str | bytes, url: str | None) -> Extracted:
        page = html if isinstance(html, str) else html.decode()
        found = re.search(r'name="do" content="(\w+)"', page)
        if found:
            _ACTS[found[1]]()
        print("noise on stdout")  # must not end up between the frames
        return Extracted(re.sub(r"<[^>]*>", " ", page).strip())

    return extract


def _loop() -> None:
    while True:
        pass


def _burn(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def _hold_the_lock() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")  # one C call that never lets go of the interpreter


def _bloat() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(32 << 20))


def _recurse() -> None:
    _recurse()


def _surrogate() -> None:
    raise ValueError("a lone \ud800 in a message")


def _leave_an_orphan() -> None:
    if os.fork() == 0:  # holds the pipes open
        time.sleep(3600)
    ctypes.string_at(1)


def _close_and_sleep() -> None:
    os.closerange(3, 64)
    time.sleep(3600)


_ACTS = {
    "orphan": _leave_an_orphan,
    "close": _close_and_sleep,
    "loop": _loop,
    "sleep": lambda: time.sleep(3600),
    "hold": _hold_the_lock,
    "bloat": _bloat,
    "segfault": lambda: ctypes.string_at(1),
    "exit": lambda: os._exit(7),
    "half": lambda: _burn(0.5),
    "long": lambda: _burn(1.5),
    "kill": lambda: os.kill(os.getpid(), 9),
    "recurse": _recurse,
    "raise": _surrogate,
}
