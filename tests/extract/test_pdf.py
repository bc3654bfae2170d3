"""PDFs with a text layer become documents: paragraphs whole, what repeats on every page gone."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gristmill.pipeline.extract.pdf import paragraphs, pdf_text, without_repeats
from gristmill.pipeline.extract.settings import ExtractSettings
from tests.extract.test_extraction import Milled
from tests.support.archives import http, page, record

GRAINS = ["wheat", "rye", "oats", "barley", "spelt"]
PARAGRAPH = [
    "The mill at the end of the valley ground {} day after day for three par-",
    "ishes, and the farmers brought {} on carts that stood there in a row",
    "as far as the old stone bridge, until all of the {} was ground.",
]


def made_pdf(pages: list[list[str]]) -> bytes:
    """A PDF of lines in Helvetica, written object by object (ISO 32000-1, section 7.5)."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in enumerate(pages):
        shown = " ".join(f"({line}) Tj T*" for line in lines)
        stream = f"BT /F1 10 Tf 14 TL 50 760 Td {shown} ET" if lines else ""
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(body)
    body += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    body += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF"
    return body.encode("latin-1")


def report() -> bytes:
    pages = [
        ["Valley News, volume 7", f"Chapter {n}", *(line.format(grain) for line in PARAGRAPH), f"{n} / 5"]
        for n, grain in enumerate(GRAINS, 1)
    ]
    return made_pdf(pages)


def test_lines_become_paragraphs_and_running_heads_go() -> None:
    text = pdf_text(report())
    whole = (
        "The mill at the end of the valley ground {0} day after day for three parishes, and the farmers"
        " brought {0} on carts that stood there in a row as far as the old stone bridge, until all of the"
        " {0} was ground."
    )
    assert text.split("\n\n") == [whole.format(grain) for grain in GRAINS]


def test_words_cut_by_a_line_end_are_whole_and_compounds_stay() -> None:
    usual = "a line that is as long as most of the lines of this page are long"
    assert list(
        paragraphs([[usual, "the micro\ufffe", "scope and the well-", "Known man-", "made lake."]])
    ) == [f"{usual} the microscope and the well- Known manmade lake."]


def test_pages_without_lines_are_no_damage() -> None:
    assert list(paragraphs([["One."], [], ["", "Two."]])) == ["One.", "Two."]


def test_nothing_is_taken_for_repeated_on_two_pages() -> None:
    pages = [["Title", "text"], ["Title", "more"]]
    assert without_repeats(pages) == pages
    assert without_repeats([["A 1", "x"], ["A 2", "y"], ["A 3", "z"]]) == [["x"], ["y"], ["z"]]


@pytest.mark.parametrize("extra", ["", "Content-Encoding: gzip\r\n"])
@pytest.mark.parametrize("label", ["application/pdf", "text/html", "application/octet-stream"])
def test_a_pdf_becomes_a_document_when_asked(tmp_path: Path, label: str, extra: str) -> None:
    body = gzip.compress(report()) if extra else report()
    pdf = http(body, content_type=label, extra=extra)
    scan = http(made_pdf([[], []]), content_type=label)
    broken = http(b"%PDF-1.4\nnothing of one", content_type=label)
    data = [record(1, pdf), record(2, scan), record(3, broken), record(4, http(page(4)))]
    (tmp_path / "a.warc").write_bytes(b"".join(data))
    milled = Milled(tmp_path / "a.warc", ExtractSettings(extractor="resiliparse", pdf="text"))
    named = not extra or label != "application/octet-stream"  # of coded bytes nobody says what they are
    assert milled.documents.num_rows == 1 + named
    if named:
        assert next(milled.rows())["text"].startswith("The mill at the end of the valley")
        assert next(milled.rows())["language"] == "en"
    assert milled.rules == [*([] if named else ["extract.content_type"]), "pdf.no_text_layer"]
    assert milled.errors == ["damaged_pdf"]


def test_a_pdf_is_removed_by_name_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(1, http(report())))
    assert Milled(tmp_path / "a.warc").rules == ["extract.binary"]
