"""Keep a run's report fresh while it lives, and write it once more when it ends, however it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run_folder import RUN_FILE

EVERY_SECONDS = 60.0
_SHARE = 20  # a report that takes long to draw is drawn rarely: at most a twentieth of the time goes into it


@contextmanager
def followed(out: Path, say: Callable[[str], None], every_seconds: float = EVERY_SECONDS) -> Iterator[None]:
    """Rewrite `out/report.html` from time to time while the body runs; a report that fails is said, never raised."""
    over = threading.Event()

    def follow() -> None:
        wait = every_seconds
        while not over.wait(wait):
            began = time.monotonic()
            _write(out, say)
            wait = max(every_seconds, _SHARE * (time.monotonic() - began))

    thread = threading.Thread(target=follow, name="report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _write(out, say)


def _write(out: Path, say: Callable[[str], None]) -> None:
    if not (out / RUN_FILE).exists():
        return
    try:
        write_report(out)
    except Exception as error:  # a page about the run must not end the run
        say(f"  the report could not be written: {error}")
