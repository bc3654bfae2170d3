"""What a user can ask of the block extractor."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gristmill.pipeline.extract.blocks import layout as L


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
    links: bool = Field(default=False, description="In Markdown, keep the addresses of links.")
    emphasis: bool = Field(default=False, description="In Markdown, keep bold and italics.")
    images: bool = Field(default=False, description="Keep images' alternative texts, in Markdown.")
    comments: bool = Field(default=True, description="Keep readers' comments under an article.")
    headline: bool = Field(default=True, description="Keep the headline above an article, and its lead.")
    metadata: bool = Field(default=True, description="Read title, author, date, site name and canonical URL.")
    model: str | None = Field(
        default=None, description="Folder of another model; the shipped one by default."
    )

    def mode(self) -> int:
        """The bits of `layout` that ask the tokenizer for phrases."""
        if self.format == "text":
            return L.WITH_CODE
        asked = ((self.links, L.WITH_LINKS), (self.emphasis, L.WITH_EMPHASIS), (self.images, L.WITH_IMAGES))
        return L.WITH_CODE | sum(bit for is_asked, bit in asked if is_asked)


# What the recipe's `favor` means here; measured in docs/extractor.md.
RECALL_WEIGHT = {"precision": 0.6, "balanced": 1.0, "recall": 1.7}
