"""A program of ours looks for cycles seldom, and for none while it imports; whoever set it otherwise is left
alone."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from gristmill import collecting
from gristmill.collecting import collect_seldom, importing


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(collecting, "_ours", False)
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*before)


@pytest.mark.parametrize(("before", "after"), [(700, 20_000), (2000, 20_000), (50_000, 50_000), (0, 0)])
def test_only_a_lower_threshold_is_raised(before: int, after: int) -> None:
    gc.set_threshold(before, 10, 10)
    collect_seldom()
    assert gc.get_threshold()[:2] == (after, 10)


def test_what_is_imported_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with importing():
        assert gc.isenabled(), "another's program is left alone"
    collect_seldom()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled() and not gc.get_freeze_count(), "no module came"
    with pytest.raises(ImportError), importing():
        monkeypatch.setitem(sys.modules, "came_and_failed", gc)
        raise ImportError("no such module")
    assert gc.isenabled() and gc.get_freeze_count()


def test_who_looks_for_no_cycles_is_left_alone() -> None:
    collect_seldom()
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled() and not gc.get_freeze_count()


def test_the_command_line_begins_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    from gristmill.pipeline.cli import main

    gc.set_threshold(700, 10, 10)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert gc.get_threshold()[0] == 20_000
