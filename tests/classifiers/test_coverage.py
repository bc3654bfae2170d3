"""Coverage: domains, years and lengths add up, and caps and ages keep exactly what they promise, for any
sharding."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.classifiers import coverage
from gristmill.classifiers.coverage import Bounds
from gristmill.classifiers.settings import CoverageSettings
from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter
from gristmill.urls import domain_of

URLS = [f"http://{'www.' if n % 2 else ''}{'abcdefgh'[n * n % 8]}.example/{n}" for n in range(200)] + [
    "not a url",
    None,
]


def table(urls: list[str | None], years: list[int | None] | None = None) -> pa.Table:
    rows = [
        {
            "id": document_id("web", str(n)),
            "url": url,
            "source": "web",
            "text": "x" * (n + 1),
            "language": "en",
            "date": datetime(year, 5, 1, tzinfo=UTC) if year else None,
            "origin": {"file": "f", "offset": n, "length": 1},
        }
        for n, (url, year) in enumerate(zip(urls, years or [2020] * len(urls), strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def write(path: Path, documents: pa.Table) -> Path:
    with ParquetWriter(path, documents.schema) as writer:
        writer.write(documents)
    return path


def run(
    folder: Path, documents: pa.Table, settings: CoverageSettings, files: int, parts: int
) -> tuple[set[bytes], pa.Table]:
    """Tally, merge and decide over any number of files and ranges: the ids that stay, and the table."""
    folder.mkdir()
    shards = [
        write(folder / f"{n}.parquet", documents.take(list(range(n, documents.num_rows, files))))
        for n in range(files)
    ]
    runs, names = ([folder / f"{n}.{kind}" for n in range(files)] for kind in ("run", "names"))
    bounds = [folder / f"{part}.bounds" for part in range(parts)]
    for shard, *out in zip(shards, runs, names, strict=True):
        coverage.tally_domains(settings, shard, *out, seed=1)
    merged = [
        coverage.merge_domains(settings, runs, names, part, parts, bounds[part]) for part in range(parts)
    ]
    kept: set[bytes] = set()
    tallies: dict[str, Counter[str]] = {}
    for shard in shards:
        for part in coverage.read_tables(shard):
            stays = part.filter(coverage.removal(settings, part, Bounds(bounds), seed=1).rules.is_null())
            kept |= set(stays["id"].to_pylist())
            coverage.merge_tallies(tallies, coverage.tally(stays))
    return kept, coverage.table_of("web", merged, tallies)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org:8080/a", "example.org"),
        ("http://a.b.example/", "a.b.example"),
        (None, ""),
        ("http://[bad", ""),
    ],
)
def test_a_domain_is_the_host_without_www(url: str | None, host: str) -> None:
    assert domain_of(url) == host


def test_a_table_has_documents_and_shares_the_largest_first(tmp_path: Path) -> None:
    urls = ["http://a.example/1", "http://a.example/2", "http://b.example/", "http://www.a.example/3"]
    _, found = run(tmp_path / "run", table(list(urls), [2019, 2020, None, 2020]), CoverageSettings(), 2, 3)
    rows = [(row["what"], row["value"], row["documents"], row["share"]) for row in found.to_pylist()]
    assert rows == [
        ("domain", "a.example", 3, 0.75),
        ("domain", "b.example", 1, 0.25),
        ("year", "", 1, 0.25),
        ("year", "2019", 1, 0.25),
        ("year", "2020", 2, 0.5),
        ("language", "en", 4, 1.0),
        ("length", "1", 1, 0.25),
        ("length", "2", 2, 0.5),
        ("length", "4", 1, 0.25),
    ]


@pytest.mark.parametrize("most", [1, 3, 20, 1000])
def test_a_cap_keeps_the_first_of_each_domain_by_hash(tmp_path: Path, most: int) -> None:
    """Beside the plain way: group all documents, sort by hash, take so many."""
    documents = table(URLS)
    kept, found = run(tmp_path / "run", documents, CoverageSettings(max_per_domain=most), 3, 4)
    groups: dict[str, list[tuple[int, bytes]]] = {}
    for url, id_, draw in zip(
        URLS, documents["id"].to_pylist(), coverage._draws(documents, 1).tolist(), strict=True
    ):
        groups.setdefault(domain_of(url), []).append((draw, id_))
    expected = {id_ for host, group in groups.items() for _, id_ in (sorted(group)[:most] if host else group)}
    assert kept == expected
    counts = Counter({host: min(most, len(group)) for host, group in groups.items() if host})
    assert {row["value"]: row["documents"] for row in found.to_pylist() if row["what"] == "domain"} == counts


def test_what_a_cap_keeps_does_not_depend_on_files_or_ranges(tmp_path: Path) -> None:
    ways = [
        run(tmp_path / f"{files}-{parts}", table(URLS), CoverageSettings(max_per_domain=5), files, parts)
        for files, parts in ((1, 1), (4, 1), (3, 7))
    ]
    assert all(kept == ways[0][0] and found.equals(ways[0][1]) for kept, found in ways)


def test_a_smaller_cap_keeps_part_of_what_a_larger_one_does(tmp_path: Path) -> None:
    kept = [
        run(tmp_path / str(most), table(URLS), CoverageSettings(max_per_domain=most), 2, 2)[0]
        for most in (2, 5, 9)
    ]
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize(
    ("settings", "years"),
    [
        (CoverageSettings(oldest=date(2019, 5, 1), newest=date(2019, 5, 1)), {2019}),
        (CoverageSettings(oldest=date(2019, 5, 2)), {2020}),
        (CoverageSettings(newest=date(2019, 4, 30), undated=True), {2018, None}),
        (CoverageSettings(undated=True), {2018, 2019, 2020, None}),
    ],
)
def test_documents_are_selected_by_age_with_both_ends_in(
    tmp_path: Path, settings: CoverageSettings, years: set[int | None]
) -> None:
    dated: list[int | None] = [2018, 2019, 2020, None]
    documents = table(["http://a.example/"] * 4, dated)
    kept, _ = run(tmp_path / "run", documents, settings, 1, 1)
    assert {
        year for year, id_ in zip(dated, documents["id"].to_pylist(), strict=True) if id_ in kept
    } == years


def test_a_removed_document_says_what_was_measured_and_the_bound(tmp_path: Path) -> None:
    settings = CoverageSettings(oldest=date(2019, 1, 1), newest=date(2020, 12, 31))
    documents = table(["http://a.example/"] * 3, [2010, 2030, None])
    found = coverage.removal(settings, documents, Bounds([]), seed=1)
    assert found.rules.to_pylist() == ["coverage.age"] * 3
    old, new, undated = found.values.to_pylist()
    assert 2010.3 < old < 2010.4 and 2030.3 < new < 2030.4 and undated is None
    assert found.bounds.to_pylist() == pytest.approx([2019.0, 2020.997, 2019.0], abs=0.001)


def test_documents_out_of_age_do_not_count_towards_a_cap(tmp_path: Path) -> None:
    documents = table(["http://a.example/"] * 40, [2010, 2020] * 20)
    kept, _ = run(
        tmp_path / "run", documents, CoverageSettings(oldest=date(2015, 1, 1), max_per_domain=12), 2, 1
    )
    assert len(kept) == 12 and kept <= {document_id("web", str(n)) for n in range(1, 40, 2)}
