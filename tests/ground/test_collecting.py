"""A program of ours looks for cycles seldom; whoever set it otherwise is left alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from gristmill.collecting import collect_seldom


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("before", "after"), [(700, 20_000), (2000, 20_000), (50_000, 50_000), (0, 0)])
def test_only_a_lower_threshold_is_raised(before: int, after: int) -> None:
    gc.set_threshold(before, 10, 10)
    collect_seldom()
    assert gc.get_threshold()[:2] == (after, 10)


def test_the_command_line_begins_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    from gristmill.pipeline.cli import main

    gc.set_threshold(700, 10, 10)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert gc.get_threshold()[0] == 20_000
