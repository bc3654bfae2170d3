"""Fixtures that several parts share."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# A slow machine is no failure, and a suite that passed passes again: examples are the same in each run, and
# HYPOTHESIS_PROFILE=search looks for others, as one does after a change.
hypothesis.settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("search", hypothesis.settings.get_profile("same"), derandomize=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _verbs() -> None:
    """Hang the verbs on the app: a test that calls it knows them, whichever ran before."""
    from gristmill.pipeline.cli import register

    register()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real test data, or skip: the data never enters the repository."""
    candidates = [os.environ.get("GRISTMILL_SHARED_DATA"), str(ROOT.parent / "shared" / "data")]
    for candidate in candidates:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("real test data is not beside the checkout")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--force-golden", action="store_true", help="write golden files anew instead of comparing with them"
    )
