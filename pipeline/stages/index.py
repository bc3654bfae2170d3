"""A full-text index of what a run kept and removed, so that searching it reads no texts."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gristmill.pipeline.run.libraries import COLUMNS
from gristmill.pipeline.run.stage import Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class IndexSettings(BaseModel):
    """What is indexed: the words of texts. `index: text` is all there is to say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: Literal["text"] = Field("text", description="the words of kept and removed documents")
    documents: int = Field(250_000, ge=1, description="in one index file, about; a search asks every file")

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"of": value} if isinstance(value, str) else value


class IndexSlice(Slice):
    index: IndexSettings


INDEX = StageKind(
    "index", IndexSlice, "gristmill.pipeline.phases.indexing.text_index:index", version=2, libraries=COLUMNS
)


def plan(making: Making, settings: IndexSettings | None) -> None:
    """One step over all that wrote documents or let some go."""
    if settings is not None:
        inputs = tuple(step.name for step in making.steps)
        sqlite = {"sqlite": sqlite3.sqlite_version}
        making.add("index", INDEX, IndexSlice(index=settings), inputs, sqlite)


SECTIONS = (Section("index", IndexSettings, plan, order=75, kinds=(INDEX,)),)
