"""The life of one document: where it came from, what every step measured, decided and changed, and where it
ended."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.classifiers.quality.draw import draw
from gristmill.errors import UsageError
from gristmill.files.parquet import parquet_schema
from gristmill.files.storage import read_tables
from gristmill.manifest import Manifest
from gristmill.pipeline.look.document.event import Event, lost, reason
from gristmill.pipeline.look.document.inplace import named_edits
from gristmill.pipeline.look.document.lookup import (
    OUTLETS,
    FoundRow,
    find_id,
    find_own_id,
    find_side,
    find_url,
    read_found,
    read_row,
)
from gristmill.pipeline.look.document.tokens import encoded, in_mixtures
from gristmill.pipeline.look.printing.figures import bound as spell_bound
from gristmill.pipeline.look.printing.figures import measured
from gristmill.pipeline.look.search import holding
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.records.final import lost_whole
from gristmill.pipeline.run.stage import is_entry
from gristmill.pipeline.stages.filter import FilterFacts
from gristmill.pipeline.stages.generate import GENERATE

_WRITTEN = ("seed", "seed_url", "template", "model", "parameters", "request")
_SIDES = ("min", "above", "max", "below")


@dataclass(slots=True)
class Life:
    """A document's way through a run; `id` is None where it never was in the input. `seed` is the life of the
    document that a model wrote it from."""

    asked: str
    id: str | None
    url: str | None
    verdict: str
    events: list[Event]
    others: list[str] = field(default_factory=list)  # ids of further records of the same URL
    seed: Life | None = None


def look_up(out: Path, asked: str) -> Life:
    """Tell the life of a document named by id, URL or a piece of its text.

    Ids and URLs are found by index, and so is text where the run wrote an index of it; else documents are
    read until the first that holds it.
    """
    manifests = finished_steps(out)
    entries = [manifest for manifest in manifests.values() if is_entry(manifest.ingredients["stage"])]
    if not entries:
        raise UsageError(f"`{out}` has read no input yet", hint="`gristmill status` says how far the run is")
    found = _first(out, entries, manifests, asked)
    if not found:
        num = sum(manifest.books.items_in for manifest in entries if manifest.books)
        sources = ", ".join(dict.fromkeys(source for manifest in entries for source in manifest.sources()))
        what = "id" if _as_id(asked) else "URL" if "://" in asked else "text"
        said = f"not in the input: none of {num:,} records of {sources} has this {what}"
        handed = [manifest.step for manifest in entries if manifest.handed_on]
        if handed and what == "text":
            said = (
                f"not found: no document that was written has this text; those of {', '.join(handed)} were"
                f" handed on and not written (`keep: ends`), and later steps may have edited them"
            )
        return Life(asked, None, None, said, [])
    start = found[0]
    columns = (
        "id",
        "url",
        "source",
        "date",
        "language",
        "language_score",
        "origin",
        "rule",
        "value",
        "bound",
        "error",
        "message",
        *_WRITTEN,
    )
    row = read_found(manifests, start, columns)
    events = list(_events(manifests, start, row))
    others = [read_found(manifests, other, ("id",))["id"].hex() for other in found[1:]]
    if start.step.startswith(f"{GENERATE.name}/"):
        events[0].facts |= _written(manifests[start.step], start, row)
    seed = look_up(out, row["seed"]) if row.get("seed") and _as_id(row["seed"]) else None
    return Life(asked, row["id"].hex(), row.get("url"), _verdict(events), events, others, seed)


def _written(manifest: Manifest, found: FoundRow, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a model was asked for a document: the seed, template, model and parameters, and the prompt."""
    kind = f"{found.outlet}-prompts"
    side = find_side(manifest, kind, row["id"], found.source, found.position, found.row) or {}
    return {name: row[name] for name in _WRITTEN if row.get(name)} | {"prompt": side.get("prompt")}


def _first(
    out: Path, entries: Sequence[Manifest], manifests: Mapping[str, Manifest], asked: str
) -> list[FoundRow]:
    """Where the document entered the run."""
    if id_ := _as_id(asked):
        documents = [found for manifest in entries if (found := find_id(manifest, id_))]
        if documents:
            return documents
    if "://" in asked:
        other = asked.removesuffix("/") if asked.endswith("/") else f"{asked}/"
        pages = [found for url in (asked, other) for manifest in entries for found in find_url(manifest, url)]
        if pages:
            return pages
    if rows := [found for manifest in entries for found in find_own_id(manifest, asked)]:
        return rows
    if "://" in asked:
        return []
    if len(asked) < 4:
        raise UsageError(
            f"`{asked}` is too short to search for",
            hint="give an id (32 hex digits), a URL, or a longer piece of text",
        )
    for hit in itertools.islice(holding(out, asked), 1):
        id_ = hit.read(("id",))["id"]
        return [found for manifest in entries if (found := find_id(manifest, id_, source=hit.source))]
    for manifest in entries:
        if found_by_reading := _search(manifest, asked):
            return [found_by_reading]
    for manifest in manifests.values() if any(entry.handed_on for entry in entries) else ():
        if later := _search(manifest, asked):
            id_ = read_row(later.path, later.row, ("id",))["id"]
            return [at for entry in entries if (at := find_id(entry, id_, source=later.source))]
    return []


def _as_id(asked: str) -> bytes | None:
    try:
        return bytes.fromhex(asked) if len(asked) == 32 else None
    except ValueError:
        return None


def _search(manifest: Manifest, text: str) -> FoundRow | None:
    import pyarrow.compute as pc  # slow to import, and ids and URLs need none of it

    for outlet in ("documents", "removed"):
        numbers: dict[str | None, int] = {}
        for entry in manifest.named(outlet):
            number = numbers[entry.source] = numbers.get(entry.source, -1) + 1
            path, first_row = manifest.folder / entry.path, 0
            if "text" not in parquet_schema(path).names:  # `keep_removed` left it out
                continue
            for table in read_tables(path, ["text"]):
                said = pc.fill_null(pc.match_substring(table.column("text"), text), False)
                hits = np.flatnonzero(np.asarray(said))
                if len(hits):
                    row = first_row + int(hits[0])
                    return FoundRow(manifest.step, outlet, path, row, entry.source or "", number)
                first_row += table.num_rows
    return None


def _events(manifests: Mapping[str, Manifest], start: FoundRow, row: Mapping[str, Any]) -> Iterator[Event]:
    """Follow the document from step to step, until one lets it go."""
    yield _entered(start, row)
    at = start
    later = list(manifests.values())[list(manifests).index(start.step) + 1 :]
    for manifest in later:
        if at.outlet != "documents":
            return
        if (
            manifest.ingredients["stage"] == "encode"
            and at.source == manifest.ingredients["settings"]["source"]
        ):
            event = encoded(manifest, at, row["id"])
            yield event
            if event.outcome != "encoded":
                return
        if at.source not in manifest.sources("documents"):
            if lost_whole(manifest, {at.source: manifests[at.step]}):
                yield lost(manifest)
                return
            continue
        found = find_id(manifest, row["id"], at.position, at.source)
        if found is None:
            yield lost(manifest)
            return
        event = _passed(manifest, at, found, row["id"])
        _name_survivor(event, manifest, row["id"])
        yield event
        at = found
    if at.outlet == "documents":
        yield from in_mixtures(manifests, at, row["id"])


def _entered(found: FoundRow, row: Mapping[str, Any]) -> Event:
    origin = row["origin"]
    facts = {
        "source": row["source"],
        "file": origin["file"],
        "offset": origin["offset"],
        "length": origin["length"],
        "date": row.get("date"),
    }
    if row.get("language"):
        facts |= {"language": row["language"], "language score": row["language_score"]}
    return Event(
        found.step, _outcome(found), facts | reason(row) | {"shard": found.path.name, "row": found.row}
    )


def _passed(manifest: Manifest, before: FoundRow, found: FoundRow, id_: bytes) -> Event:
    """What a step over documents did: its decision with all columns, and for filters every rule and edit."""
    event = Event(manifest.step, _outcome(found))
    decision = find_side(manifest, "decisions", id_, before.source, before.position, before.row) or {}
    skipped = {"id", "row", "decision", "failed_rules", "edits"}
    event.facts = {
        name: _spelled(value) for name, value in decision.items() if name not in skipped and value is not None
    }
    if found.outlet != "documents":
        event.facts |= reason(read_row(found.path, found.row, ("rule", "value", "bound", "error", "message")))
    if bounds := manifest.stated(FilterFacts).bounds:
        signals = find_side(manifest, "signals", id_, before.source, before.position, before.row) or {}
        event.rules = list(judge(bounds, signals))
    event.edits = named_edits(manifest, decision)
    if scored := find_side(manifest, "scores", id_, before.source, before.position, before.row):
        event.facts |= {"score": scored["score"], "draw": _draw(manifest, id_)}
    event.facts |= {"shard": found.path.name, "row": found.row}
    return event


def _draw(manifest: Manifest, id_: bytes) -> float:
    """The number that a document's score had to meet."""
    return float(draw(manifest.ingredients["seed"], pa.array([id_], pa.binary(16)))[0])


def _name_survivor(event: Event, manifest: Manifest, id_: bytes) -> None:
    """Put the address of the document that stands for this one beside its id."""
    survivor = event.facts.get("survivor_id")
    if survivor and survivor != id_.hex() and (found := find_id(manifest, bytes.fromhex(survivor))):
        event.facts["survivor"] = read_row(found.path, found.row, ("url",))["url"]


def judge(bounds: Sequence[Mapping[str, Any]], signals: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Lay each rule's value beside its bounds, from stored signals alone."""
    for bound in bounds:
        numerator = signals.get(bound["signal"])
        denominator = signals.get(bound["per"]) if bound["per"] else 1
        row = {
            "rule": bound["rule"],
            "value": None,
            "bound": spell_bound(bound),
            "fails": False,
            "applies": True,
        }
        if bound["applies"] is not None and not signals.get(bound["applies"], True):
            row["applies"] = False
        if numerator is not None and denominator is not None:
            value = float(numerator) / float(denominator) if denominator else 0.0
            row |= {"value": value, "fails": bool(row["applies"]) and _fails(bound, value)}
        yield row


def _fails(bound: Mapping[str, Any], value: float) -> bool:
    tests = {"min": value < (bound["min"] or 0), "max": value > (bound["max"] or 0)}
    tests |= {"above": value <= (bound["above"] or 0), "below": value >= (bound["below"] or 0)}
    return any(bound[side] is not None and tests[side] for side in _SIDES)


def _spelled(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(_spelled(each)) for each in value)
    return value.hex() if isinstance(value, bytes) else value


def _outcome(found: FoundRow) -> str:
    return dict(zip(OUTLETS, ("kept", "removed", "failed"), strict=True))[found.outlet]


def _verdict(events: Sequence[Event]) -> str:
    last = events[-1]
    if last.outcome == "removed":
        rule = last.facts.get("rule")
        sides = [measured(rule, last.facts[name]) for name in ("value", "bound") if name in last.facts]
        return f"removed at {last.step} by {rule}" + (
            f": {' against '.join(sides)}" if len(sides) == 2 else ""
        )
    if last.outcome == "failed":
        return f"failed at {last.step}: {last.facts.get('error')} ({last.facts.get('message')})"
    if last.outcome == "in shard":
        copies = sum(event.outcome == "in shard" for event in events)
        return f"in the {last.facts['split']} shards, {copies} time{'s' if copies > 1 else ''}"
    return f"{last.outcome} at {last.step}, the last step that handled it"
