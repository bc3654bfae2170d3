"""The toy stage, known to the pipeline while these tests run; the object store of the tests of sources is at hand."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.pipeline import steps
from gristmill.pipeline.steps import StageKind

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sources"))


@pytest.fixture(scope="session", autouse=True)
def toy() -> Iterator[None]:
    """Let plans name the toy stage, and workers import it."""
    before, steps.STAGES = steps.STAGES, {**steps.STAGES, "toy": StageKind("toy:squares", 1)}
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [path])])
    yield
    steps.STAGES = before
    del os.environ["PYTHONPATH"]
    if path is not None:
        os.environ["PYTHONPATH"] = path
