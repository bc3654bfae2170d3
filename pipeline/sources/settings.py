"""What a user says about a source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    model_validator,
)

from gristmill.document import FIELDS, REMOVAL_FIELDS
from gristmill.files.remote import Access
from gristmill.pipeline.sources.commoncrawl import CommonCrawl
from gristmill.pipeline.sources.format import known_formats
from gristmill.pipeline.sources.rows.layouts import LAYOUTS, resolve_columns
from gristmill.redact import public_url

ColumnType = Literal["string", "int64", "float64", "bool", "json"]

_OWN_COLUMNS = frozenset(field.name for field in (*FIELDS, *REMOVAL_FIELDS))
_TYPES = {
    "string": pa.large_string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "json": pa.large_string(),
}


def _known_format(value: str) -> str:
    if value != "auto" and value not in known_formats():
        raise ValueError(f"no format `{value}`; known: auto, {', '.join(known_formats())}")
    return value


Format = Annotated[
    str,
    AfterValidator(_known_format),
    Field(json_schema_extra=lambda schema: schema.update(enum=["auto", *known_formats()])),
]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _named_types(value: Any) -> Any:
    return dict.fromkeys(value, "string") if isinstance(value, list | tuple) else value


class Columns(BaseModel):
    """Which column of a source with rows holds what; `a.b` is a field of a nested column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(default="text", description="The text of a document, taken as it is.")
    html: str | None = Field(default=None, description="A page to extract, instead of a text.")
    id: str | None = Field(
        default="id", description="The record's own key; absent or null: a hash of url and text."
    )
    url: str | None = Field(default="url", description="The address the document came from.")
    date: str | None = Field(default="date", description="When it was fetched or published.")
    language: str | None = Field(
        default=None,
        description="The language that the source says, as a code: taken as it is, and no detector is asked.",
    )

    @model_validator(mode="after")
    def _text_or_html(self) -> Columns:
        if self.text is None and self.html is None:
            raise ValueError("one of `text` and `html` must name a column")
        return self


class Selection(BaseModel):
    """Which rows of an index are fetched; what is empty selects all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = Field((), description="Hosts, with all hosts below them.")
    languages: tuple[str, ...] = Field((), description="Languages that the index names, of any of a page's.")
    statuses: tuple[int, ...] = Field((200,), description="HTTP status codes; rows that name none pass.")
    mimes: tuple[str, ...] = Field((), description="Media types, as detected where the index says so.")


class SourceSettings(BaseModel):
    """Where documents come from. Nothing is read to plan: inputs are listed, not opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        default=[],
        description=(
            "Paths, globs, folders or fsspec URLs; `@FILE` stands for the paths listed in a file, one a line."
            " Relative ones are relative to the recipe."
        ),
    )
    prefix: str | None = Field(
        default=None, description="Put before each relative path of a list, as https://data.commoncrawl.org/."
    )
    commoncrawl: CommonCrawl | None = Field(
        default=None, description="A snapshot of Common Crawl, instead of inputs."
    )
    format: Format = Field(default="auto", description="`auto` goes by the file name.")
    select: Selection = Field(
        default=Selection(), description="Of an index (`format: cdx` or `ccindex`): the rows to fetch."
    )
    columns: Annotated[Columns, BeforeValidator(resolve_columns)] = Field(
        default=Columns(),
        description=(
            "Which column holds what; or the layout of a published corpus by name ("
            + ", ".join(LAYOUTS)
            + "), a YAML file of your own, or `layout:` with changes."
        ),
    )
    passthrough: Annotated[dict[str, ColumnType], BeforeValidator(_named_types)] = Field(
        default={},
        description=(
            "Columns kept beside the document, by type; a list means strings. One that has the name of a"
            " document's own column (id, source, language, ...) is kept as input.<name>. From a web archive:"
            " http.<header>, warc.<header>, http.status, page.title, page.author, page.date, page.site_name,"
            " page.canonical_url, page.charset, page.licence, page.licence_place, page.robots,"
            " page.tdm_reservation."
        ),
    )
    limit: int | None = Field(
        default=None, ge=1, description="Read this many records at most, in order, in one task."
    )
    max_record_bytes: int = Field(
        default=64 << 20, ge=1 << 10, description="A larger record, inflated, is one failed row."
    )
    storage_options: dict[str, Any] = Field(
        default={}, repr=False, description="For fsspec; never shown or stored."
    )
    # How patiently is no part of what is read: left out of dumps, and so of every identity.
    request_seconds: float = Field(
        default=60.0,
        gt=0,
        exclude=True,
        description="Deadline of one request to remote storage (8 MiB at most).",
    )
    request_attempts: int = Field(
        default=8, ge=1, exclude=True, description="Attempts at one request, over about a minute."
    )

    @model_validator(mode="after")
    def _inputs_or_commoncrawl(self) -> SourceSettings:
        if bool(self.inputs) == (self.commoncrawl is not None):
            raise ValueError("give either `inputs` or `commoncrawl`")
        return self

    @field_serializer("inputs")
    def _without_signatures(self, value: list[str]) -> list[str]:
        return [public_url(path) for path in value]

    @field_serializer("storage_options")
    def _redacted(self, value: dict[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(sorted(value), "***")

    def access(self) -> Access:
        """Return how remote storage is read."""
        rate = self.commoncrawl.requests_per_second if self.commoncrawl else None
        return Access(self.storage_options, self.request_attempts, self.request_seconds, rate)

    def extra_fields(self) -> list[pa.Field]:
        """Return the Arrow fields of the pass-through columns, in the order given."""
        return [pa.field(stored_name(name), _TYPES[kind]) for name, kind in self.passthrough.items()]


def stored_name(name: str) -> str:
    """Return the name of a pass-through column in documents: its own, `input.<name>` where that is taken."""
    return f"input.{name}" if name in _OWN_COLUMNS else name
