"""fastText's training in a process of its own, in which fresh memory is zero: one model from every build.

With fewer than ten threads fastText initialises a tenth of its input matrix. fasttext-wheel 0.9.2 keeps the
matrix in a vector that is zero to begin with; fasttext-modern 0.10.0 and others take what the allocator has,
which is zero in a young process and anything in an old one: of twelve trainings in a process whose heap had
held NaN, eleven ended in "Encountered NaN". glibc fills what it hands out with the complement of
MALLOC_PERTURB_, so 255 gives zeros, and all twelve have the bytes of fasttext-wheel. Where there is no glibc,
the process is young.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gristmill
from gristmill.errors import InputError

_PR_SET_PDEATHSIG = 1


def train_supervised(examples: Path, model: Path, settings: Mapping[str, Any]) -> None:
    """Train on a file of labelled lines and save the model; raises InputError with fastText's own words."""
    root = str(Path(gristmill.__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "MALLOC_PERTURB_": "255"}
    order = {"input": str(examples), "model": str(model), "settings": dict(settings)}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(order),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(
            f"fastText failed to train on {examples.stat().st_size:,} bytes of examples (exit code"
            f" {done.returncode}): {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}"
        )


def main() -> None:
    with contextlib.suppress(OSError, AttributeError):  # it ends with the process that waits for it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    order = json.load(sys.stdin)
    import fasttext

    model = fasttext.train_supervised(input=order["input"], **order["settings"])
    model.save_model(order["model"])
    _check_saved(model, Path(order["model"]))


def _check_saved(model: Any, path: Path) -> None:
    """fastText's stream says nothing of a disk that was full: its file must end as the model does."""
    tail = model.get_output_matrix().tobytes()
    with path.open("rb") as file:
        file.seek(-min(len(tail), path.stat().st_size), os.SEEK_END)
        if file.read() != tail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


if __name__ == "__main__":
    main()
