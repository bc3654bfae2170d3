"""The trainer's own command line, for a node that has torch and numpy and nothing else."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gristmill.errors import GristmillError, UsageError
from gristmill.overrides import assign


def main(run: Callable[[dict[str, Any]], dict[str, Any]], arguments: list[str] | None = None) -> None:
    """Parse, train by `run`, print the summary as JSON; exit with the code of the error's kind."""
    parser = argparse.ArgumentParser(
        prog="python -m gristmill.trainer.train", description="Train a model on token shards."
    )
    parser.add_argument("--shards", help="shard folder")
    parser.add_argument(
        "--out", dest="run", help="run folder: log, checkpoints, summary"
    )  # torchrun would take --run for its own
    parser.add_argument("--heldout", help="shard folder with split heldout")
    parser.add_argument("--config", type=Path, help="settings as a JSON file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, such as optimizer.lr=3e-4",
    )
    options = parser.parse_args(arguments)
    try:
        summary = run(_settings(options))
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(summary))
    except GristmillError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if options.config:
        try:
            values = json.loads(options.config.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"the settings cannot be read: {error}", where=str(options.config)) from error
    for key in ("shards", "run", "heldout"):
        if getattr(options, key) is not None:
            values[key] = getattr(options, key)
    return with_settings(values, options.set)


def with_settings(values: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Return settings with `a.b=c` assignments applied."""
    values = json.loads(json.dumps(values))
    for assignment in assignments:
        assign(values, assignment)
    return values
