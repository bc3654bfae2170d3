"""The list of verbs that `gristmill --help` prints: by what one comes to do, with whole first sentences.

A module of `pipeline/verbs/` says where its verbs stand by `GROUP`; one verb that stands elsewhere says so as
`app.command(name, rich_help_panel=...)`. Verbs of a module that says nothing come last.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

START = "Start here"
RECIPES = "Run a recipe"
STAGES = "One stage at a time, from a recipe or on plain files"
TOKENS = "Tokens and models"
LOOK = "Look into a run"
HAND_OVER = "Hand over, publish and clean what a run made"
MEASURE = "Measure and compare"
OTHERS = "More verbs"
GROUPS = (START, RECIPES, STAGES, TOKENS, LOOK, HAND_OVER, MEASURE, OTHERS)


class Verbs(TyperGroup):
    """The top of the command line; its list of verbs is in groups and cuts no description short."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Verbs by group, in each as they were registered."""

        return sorted(self.commands, key=lambda name: GROUPS.index(_group_of(self.commands[name])))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        wide = max((len(name) for name in self.commands), default=0)
        for group in GROUPS:
            rows = [
                (name.ljust(wide), first_sentence(command.help or ""))
                for name in self.list_commands(ctx)
                if not (command := self.commands[name]).hidden and _group_of(command) == group
            ]
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)


def place_verbs(app: typer.Typer, module: ModuleType) -> None:
    """Put the verbs that a module has just registered into its group."""
    infos: list[Any] = [*app.registered_commands, *app.registered_groups]
    for info in infos:
        if not isinstance(info.rich_help_panel, str):
            info.rich_help_panel = getattr(module, "GROUP", OTHERS)


def first_sentence(text: str) -> str:
    """Return what a help text begins with, up to its first blank line, on one line."""
    return " ".join(text.split("\n\n")[0].split())


def _group_of(command: Any) -> str:
    group = getattr(command, "rich_help_panel", None)
    return group if group in GROUPS else OTHERS
