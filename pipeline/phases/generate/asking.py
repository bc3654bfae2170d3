"""Ask a server in a thread of its own, and wait for it in a way that a signal can end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from gristmill.pipeline.run import signals
from gristmill.pipeline.synthesis.answers import AnswerRecord
from gristmill.pipeline.synthesis.client import Asker, Outcomes, Request
from gristmill.pipeline.synthesis.settings import Server
from gristmill.pipeline.synthesis.spending import Spending

_POLL_SECONDS = 0.2


def ask(
    requests: Sequence[Request],
    server: Server,
    record: AnswerRecord,
    spending: Spending,
    key: str | None,
    told: Callable[[int], None] = lambda done: None,
) -> Outcomes:
    """Ask for all, in order, in a thread of its own; an interruption lets those in flight end, for they are
    paid."""
    asker = Asker(server, record, spending, key, told)
    ended = threading.Event()  # a `join` that a signal interrupts takes its thread for ended (Python 3.11)

    def run() -> None:
        asker.run(requests)
        ended.set()

    threading.Thread(target=run, name="asker", daemon=True).start()
    try:
        while not ended.wait(_POLL_SECONDS):
            signals.check()
    except BaseException:
        asker.stop()
        with signals.patience(f"{asker.in_flight} requests in flight, which are paid", asker.give_up):
            while not ended.wait(_POLL_SECONDS):
                pass
        raise
    if asker.error:
        raise asker.error
    return asker.outcomes
