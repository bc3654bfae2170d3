"""Compiled kernels are cached by what they are made of, in whichever files that stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.text import kernel, words

MODULES = {
    "__init__": "",
    "text/__init__": "",
    "factor": "FACTOR = 2\n",
    "helper": (
        "from numba import njit\n\nimport gristmill.text.kernel\n\n\n@njit(cache=True)\ndef more(x):\n   "
        " return x + 1\n"
    ),
    "kernels": (
        """
from numba import njit, types

from gristmill.factor import FACTOR
from gristmill.helper import more


@njit([types.int64(types.int64)], cache=True)
def result(x):
    return more(x) * FACTOR


print(result(1), sum(result.stats.cache_hits.values()))
"""
    ),
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of this one's name with a kernel, a helper and a constant, each in a file of its own."""
    root = tmp_path / "gristmill"
    (root / "text").mkdir(parents=True)
    for name, source in MODULES.items():
        (root / f"{name}.py").write_text(source)
    shutil.copy(kernel.__file__, root / "text" / "kernel.py")
    return root


def run(package: Path) -> tuple[int, int]:
    """Import the kernel in a process of its own; return its result, and how often its machine code came from
    the cache."""
    home = package.parent
    environment = {
        **os.environ,
        "PYTHONPATH": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", "import gristmill.kernels"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=home)
    result, hits = done.stdout.split()
    return int(result), int(hits)


def test_what_a_kernel_is_made_of_names_its_machine_code_wherever_it_stands(package: Path) -> None:
    assert run(package) == (4, 0)
    (package / "stranger.py").write_text(MODULES["helper"])
    assert run(package) == (4, 1)
    (package / "helper.py").write_text(MODULES["helper"].replace("x + 1", "x + 2"))
    (package / "factor.py").write_text("FACTOR = 3\n")
    assert run(package) == (9, 0)


def test_the_closure_follows_every_form_of_import() -> None:
    closure = kernel.import_closure("gristmill.filters.published.c4")
    filters = ("block", "edits", "published.constants", "rules")
    assert {f"gristmill.filters.{name}" for name in filters} <= set(closure)
    assert {f"gristmill.text.{name}" for name in ("kernel", "points", "tables", "words")} <= set(closure)
    assert "gristmill.text.kernel" in kernel.import_closure(
        "gristmill.tokenize.mixing.ranges"
    )  # from gristmill.text import kernel
    assert not any(name.startswith(("gristmill.dedup", "gristmill.pipeline")) for name in closure)


def test_kernels_are_cached_below_the_folder_of_their_module() -> None:
    assert words._scan._cache.cache_path == str(kernel.cache_folder("gristmill.text.words"))


def test_kernels_start_without_scipys_algebra_and_who_needs_it_has_it() -> None:
    pytest.importorskip("scipy")
    script = (
        "import sys, numba, numpy as np\n"
        "from gristmill.text.word_counts import num_words  # noqa: F401\n"
        "assert 'scipy.linalg' not in sys.modules\n"
        "product = numba.njit(lambda a, b: np.dot(a, b))\n"
        "assert (product(np.eye(2), np.eye(2)) == np.eye(2)).all()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
