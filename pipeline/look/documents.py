"""Documents of a run, one after another: kept, removed by a rule, failed, near a cut, by source, domain or
what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import UsageError
from gristmill.files.parquet import parquet_schema
from gristmill.files.storage import read_tables
from gristmill.manifest import Manifest, read_records
from gristmill.pipeline.look.document.inplace import MarkedVersion, passes_of
from gristmill.pipeline.look.document.lookup import OUTLETS, FoundRow, find_id, read_found
from gristmill.pipeline.look.search import index_paths, search
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.records.final import SourceFiles, final_documents, outlet
from gristmill.pipeline.stages.filter import FilterFacts
from gristmill.urls import domain_of

Outlet = Literal["kept", "removed", "failed"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which documents to show; what is unset does not narrow."""

    outlet: Outlet = "kept"
    rule: str | None = None
    near: str | None = None
    source: str | None = None
    domain: str | None = None
    text: str | None = None


@dataclass(slots=True)
class Shown:
    """One document with what became of it; `passes` are the edits in place, one entry per version of the text
    that was edited."""

    step: str
    outlet: str
    row: dict[str, Any]
    passes: list[MarkedVersion]

    @property
    def text(self) -> str:
        return str(self.row.get("text") or "")

    def as_json(self) -> dict[str, Any]:
        row = {name: value.hex() if isinstance(value, bytes) else value for name, value in self.row.items()}
        return {
            "step": self.step,
            "outlet": self.outlet,
            **row,
            "passes": [part.as_json() for part in self.passes],
        }


class Shelf:
    """The documents of a query, read as far as somebody has looked."""

    def __init__(self, out: Path, query: Query) -> None:
        self._source = find_documents(out, query)
        self._read: list[Shown] = []

    def get(self, at: int) -> Shown | None:
        """Return the document at a position from 0, or None behind the last."""
        while len(self._read) <= at:
            following = next(self._source, None)
            if following is None:
                return None
            self._read.append(following)
        return self._read[at]


def find_documents(out: Path, query: Query) -> Iterator[Shown]:
    """Yield a run's documents in the order of steps, files and rows, or nearest to the cut first.

    Raises UsageError where the rule or source is none of this run's.
    """
    manifests = finished_steps(out)
    _check(manifests, query)
    if query.near:
        yield from _near(manifests, query)
        return
    parts = final_documents(manifests) if query.outlet == "kept" else outlet(manifests, query.outlet)
    if query.text and query.outlet in _INDEXED and index_paths(out) is not None:
        yield from _by_index(out, manifests, parts, query)
        return
    for part in parts:
        if query.source in (None, part.source):
            yield from _of(manifests, part, query)


_INDEXED = {"kept": "documents", "removed": "removed"}
_MOST_HITS = 10_000


def _phrase(query: Query) -> str:
    """What is searched for, as one phrase."""
    text = (query.text or "").replace('"', " ")
    return f'"{text}"'


def _by_index(
    out: Path, manifests: Mapping[str, Manifest], parts: list[SourceFiles], query: Query
) -> Iterator[Shown]:
    """Documents that hold the words of a query, by the run's text index."""
    places = {path: (part, number) for part in parts for number, (path, _) in enumerate(part.files)}
    wanted = {"outlet": _INDEXED[query.outlet], "source": query.source}
    for hit in search(out, _phrase(query), _MOST_HITS, **wanted).hits:
        if hit.path not in places:
            continue
        row = hit.read()
        if query.rule and query.rule not in (row.get("rules") or ()):
            continue
        if query.domain and not _is_under(domain_of(row.get("url") or ""), query.domain):
            continue
        part, number = places[hit.path]
        found = FoundRow(part.step, OUTLETS[0], hit.path, hit.row, part.source, number)
        yield Shown(part.step, query.outlet, row, passes_of(manifests, found, row["id"]))


def count_documents(out: Path, query: Query) -> int | None:
    """How many documents a query matches; None near a cut, where shard records name a few only."""
    if query.near:
        return None
    manifests = finished_steps(out)
    _check(manifests, query)
    parts = final_documents(manifests) if query.outlet == "kept" else outlet(manifests, query.outlet)
    parts = [part for part in parts if query.source in (None, part.source)]
    whole = query.text and not (query.rule or query.domain) and query.outlet in _INDEXED
    if whole and index_paths(out) is not None:
        narrowed = {"outlet": _INDEXED[query.outlet], "source": query.source}
        return sum(search(out, _phrase(query), 0, **narrowed).by_outlet.values())
    if not (query.rule or query.text or query.domain):
        return sum(entry.rows for part in parts for _, entry in part.files)
    wanted = ["text" if query.text else "", "url" if query.domain else "", "rules", "error"]
    total = 0
    for part in parts:
        for path, _ in part.files:
            there = parquet_schema(path).names
            columns = [name for name in wanted if name in there] or ["id"]
            total += sum(len(_matching(table, query)) for table in read_tables(path, columns))
    return total


def _check(manifests: Mapping[str, Manifest], query: Query) -> None:
    rules = sorted(
        {rule for manifest in manifests.values() if manifest.books for rule in manifest.books.by_rule_any}
    )
    rules += [
        rule
        for manifest in manifests.values()
        for rule in manifest.stated(FilterFacts).rules
        if rule not in rules
    ]
    for rule in (query.rule, query.near):
        if rule is not None and rule not in rules:
            raise UsageError(
                f"no document of this run fails `{rule}`", hint=f"rules here: {', '.join(rules) or 'none'}"
            )
    check_source(manifests, query.source)


def check_source(manifests: Mapping[str, Manifest], source: str | None) -> None:
    """Raise UsageError for a source that is none of a run's."""
    sources = list(dict.fromkeys(source for manifest in manifests.values() for source in manifest.sources()))
    if source is not None and source not in sources:
        raise UsageError(f"this run has no source `{source}`", hint=f"it has {', '.join(sources)}")


def _of(manifests: Mapping[str, Manifest], part: SourceFiles, query: Query) -> Iterator[Shown]:
    for position, (path, _) in enumerate(part.files):
        first_row = 0
        for table in read_tables(path):
            for index in _matching(table, query):
                row = table.slice(index, 1).to_pylist()[0]
                found = FoundRow(part.step, OUTLETS[0], path, first_row + index, part.source, position)
                yield Shown(part.step, query.outlet, row, passes_of(manifests, found, row["id"]))
            first_row += table.num_rows


def _matching(table: pa.Table, query: Query) -> list[int]:
    mask = pa.array([True] * table.num_rows)
    if query.rule and "rules" in table.column_names:
        lists = table.column("rules").to_pylist()
        mask = pa.array([query.rule in (rules or ()) for rules in lists])
    elif query.rule and "error" in table.column_names:
        mask = pc.equal(table.column("error"), query.rule)
    if query.text:
        if "text" not in table.column_names:
            return []
        said = pc.match_substring(table.column("text"), query.text, ignore_case=True)
        mask = pc.and_(mask, pc.fill_null(said, False).combine_chunks())
    rows = [index for index, holds in enumerate(mask.to_pylist()) if holds]
    if query.domain:
        urls = table.column("url")
        rows = [index for index in rows if _is_under(domain_of(urls[index].as_py() or ""), query.domain)]
    return rows


def _is_under(host: str, wanted: str) -> bool:
    return host == wanted or host.endswith(f".{wanted}")


def _near(manifests: Mapping[str, Manifest], query: Query) -> Iterator[Shown]:
    """The documents that shard records name as nearest to a rule's cut, from both sides, each in full."""
    named: list[tuple[float, str, Manifest, dict[str, Any]]] = []
    for manifest in manifests.values():
        for record in read_records([manifest.folder / entry["path"] for entry in manifest.records]):
            for side in ("kept", "removed"):
                for sample in record.samples.get(f"near:{query.near}:{side}", ()):
                    named.append((sample.get("distance", 0.0), sample["id"], manifest, sample))
    for _, id_, manifest, sample in sorted(named, key=lambda item: item[:2]):
        found = find_id(manifest, bytes.fromhex(id_))
        if found is None or query.source not in (None, found.source):
            continue
        row = {
            **read_found(manifests, found),
            "rule": query.near,
            "value": sample["value"],
            "bound": sample["bound"],
        }
        side = "kept" if found.outlet == "documents" else found.outlet
        yield Shown(manifest.step, side, row, passes_of(manifests, found, row["id"]))
