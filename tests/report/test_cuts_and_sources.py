"""Cuts where they are, labels that can be read, sources one by one, pages apart from other records."""

from __future__ import annotations

import re
from pathlib import Path

from gristmill.ledger import Books
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.printing.figures import number
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.report.charts.histograms import histogram
from gristmill.pipeline.report.sections.by_source import source_section
from gristmill.pipeline.report.sections.overview import verdict
from tests.support.run_folders import record, write_run_file, write_step


def bars(drawn: str, class_: str) -> list[tuple[float, float]]:
    """Left and right edge of every bar of a class."""
    found = re.findall(rf'<rect x="([\d.]+)"[^>]*? width="([\d.]+)"[^>]*? class="{class_}"', drawn)
    return [(float(x), float(x) + float(width)) for x, width in found]


def cut_of(drawn: str) -> float:
    (x,) = re.findall(r'<line x1="([\d.]+)"[^>]* class="cut"', drawn)
    return float(x)


def test_documents_whose_value_is_a_maximum_stand_on_the_kept_side() -> None:
    series = [("kept", [90, 0, 0]), ("removed", [5, 3, 0])]
    drawn = histogram(
        "curly brackets", [0, 1, 2, 3], series, [0], gone=[(0, float("inf"))], left_of={0: "kept"}
    )
    (kept,) = bars(drawn, "kept")
    assert kept[1] <= cut_of(drawn) + 0.6
    assert all(left >= cut_of(drawn) - 0.6 for left, _ in bars(drawn, "removed"))
    between = histogram(
        "words", [0, 10, 20], [("kept", [1, 9]), ("removed", [8, 0])], [10], left_of={12: "kept"}
    )
    assert bars(between, "removed")[0][1] <= cut_of(between) + 0.6


def test_labels_of_cuts_and_counts_keep_apart() -> None:
    drawn = histogram("x", [0, 1, 2, 3, 4], [("kept", [1, 1234, 2, 3])], [1.4, 1.6])
    labels = re.findall(
        r'<text x="([\d.-]+)" y="([\d.]+)" class="cutlabel halo" text-anchor="(\w+)">([^<]+)', drawn
    )
    assert [label[3] for label in labels] == ["1.4", "1.6"] and len({label[1] for label in labels}) == 2
    ((x, anchor),) = re.findall(r'<text x="([\d.-]+)" y="26" class="tick halo" text-anchor="(\w+)">', drawn)
    wide = 6.4 * len("1.23 k")
    low = float(x) - (wide if anchor == "end" else wide / 2 if anchor == "middle" else 0)
    cuts = [float(cut) for cut in re.findall(r'<line x1="([\d.]+)"[^>]* class="cut"', drawn)]
    assert all(not low + 1 < cut < low + wide - 1 for cut in cuts)


def test_numbers_lose_no_digit_before_the_point() -> None:
    assert [number(value) for value in (12_345.678, 100_000.5, 1234.5678, 0.15)] == [
        "12,345.7", "100,000.5", "1235", "0.15",
    ]  # fmt: skip


def test_pages_are_the_base_and_sources_stand_apart(tmp_path: Path) -> None:
    web = Books(100, 1000, created_bytes=500)
    web.items_out.update(kept=40, removed=10, request=30, metadata=20)
    web.bytes_out.update(kept=400, removed=100, request=300, metadata=200)
    folder = write_step(tmp_path, "extract/web", "extract", [record("extract", 0, web, "web")])
    write_run_file(tmp_path, {"extract/web": folder}, ["extract/web"], complete=True)
    view = read_view(tmp_path)
    funnel = build_funnel(view)
    assert (funnel.records, funnel.pages, funnel.documents) == (100, 50, 40)
    assert verdict(view, funnel).startswith("40 of 50 pages are left as documents (80.0 %)")
    section = source_section(funnel)
    assert section and ">web<" in section.body and "80.0 %" in section.body
