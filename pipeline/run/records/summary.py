"""What the records of a step come to, in one file that its manifest names: who looks at a run of fifty
thousand shards opens this, and no record.

It is written when the step is published. Times differ from run to run and lie outside of its digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gristmill.errors import IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.sealed import open_sealed, seal_json, understood, whole
from gristmill.files.storage import put_if_absent
from gristmill.ledger import Books
from gristmill.manifest import TaskRecord, read_records, record_path
from gristmill.pipeline.run.narration.times import PhaseTimes
from gristmill.pipeline.run.records.totals import MOST_DOMAINS, Totals, is_rewritten

SUMMARY_FORMAT = 1


def put_summary(
    folder: Path, totals: Totals, records: Sequence[TaskRecord], replaced: set[str]
) -> dict[str, str]:
    """Write what a step's records come to; return what the manifest says of it.

    `totals` was added up while tasks ended, `replaced` became known only now: where a later phase wrote
    documents anew, the records are read and added up once more.
    """
    if any(is_rewritten(record, replaced) for record in records):
        paths = [record_path(folder, record.phase, record.task) for record in records]
        totals = add_up(read_records(paths), replaced)
    digest, data = seal_json(body_of(totals), {name: times.as_json() for name, times in totals.times.items()})
    path = f"summary-{digest[:12]}.json"
    put_if_absent(folder / path, data)
    return {"path": path, "sha256": digest}


def add_up(records: Iterable[TaskRecord], replaced: set[str]) -> Totals:
    totals = Totals()
    for record in records:
        totals.add(record, rewritten=is_rewritten(record, replaced))
    return totals


def is_gone(record: TaskRecord, published: Container[str]) -> bool:
    """Whether a finished step has none of the documents that a task wrote: a later phase wrote them anew."""
    documents = [entry.path for entry in record.files if entry.kind in ("documents", "documents-index")]
    return bool(documents) and not any(path in published for path in documents)


def read_summary(folder: Path, named: Mapping[str, str]) -> Totals:
    """Read the summary that a manifest names; raises IntegrityError where it is not there as it was
    written."""
    path = folder / named["path"]
    try:
        body, timing, digest = open_sealed(path, read_file(path))
    except FileNotFoundError as error:
        raise IntegrityError(f"the summary `{path.name}` that the manifest names is missing") from error
    if digest != named["sha256"]:
        raise IntegrityError(f"`{path.name}` is not the summary that the manifest names")
    if body.get("format") != SUMMARY_FORMAT:
        raise IntegrityError(f"`{path.name}` has format {body.get('format')!r}, not {SUMMARY_FORMAT}")
    with understood(path):
        return _read_body(body, timing)


def _read_body(body: Mapping[str, Any], timing: Mapping[str, Any]) -> Totals:
    """Totals as `body_of` spells them, added to none: what is not of their shape raises."""
    totals = Totals(
        whole(body["records"], "records"),
        Books.from_json(body["books"]),
        {source: Books.from_json(books) for source, books in body["by_source"].items()},
        Counter({name: whole(value, name) for name, value in body["counts"].items()}),
        {source: _counters(tallies) for source, tallies in body["tallies"].items()},
        times={phase: PhaseTimes.of(phase, told) for phase, told in timing.items()},
        bounded=[str(id_) for id_ in body["bounded"]],
        left_out=body["left_out"],
        has_books=bool(body["has_books"]),
    )
    lengths, histograms = {**body["lengths"]}, {**body["histograms"]}
    samples, pairs, clusters = {**body["samples"]}, {**body["pairs"]}, [*body["clusters"]]
    shown = Totals(lengths=lengths, histograms=histograms, samples=samples, pairs=pairs, clusters=clusters)
    Totals().merge(shown)  # what adds them up reads all of them
    totals.lengths, totals.histograms = lengths, histograms
    totals.samples, totals.pairs, totals.clusters = samples, pairs, clusters
    return totals


def body_of(totals: Totals) -> dict[str, Any]:
    """The totals as canonical JSON: the same whatever order the records came in."""
    tallies: dict[str, dict[str, dict[str, int]]] = {}
    left_out: dict[str, dict[str, list[int]]] = {}
    for source, named in totals.tallies.items():
        for name, tally in named.items():
            ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
            most = MOST_DOMAINS if name.endswith(".domain") else len(ordered)
            tallies.setdefault(source, {})[name] = dict(ordered[:most])
            if rest := ordered[most:]:
                left_out.setdefault(source, {})[name] = [len(rest), sum(number for _, number in rest)]
    return {
        "format": SUMMARY_FORMAT,
        "records": totals.num_records,
        "books": totals.books.as_json(),
        "by_source": {source: books.as_json() for source, books in totals.by_source.items()},
        "counts": dict(totals.counts),
        "tallies": tallies,
        "left_out": left_out,
        "lengths": totals.lengths,
        "histograms": totals.histograms,
        "samples": totals.samples,
        "clusters": totals.clusters,
        "pairs": totals.pairs,
        "bounded": totals.bounded,
        "has_books": totals.has_books,
    }


def _counters(tallies: Mapping[str, Mapping[str, int]]) -> dict[str, Counter[str]]:
    return {
        name: Counter({key: whole(value, key) for key, value in tally.items()})
        for name, tally in tallies.items()
    }
