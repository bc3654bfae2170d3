"""The output folder of a run as its readers open it: the run file, and the manifests of finished steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gristmill.errors import IntegrityError, UsageError
from gristmill.manifest import Manifest, read_manifest

RUN_FILE = "run.json"
PROGRESS = "progress.json"  # in the folder of a step at work: which phase it is in and how many tasks that has


def read_run(out: Path) -> dict[str, Any]:
    """Read the run file of an output folder; raises UsageError when there is none."""
    try:
        return dict(json.loads((out / RUN_FILE).read_bytes()))
    except FileNotFoundError:
        kind = (
            "is empty"
            if out.is_dir() and not any(out.iterdir())
            else "is not an output of gristmill"
            if out.exists()
            else "does not exist"
        )
        raise UsageError(f"`{out}` {kind}: it holds no {RUN_FILE}", hint="name the folder given to `--out`") from None
    except json.JSONDecodeError as error:
        raise IntegrityError(
            f"`{out / RUN_FILE}` is damaged: {error}", hint="run the recipe again: finished steps are found and reused"
        ) from None


def finished_steps(out: Path) -> dict[str, Manifest]:
    """Open the manifests of every step the run file names as finished, in the order they ran."""
    return {entry["name"]: read_manifest(out / entry["folder"]) for entry in read_run(out)["steps"]}
