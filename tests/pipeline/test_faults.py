"""The N-th operation on the file system fails, for N = 1, 2, ... until none does: nothing half-made, and
resuming heals."""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import GristmillError
from gristmill.manifest import MANIFEST, read_manifest
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.runner import run_plan
from tests.support.toy_stage import INLINE, QUIET, plan

OPERATIONS = (
    (os, "fsync"),
    (os, "link"),
    (os, "open"),
    (pathlib.Path, "open"),
    (pathlib.Path, "replace"),
    (pathlib.Path, "mkdir"),
)


class Fault:
    """Counts operations below one folder and fails the N-th: once, or from then on."""

    def __init__(self, folder: Path, nth: int, code: int, *, persistent: bool) -> None:
        self.folder, self.nth, self.code, self.persistent = str(folder), nth, code, persistent
        self.count, self.fired = 0, False

    def __call__(self, *arguments: Any) -> None:
        # An open descriptor is one of ours if it points below the folder.
        named = next((str(argument) for argument in arguments if isinstance(argument, str | Path)), None)
        if named is None and arguments and isinstance(arguments[0], int):
            named = str(Path(f"/proc/self/fd/{arguments[0]}").readlink())
        if named is None or not named.startswith(self.folder):
            return
        self.count += 1
        if self.count == self.nth or (self.persistent and self.count > self.nth):
            self.fired = True
            raise OSError(self.code, os.strerror(self.code), named)


@contextmanager
def failing(fault: Fault) -> Iterator[None]:
    originals = [(place, name, getattr(place, name)) for place, name in OPERATIONS]
    for place, name, original in originals:

        def guarded(*arguments: Any, _original: Any = original, **keywords: Any) -> Any:
            fault(*arguments)
            return _original(*arguments, **keywords)

        setattr(place, name, guarded)
    try:
        yield
    finally:
        for place, name, original in originals:
            setattr(place, name, original)


@pytest.fixture(autouse=True)
def _a_disk_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of runs need not reach the platters; faults still hit the call."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize(
    ("code", "persistent"),
    [
        (errno.ENOSPC, True),
        *(
            pytest.param(code, again, marks=pytest.mark.slow)
            for code in (errno.EIO, errno.EACCES)
            for again in (False, True)
        ),
    ],
)
def test_every_failing_operation_leaves_a_run_that_resumes_to_the_same_result(
    tmp_path: Path, code: int, persistent: bool
) -> None:
    expected = run_plan(plan(), tmp_path / "undisturbed", INLINE, QUIET).manifests["toy/a"]
    for nth in range(1, 400):
        out = tmp_path / "out"
        fault = Fault(out, nth, code, persistent=persistent)
        with failing(fault):
            try:
                run_plan(plan(), out, INLINE, QUIET)
            except (GristmillError, OSError) as error:
                assert str(error)
        _nothing_half_made_is_visible(out)
        healed = run_plan(plan(), out, INLINE, QUIET).manifests["toy/a"]
        assert healed.content_digest == expected.content_digest
        assert list(verify(out)) == []
        shutil.rmtree(out)
        if not fault.fired:
            assert nth > 20, "the faults did not reach the run"
            return
    pytest.fail("the run never came to an end without a fault")


def _nothing_half_made_is_visible(out: Path) -> None:
    """Whatever a reader can open is whole: every manifest reads, and every file it names is there."""
    for path in out.glob(f"steps/*/{MANIFEST}"):
        manifest = read_manifest(path.parent)
        assert all((path.parent / entry.path).stat().st_size == entry.bytes for entry in manifest.files)


def test_an_attempt_that_wakes_after_another_committed_does_no_harm(tmp_path: Path) -> None:
    from gristmill.pipeline.run.attempt import attempt
    from gristmill.pipeline.run.job import Shared

    done = run_plan(plan(), tmp_path / "out", INLINE, QUIET).manifests["toy/a"]
    before = {path: path.read_bytes() for path in sorted(done.folder.rglob("*")) if path.is_file()}
    arguments = {
        "number": 2,
        "flaky": None,
        "poison": None,
        "fault": None,
        "kill": None,
        "starts": None,
        "seconds": 0.0,
    }
    attempt(
        done.folder,
        "map",
        "00001",
        "tests.support.toy_stage:square",
        {"number": arguments.pop("number")},
        Shared(arguments=arguments),
    )
    after = {path: path.read_bytes() for path in sorted(done.folder.rglob("*")) if path.is_file()}
    assert before == after
    assert "tests.support.toy_stage" in sys.modules
