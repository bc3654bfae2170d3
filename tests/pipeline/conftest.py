"""The toy stage, known to the pipeline while these tests run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.pipeline.run.stage import declared
from tests.support.toy_stage import TOY

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def toy() -> Iterator[None]:
    """Let plans name the toy stage, and workers import it."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [path])])
    with declared(kinds=(TOY,)):
        yield
    del os.environ["PYTHONPATH"]
    if path is not None:
        os.environ["PYTHONPATH"] = path
