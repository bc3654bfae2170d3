"""The trainer's own command line, for a node that has torch and numpy and nothing else."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gristmill.errors import GristmillError, UsageError
from gristmill.files.inside import inert, parsed
from gristmill.overrides import assign
from gristmill.trainer.config import Settings


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
    parser.add_argument("--from", dest="branch", metavar="RUN@STEP", help="branch from a checkpoint")
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
        print(f"error: {inert(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if options.config:
        try:
            values = parsed(options.config.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"the settings cannot be read: {error}", where=str(options.config)) from error
    for key in ("shards", "run", "heldout", "branch"):
        if getattr(options, key) is not None:
            values[key] = getattr(options, key)
    return with_settings(values, options.set)


def with_settings(values: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Return settings with `a.b=c` assignments applied.

    A name that only one section has does without it: `schedule=decay` is `optimizer.schedule=decay`.
    """
    values = json.loads(json.dumps(values))
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        section, dot, _ = name.partition(".")
        if dot and isinstance(values.get(section), str):
            raise UsageError(
                f"--set {assignment}: `{section}` was set to {values[section]!r}, it is a section",
                hint="name the setting inside it, such as optimizer.name=muon",
            )
        assign(values, f"{_full_name(name)}{equals}{value}")
    return values


def _full_name(name: str) -> str:
    fields = typing.get_type_hints(Settings)
    if "." in name or name in fields:
        return name
    sections = [key for key, kind in fields.items() if dataclasses.is_dataclass(kind)]
    found = [section for section in sections if name in typing.get_type_hints(fields[section])]
    return f"{found[0]}.{name}" if len(found) == 1 else name
