"""What a user says about extraction."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gristmill.text.languages import check_language, language_code, script_code


class ExtractSettings(BaseModel):
    """Gates before extraction, the extractor, and the bounds it is held to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    extractor: Literal["trafilatura", "resiliparse", "blocks", "auto"] = Field(
        default="auto", description="Who finds the main text; `auto` is the best measured for the language."
    )
    favor: Literal["balanced", "precision", "recall"] = Field(
        default="balanced", description="What the extractor leans to."
    )
    pdf: Literal["remove", "text"] = Field(
        default="remove",
        description="text: the text layer of a PDF becomes a document; remove: a PDF is removed as binary.",
    )
    format: Literal["text", "markdown"] = Field(
        default="text", description="The form of the text; resiliparse writes no Markdown."
    )
    links: bool = Field(default=False, description="In Markdown, keep the addresses of links.")
    emphasis: bool = Field(default=False, description="In Markdown, keep bold and italics.")
    images: bool = Field(
        default=False, description="In Markdown, keep images' alternative texts (`blocks`, trafilatura)."
    )
    comments: bool = Field(
        default=True,
        description=(
            "Keep readers' comments under an article; without them threads still keep their posts (`blocks`,"
            " trafilatura)."
        ),
    )
    headline: bool = Field(
        default=True,
        description=(
            "Keep the block above the text that repeats the page's title, and a lead behind it, where the"
            " classifier of `blocks` leaves them out (`blocks`)."
        ),
    )
    statuses: list[int] = Field(
        default=[200], description="HTTP status codes kept; records without HTTP pass."
    )
    content_types: list[str] = Field(
        default=["text/html", "application/xhtml+xml"],
        description=(
            "Media types kept; a page that names none passes if it begins like HTML. Of text/plain, the text"
            " is the page."
        ),
    )
    block_urls: list[str] = Field(
        default=[], description="Regular expressions; a page whose URL one of them matches is removed."
    )
    block_domains: list[str] = Field(
        default=[], description="Hosts, with all hosts below them, whose pages are removed."
    )
    language: Literal["detect", "off"] = Field(
        default="detect",
        description=(
            "off: no detector is asked, and documents have a language only where `columns.language` of their"
            " source names it; rules that go by it are refused."
        ),
    )
    html_languages: list[str] = Field(
        default=[], description="Languages (ISO 639-1) a page's raw HTML must be in; empty: any."
    )
    min_page_bytes: int = Field(default=1, ge=0, description="A smaller page is removed.")
    max_page_bytes: int = Field(
        default=20_000_000, ge=1, description="A larger page is a failed row; trafilatura's MAX_FILE_SIZE."
    )
    min_text_bytes: int = Field(default=1, ge=1, description="A page with less text is removed.")
    max_broken_fraction: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="A text of which more characters are U+FFFD or controls is removed: it never was one.",
    )
    deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        description="CPU time for one page; a page that sleeps ends after twenty times as long.",
    )
    memory_bytes: int = Field(
        default=1 << 30, ge=64 << 20, description="Address space a page may take on top of the extractor's."
    )
    recycle_pages: int = Field(
        default=20_000,
        ge=1,
        description="Pages after which the extractor's process is replaced; sooner if it has grown.",
    )

    @model_validator(mode="after")
    def _can_write(self) -> Self:
        if self.format == "text" and (self.links or self.emphasis or self.images):
            raise ValueError("`links`, `emphasis` and `images` are of Markdown: set `format: markdown`")
        if self.format == "markdown" and self.extractor == "resiliparse":
            raise ValueError("resiliparse writes no Markdown: use `blocks`, `trafilatura` or `auto`")
        return self

    @field_validator("html_languages", mode="before")
    @classmethod
    def _codes(cls, value: Any) -> Any:
        """As detectors' answers are compared: one code for each language, without a script."""
        if not isinstance(value, list | tuple):
            return value
        for code in value:
            check_language(code)
            if isinstance(code, str) and script_code(code):
                raise ValueError(
                    f"`{code}`: a page's raw HTML is asked for its language alone, not for a script"
                )
        return [language_code(code) if isinstance(code, str) else code for code in value]

    @field_validator("block_urls")
    @classmethod
    def _compiles(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {pattern!r}: {error}") from error
        return value
