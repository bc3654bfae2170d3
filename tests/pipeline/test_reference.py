"""docs/recipe.md and the JSON Schema are those of the models, and leave no key without a meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from gristmill.pipeline.recipe.model import recipe_model
from gristmill.pipeline.recipe.reference import markdown, schema

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_that_of_the_models() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert page == markdown(), "run `gristmill schema --markdown > docs/recipe.md` and commit it"


def test_every_key_has_type_default_and_meaning() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    bare = [row for row in rows if any(not cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])]
    assert len(rows) > 200 and not bare


def test_the_schema_knows_every_section_and_bound() -> None:
    found = schema()
    json.dumps(found)
    assert set(found["properties"]) == set(recipe_model().model_fields)
    assert found["additionalProperties"] is False
    assert found["$defs"]["FuzzySettings"]["properties"]["threshold"]["maximum"] == 1.0


def test_shipped_recipes_hold_only_keys_of_the_schema() -> None:
    known = set(schema()["properties"])
    for path in (ROOT / "pipeline" / "recipes").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())) <= known, path.name
