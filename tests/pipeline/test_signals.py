import os
import signal

import pytest

from gristmill.errors import Interrupted
from gristmill.pipeline.run.signals import check, stopped_by_signals


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
