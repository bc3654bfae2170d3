"""Texts in memory: extract one page, filter and deduplicate a table, without a recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import FIELDS, REMOVAL_FIELDS, document_id, document_schema, text_key
from gristmill.errors import UsageError
from gristmill.pipeline.door.rows import Rows

if TYPE_CHECKING:
    from gristmill.pipeline.extract.extracted import Extracted


@dataclass(frozen=True, slots=True)
class Filtered:
    """What filters made of documents: `signals` and `decisions` have a row for each, in the order given."""

    kept: Rows
    removed: Rows
    decisions: Rows
    signals: Rows


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What deduplication made of documents; `clusters` names for each step and document whom it is alike."""

    kept: Rows
    removed: Rows
    clusters: Rows


def extract(html: str | bytes, url: str | None = None, **settings: Any) -> Extracted:
    """Return the main text of one page, with title, author, date and site, by the `blocks` extractor.

    `html` in bytes is decoded as a browser would; `settings` are those of `extract.blocks` in a recipe, such
    as `format="markdown"`. Raises UsageError for a setting there is none of.
    """
    from pydantic import ValidationError

    from gristmill.pipeline.extract.blocks.extract import extract as extract_blocks
    from gristmill.pipeline.extract.blocks.settings import BlocksSettings
    from gristmill.pipeline.extract.decoding.charset import decode

    try:
        chosen = BlocksSettings(**settings)
    except ValidationError as error:
        raise UsageError(f"`extract`: {error.errors()[0]['msg']}") from None
    # A lone surrogate would end the page.
    text = html.encode("utf-8", "replace").decode() if isinstance(html, str) else decode(html)[0]
    return extract_blocks(text, url, chosen)


def filter_documents(
    documents: Any, presets: Sequence[str] = (), *, seed: int = 1, **settings: Any
) -> Filtered:
    """Measure documents, keep those that pass every rule, and edit texts as the presets do.

    `documents` are texts, rows, or a table (Arrow, pandas, polars) with a column `text`; other columns travel
    along. `settings` are those of `filter` in a recipe: `language={"keep": ["en"]}`, `set={...}`, `pii={}`.
    Raises RecipeError for an unknown preset, rule or value.
    """
    from gristmill.filters.passes import batches, compile_filters
    from gristmill.filters.settings import FilterSettings
    from gristmill.pipeline.recipe.file import validate

    chosen = validate({"presets": list(presets), **settings}, FilterSettings)
    filters = compile_filters(chosen, seed)
    table = documents_of(documents)
    outcomes, row = [], 0
    for batch in batches(table):
        outcomes.append(filters.apply(batch, first_row=row))
        row += batch.num_rows
    if not outcomes:
        outcomes = [filters.apply(table, first_row=0)]
    sides = ("kept", "removed", "decisions", "signals")
    return Filtered(*(Rows(table=pa.concat_tables(getattr(one, side) for one in outcomes)) for side in sides))


def deduplicate(documents: Any, **settings: Any) -> Deduplicated:
    """Keep one of documents that are equal, and one of those that are nearly equal.

    `documents` as for `filter_documents`. `settings` are those of `dedup` in a recipe; without any they are
    `exact={}, fuzzy={}`. The work is done in a temporary folder, in this process.
    """
    from gristmill.files.parquet import read_parquet
    from gristmill.pipeline.door.given import run_over
    from gristmill.pipeline.recipe.file import make_recipe

    sources = {"given": {"inputs": ["given.parquet"]}}
    said = {"dedup": dict(settings or {"exact": {}, "fuzzy": {}})}
    recipe = make_recipe({"name": "given", "sources": sources, **said})
    with tempfile.TemporaryDirectory(prefix="gristmill-") as folder:
        manifests = run_over(documents_of(documents), recipe, Path(folder))
        last = list(manifests.values())[-1]
        kept = [read_parquet(path) for path in last.paths("documents")]
        steps = [(name, manifest) for name, manifest in manifests.items() if name != "given"]
        gone = [read_parquet(path) for _, manifest in steps for path in manifest.paths("removed")]
        decided = [
            read_parquet(path).append_column("step", pa.array([name] * entry.rows, pa.string()))
            for name, manifest in steps
            for path, entry in zip(manifest.paths("decisions"), manifest.named("decisions"), strict=True)
        ]
        return Deduplicated(*(Rows(table=_joined(tables)) for tables in (kept, gone, decided)))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of several steps as one, in memory, in the order of what was given."""
    if not tables:
        return pa.schema([]).empty_table()
    joined = pa.concat_tables(tables, promote_options="default").combine_chunks()
    if "origin" not in joined.column_names:
        return joined
    return joined.take(pc.sort_indices(pc.struct_field(joined["origin"], "offset")))


_MADE = ("id", "source", "origin")  # of the contract's columns these are not read of what is given


def documents_of(given: Any, source: str = "given") -> pa.Table:
    """Return what was given as documents: ids and origins are made where there are none.

    Raises UsageError where there is no text, or a value that is none of its column's type.
    """
    try:
        return _as_documents(_table_of(given), source)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise UsageError(
            f"what was given cannot be read as documents: {error}",
            hint="`text` and `url` are strings without lone surrogates, `date` a time with its zone, and the"
            " values of a column of one type",
        ) from None


def _as_documents(table: pa.Table, source: str) -> pa.Table:
    if "text" not in table.column_names:
        raise UsageError(
            f"documents need a column `text`, these have {', '.join(table.column_names) or 'none'}"
        )
    texts = table["text"].cast(pa.large_string())
    urls = table["url"].to_pylist() if "url" in table.column_names else [None] * table.num_rows
    keys = (text_key(url, text or "") for url, text in zip(urls, texts.to_pylist(), strict=True))
    rows = range(table.num_rows)
    ids = [document_id(source, f"{row}:{key}") for row, key in zip(rows, keys, strict=True)]
    own: dict[str, Any] = {
        "id": pa.array(ids, pa.binary(16)),
        "text": texts,
        "source": pa.array([source] * table.num_rows, pa.string()),
        "origin": pa.array([{"file": source, "offset": row, "length": 1} for row in rows], FIELDS[-1].type),
    }
    for field in FIELDS:
        if field.name in own:
            continue
        has = field.name in table.column_names
        own[field.name] = table[field.name].cast(field.type) if has else pa.nulls(table.num_rows, field.type)
    further = _further(table)
    columns = [own[field.name] for field in FIELDS] + [table[name] for name in further]
    return pa.table(columns, schema=document_schema(list(further.values()))).combine_chunks()


def _further(table: pa.Table) -> dict[str, pa.Field]:
    """The columns that travel along, by the name they were given under: what documents have under it, or
    removed ones, takes the name, and the column goes by `input.<name>`."""
    read = {field.name for field in FIELDS if field.name not in _MADE}
    taken = {*_MADE, *(field.name for field in REMOVAL_FIELDS)}
    # Of documents that an earlier call returned the ids are made anew; the first call's input stands beside.
    again = {"id", "origin"} <= {*table.column_names} and table.schema.field("id").type == pa.binary(16)
    return {
        field.name: field.with_name(f"input.{field.name}")
        if field.name in taken or _is_other(field)
        else field
        for field in table.schema
        if field.name not in read and not (again and field.name in taken)
    }


def _is_other(field: pa.Field) -> bool:
    """Whether a column has the name of one that deduplication makes, but is none of those."""
    made = {"cluster_id": pa.binary(16), "cluster_size": pa.uint32()}
    return bool(field.type != made.get(field.name, field.type))


def _table_of(given: Any) -> pa.Table:
    if isinstance(given, Rows):
        return given.to_arrow()
    if isinstance(given, pa.Table):
        return given
    if hasattr(given, "__arrow_c_stream__"):
        return pa.table(given)
    if isinstance(given, Mapping):
        return pa.table(dict(given))
    if type(given).__module__.startswith("pandas"):
        return pa.Table.from_pandas(given, preserve_index=False)
    rows = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else None
    if rows is None:
        raise UsageError(f"documents are texts, rows or a table, not {type(given).__name__}")
    if all(isinstance(row, Mapping) for row in rows) and rows:
        return pa.Table.from_pylist([dict(row) for row in rows])
    return pa.table({"text": pa.array(rows, pa.large_string())})
