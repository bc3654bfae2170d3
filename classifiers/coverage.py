"""Where documents come from and when: tables of domains, years, languages and lengths, and selection by
domain and age.

    tally_domains(settings, documents, run, names, seed)  # map: a record per document, by domain
    merge_domains(settings, runs, names, part, parts, bounds) # reduce: a range of domains: counts, and what
    the cap lets in
    removal(settings, table, Bounds(paths), seed)  # per table: the rule that removes each document, if any

A domain is known by 64 bits of its hash; the documents of one that stay are those with the smallest keyed
hash of their id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.arrays import write_array
from gristmill.classifiers.settings import CoverageSettings
from gristmill.files.storage import read_tables
from gristmill.hashing import digest16, keyed_hash
from gristmill.text.addresses import domains_of

U64 = npt.NDArray[np.uint64]
RECORD = np.dtype([("domain", "<u8"), ("draw", "<u8")])
NAMES = pa.schema([pa.field("key", pa.uint64()), pa.field("domain", pa.string())])
TABLE = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("what", pa.string()),  # domain, year, language or length
        pa.field("value", pa.string()),
        pa.field("documents", pa.int64()),
        pa.field("share", pa.float64()),
    ]
)
TOP_DOMAINS = 1000
AGE, DOMAIN = "coverage.age", "coverage.domain"
PART_RECORDS = 8_000_000
_PURPOSE = "coverage.domain"
_COLUMNS = ["id", "url", "date", "language", "text"]


def tally_domains(
    settings: CoverageSettings, documents: Path, run: Path, names: Path, seed: int
) -> dict[str, Counter[str]]:
    """Write a record of (domain, draw) for every document of the right age that has a domain, and the
    domains' names.

    Returns the tallies of documents of the right age, as they are before the cap.
    """
    keys, draws = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    known: dict[int, str] = {}
    tallies: dict[str, Counter[str]] = {}
    for table in read_tables(documents, _COLUMNS):
        table = table.filter(pa.array(_of_age(settings, table["date"])))
        found, hosts = _domain_keys(table["url"])
        known.update(zip(found.tolist(), hosts, strict=True))
        has_domain = np.array([bool(host) for host in hosts], np.bool_)
        keys.append(found[has_domain])
        draws.append(_draws(table, seed)[has_domain])
        merge_tallies(tallies, tally(table))
    records = np.empty(sum(map(len, keys)), RECORD)
    records["domain"], records["draw"] = np.concatenate(keys), np.concatenate(draws)
    write_array(run, records[np.lexsort((records["draw"], records["domain"]))])
    known.pop(_key(""), None)
    listed = sorted(known.items())
    columns = [
        pa.array([key for key, _ in listed], pa.uint64()),
        pa.array([host for _, host in listed], pa.string()),
    ]
    with pa.OSFile(str(names), "wb") as sink, pa.ipc.new_file(sink, NAMES) as writer:
        writer.write_table(pa.table(columns, schema=NAMES))
    return tallies


@dataclass(frozen=True, slots=True)
class Domains:
    """One range of domains: how many, their documents, and the largest, after the cap."""

    num_domains: int
    documents: int
    top: list[tuple[str, int]]


def merge_domains(
    settings: CoverageSettings,
    runs: Sequence[Path],
    names: Sequence[Path],
    part: int,
    parts: int,
    bounds: Path,
) -> Domains:
    """Count the documents of each domain in one range, and write the largest draw that stays for domains
    above the cap."""
    low, high = ((number << 64) // parts for number in (part, part + 1))
    pieces = [_between(read_records(run), low, high) for run in runs]
    records = np.concatenate(pieces) if pieces else np.empty(0, RECORD)
    records = records[np.lexsort((records["draw"], records["domain"]))]
    keys, starts, counts = np.unique(records["domain"], return_index=True, return_counts=True)
    if settings.max_per_domain is not None:
        capped = counts > settings.max_per_domain
        write_array(bounds, records[starts[capped] + settings.max_per_domain - 1])
        counts = np.minimum(counts, settings.max_per_domain)
    else:
        bounds.touch()
    largest = np.lexsort((keys, -counts))[:TOP_DOMAINS]
    top = list(zip(_names(keys[largest], names), counts[largest].tolist(), strict=True))
    return Domains(len(keys), int(counts.sum()), top)


class Bounds:
    """What the cap lets in: per domain above it, the largest draw that stays; files are mapped."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts = [read_records(path) for path in paths]

    def of(self, keys: U64) -> U64:
        """The largest draw that stays of each domain; all stay of one that is not above the cap."""
        found = np.full(len(keys), np.iinfo(np.uint64).max)
        for number, part in enumerate(self._parts):
            low, high = ((edge << 64) // len(self._parts) for edge in (number, number + 1))
            inside = np.flatnonzero((keys >= np.uint64(low)) & (keys <= np.uint64(high - 1)))
            if len(part) and len(inside):
                place = np.minimum(np.searchsorted(part["domain"], keys[inside]), len(part) - 1)
                hit = part["domain"][place] == keys[inside]
                found[inside[hit]] = part["draw"][place[hit]]
        return found


@dataclass(frozen=True, slots=True)
class DomainRemoval:
    """Per document: the rule that removes it or null, what it measured, the bound, and the columns a decision
    notes."""

    rules: pa.Array
    values: pa.Array
    bounds: pa.Array
    noted: dict[str, pa.Array]


def removal(settings: CoverageSettings, table: pa.Table, bounds: Bounds, seed: int) -> DomainRemoval:
    """Decide on documents: age first, then the domain's cap; an age is a year with a fraction, a draw is in
    [0, 1)."""
    keys, hosts = _domain_keys(table["url"])
    draws = _draws(table, seed)
    limits = bounds.of(keys)
    of_age = _of_age(settings, table["date"])
    beyond = (draws > limits) & (keys != np.uint64(_key("")))
    rules = np.where(of_age, np.where(beyond, DOMAIN, ""), AGE)
    ages = _years(table["date"])
    edges = [_year_of(day) for day in (settings.oldest, settings.newest) if day is not None] or [0.0]
    age_bounds = np.where(ages > edges[-1], edges[-1], edges[0])
    values = np.where(of_age, _as_unit(draws), ages)
    return DomainRemoval(
        pa.array(rules.tolist(), pa.string(), mask=rules == ""),
        pa.array(values, mask=np.isnan(values)),
        pa.array(np.where(of_age, _as_unit(limits), age_bounds)),
        {"domain": pa.array(hosts, pa.string()), "draw": pa.array(_as_unit(draws))},
    )


def tally(table: pa.Table) -> dict[str, Counter[str]]:
    """Count documents by year, language and length (the power of two below it, in bytes); unknown is
    empty."""
    sizes = pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.int64)
    powers = np.where(sizes > 0, 1 << np.floor(np.log2(np.maximum(sizes, 1))).astype(np.int64), 0)
    return {
        "year": Counter("" if year is None else str(year) for year in pc.year(table["date"]).to_pylist()),
        "language": Counter(language or "" for language in table["language"].to_pylist()),
        "length": Counter(str(power) for power in powers.tolist()),
    }


def merge_tallies(total: dict[str, Counter[str]], part: dict[str, Any]) -> None:
    for what, counts in part.items():
        total.setdefault(what, Counter()).update(counts)


def table_of(source: str, domains: Sequence[Domains], tallies: dict[str, Counter[str]]) -> pa.Table:
    """A source's coverage as rows: the largest domains first (WebText's form), then years, languages and
    lengths."""
    documents = sum(tallies.get("length", Counter()).values())
    # Which of many equal ones are shown is decided by hash, as each range decided it.
    top = sorted((item for part in domains for item in part.top), key=lambda item: (-item[1], _key(item[0])))[
        :TOP_DOMAINS
    ]
    years, languages, lengths = (
        tallies.get(what, Counter()).items() for what in ("year", "language", "length")
    )
    rows = [("domain", *item) for item in sorted(top, key=_largest_first)]
    rows += [("year", *item) for item in sorted(years)]
    rows += [("language", *item) for item in sorted(languages, key=_largest_first)]
    rows += [("length", *item) for item in sorted(lengths, key=lambda item: int(item[0]))]
    columns = [
        [source] * len(rows),
        *([row[column] for row in rows] for column in range(3)),
        [row[2] / documents for row in rows],
    ]
    return pa.table(columns, schema=TABLE)


def _largest_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def read_records(path: Path) -> npt.NDArray[Any]:
    return np.memmap(path, RECORD, "r") if path.stat().st_size else np.empty(0, RECORD)


def _between(records: npt.NDArray[Any], low: int, high: int) -> npt.NDArray[Any]:
    start = int(np.searchsorted(records["domain"], np.uint64(low)))
    stop = (
        len(records)
        if high > np.iinfo(np.uint64).max
        else int(np.searchsorted(records["domain"], np.uint64(high)))
    )
    return records[start:stop]


def _names(keys: U64, files: Sequence[Path]) -> list[str]:
    found: dict[int, str] = {}
    for path in files:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            if not table.num_rows:
                continue
            known = table["key"].to_numpy()
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            hits = np.flatnonzero(known[place] == keys)
            found.update(
                zip(keys[hits].tolist(), table["domain"].take(pa.array(place[hits])).to_pylist(), strict=True)
            )
    return [found[key] for key in keys.tolist()]


def _domain_keys(urls: pa.ChunkedArray) -> tuple[U64, list[str]]:
    hosts = domains_of(urls).to_pylist()
    keys = {host: _key(host) for host in set(hosts)}
    return np.array([keys[host] for host in hosts], np.uint64), hosts


def _key(host: str) -> int:
    return int.from_bytes(digest16("domain", host)[:8], "little")


def _draws(table: pa.Table, seed: int) -> U64:
    return keyed_hash(seed, _PURPOSE, table["id"].combine_chunks())


def _as_unit(draws: U64) -> npt.NDArray[np.float64]:
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _of_age(settings: CoverageSettings, dates: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Whether each document lies within the days asked for, both ends included."""
    if settings.oldest is None and settings.newest is None:
        return np.ones(len(dates), np.bool_)
    days = dates.cast(pa.date32())
    keep = pc.is_valid(days)
    for bound, compare in ((settings.oldest, pc.greater_equal), (settings.newest, pc.less_equal)):
        if bound is not None:
            keep = pc.and_(keep, pc.fill_null(compare(days, pa.scalar(bound, pa.date32())), False))
    if settings.undated:
        keep = pc.or_(keep, pc.is_null(days))
    return np.asarray(keep.to_numpy(), np.bool_)


def _years(dates: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Dates as years with a fraction; NaN for no date."""
    whole, day = (
        pc.fill_null(part.cast(pa.float64()), np.nan).to_numpy()
        for part in (pc.year(dates), pc.day_of_year(dates))
    )
    return np.asarray(whole + (day - 1) / 366)


def _year_of(day: date) -> float:
    return day.year + (day.timetuple().tm_yday - 1) / 366
