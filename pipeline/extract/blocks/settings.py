"""What a user can ask of the block extractor."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class BlocksSettings(BaseModel):
    """How much to keep and in which form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recall_weight: float = Field(
        default=1.0,
        gt=0,
        le=10,
        description="beta of the expected F-beta a page is cut by: above 1 keeps more, below 1 less.",
    )
    format: Literal["text", "markdown"] = "text"
    metadata: bool = Field(default=True, description="Read title, author, date, site name and canonical URL.")
    model: str | None = Field(
        default=None, description="Folder of another model; the shipped one by default."
    )


# What the recipe's `favor` means here; measured in docs/extractor.md.
RECALL_WEIGHT = {"precision": 0.6, "balanced": 1.0, "recall": 1.7}
