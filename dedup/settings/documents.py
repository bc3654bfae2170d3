"""What deduplication of whole documents can be asked for: who is compared, and who stays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Mode = Literal["drop", "mark"]
Survivor = Annotated[str, StringConstraints(pattern=r"^(longest|newest|oldest|id|best:.+)$")]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentSettings(Settings):
    """What exact and fuzzy deduplication of whole documents share."""

    scope: str = Field(
        "all",
        min_length=1,
        description="compare within: `all`, `source`, or the name of any column, such as a snapshot",
    )
    survivor: Survivor = Field(
        "longest",
        description=(
            "who stays in a cluster: longest (text bytes), newest, oldest (date), best:COLUMN (highest"
            " number), id"
        ),
    )
    source_priority: tuple[str, ...] = Field(
        (), description="sources that win before `survivor` is asked, best first; others come after"
    )
    snapshot_column: str | None = Field(
        None, description="the column that names the crawl, counted in num_snapshots"
    )
    mode: Mode = Field(
        "drop",
        description=(
            "drop removes duplicates; mark keeps all and writes the same columns, for mixtures that upsample"
        ),
    )
    # The alarm decides whether a step is published, never what is in it: `exclude` keeps it out of the step's
    # identity.
    alarm_fraction: float = Field(
        0.8,
        gt=0,
        le=1,
        exclude=True,
        description="stop when a source loses a larger share (Marin lost 97 % of Gutenberg unseen)",
    )
    alarm_documents: int = Field(
        1000, ge=1, exclude=True, description="sources smaller than this never ring the alarm"
    )
    allow_wipe_out: bool = Field(False, exclude=True, description="go on when the alarm rings")


class ExactSettings(DocumentSettings):
    """Exact duplicates: equal normalised text, or equal normalised URL."""

    key: Literal["text", "url"] = Field("text", description="what must be equal")
    normalise: Literal["none", "space", "letters"] = Field(
        "space",
        description=(
            "none; space: NFC, white space runs to one blank, ends cut; letters: also case-folded and word"
            " characters only"
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _newest_of_a_url(cls, values: object) -> object:
        # C4 keeps the newest page of a URL (tensorflow_datasets c4.py).
        if isinstance(values, dict) and values.get("key") == "url" and "survivor" not in values:
            return {**values, "survivor": "newest"}
        return values
