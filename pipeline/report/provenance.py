"""How to make it again: the resolved recipe, versions, digests and the command."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.markup import Cell, Section, command, details, join, note, table, tag


def provenance_section(view: RunView) -> Section:
    libraries: dict[str, str] = {}
    for step in view.steps:
        libraries |= step.manifest.ingredients.get("libraries", {}) if step.manifest else {}
    steps = [
        [
            step.name,
            tag("code", step.manifest.identity[:12]),
            tag("code", step.manifest.content_digest[:12]),
            Cell(len(step.manifest.files), len(step.manifest.files)),
        ]
        for step in view.steps
        if step.manifest
    ]
    versions = sorted({**libraries, "gristmill": view.version}.items())
    recipe = yaml.safe_dump(plain(view.recipe), sort_keys=False, allow_unicode=True, width=100)
    body = [
        tag("p", "Save the recipe below as ", tag("code", "recipe.yaml"), ", then:"),
        tag("pre", command("gristmill run recipe.yaml --out", shlex.quote(str(view.out)))),
        note(
            "The same recipe and inputs give the same bytes, for any number of workers; compare the digests."
        ),
        details("The resolved recipe", tag("pre", tag("code", recipe)), open_=len(recipe.splitlines()) < 30),
        details("Steps and digests", table(["step", "identity", "content", "files"], steps)) if steps else "",
        tag("h3", "Versions"),
        tag(
            "dl",
            *(tag("div", tag("dt", name), tag("dd", version)) for name, version in versions),
            class_="versions",
        ),
    ]
    return Section("recipe", "Recipe and versions", join(body), "What made this, to the letter.", "Recipe")


def plain(value: Any) -> Any:
    """Copy mappings and sequences into what YAML writes plainly."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
