import os
import signal

import pytest

from gristmill.errors import Interrupted
from gristmill.pipeline.run.signals import check, patience, stopped_by_signals


def test_an_interruption_that_a_library_swallows_is_raised_again() -> None:
    with pytest.raises(Interrupted) as caught, stopped_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception as error:
            assert "SIGTERM" in str(error)
        check()
    assert caught.value.exit_code == 143
    check()  # the next run starts afresh


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopped_by_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_on_the_way_out_another_signal_ends_what_is_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    ended: list[str] = []
    with pytest.raises(Interrupted), stopped_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            with patience("a checkpoint", lambda: ended.append("at once")):
                assert not ended
                os.kill(os.getpid(), signal.SIGINT)
                assert ended == ["at once"]
    assert "waiting for a checkpoint; Ctrl-C again ends at once" in capfd.readouterr().err
