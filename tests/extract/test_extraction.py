"""From records to documents: gates, texts, languages, books."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.document import FAILED, document_id, document_schema, removed_schema
from gristmill.errors import RecipeError
from gristmill.hashing import digest16
from gristmill.pipeline.extract.extraction import ExtractBatch, Extraction, documents_schema
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from tests.support.archives import http, member, page, record, source_of


class Milled:
    """All batches of a source as three tables, its books checked."""

    def __init__(
        self,
        pattern: str | Path,
        settings: ExtractSettings | None = None,
        shard_bytes: int = 64 << 20,
        **source: Any,
    ) -> None:
        self.source = source_of(pattern, **source)
        batches: list[ExtractBatch] = []
        self.books = []
        self.notes: Counter[str] = Counter()
        ends = []
        for shard in plan_shards(self.source, shard_bytes):
            extraction = Extraction(
                shard, "web", self.source, settings or ExtractSettings(extractor="resiliparse")
            )
            batches += list(extraction)
            extraction.books.balance("a test")
            self.books.append(extraction.books)
            self.notes.update(extraction.counts)
            ends += extraction.ends
        check_ranges_meet(ends)
        self.documents = pa.concat_tables([batch.documents for batch in batches])
        self.removed = pa.concat_tables([batch.removed for batch in batches])
        self.failed = pa.concat_tables([batch.failed for batch in batches])

    def rows(self) -> Iterator[dict[str, Any]]:
        yield from self.documents.to_pylist()

    @property
    def rules(self) -> list[str]:
        return self.removed["rule"].to_pylist()

    @property
    def errors(self) -> list[str]:
        return self.failed["error"].to_pylist()


def test_an_archive_becomes_documents_with_every_record_accounted_for(tmp_path: Path) -> None:
    kinds = ["warcinfo", "request", "response", "metadata", "revisit"]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(member(record(n, kind=kinds[n % 5])) for n in range(50)))
    milled = Milled(tmp_path / "a.warc.gz")
    (books,) = milled.books
    assert books.as_json()["items_out"] == {
        "kept": 10,
        "metadata": 10,
        "request": 10,
        "revisit": 10,
        "warcinfo": 10,
    }
    row = next(milled.rows())
    assert row["id"] == document_id("web", f"<urn:uuid:{2:032x}>")
    assert row["text"].startswith("The mill by the river")
    assert (row["language"], row["url"], row["source"]) == ("en", "https://site2.example/page/2", "web")
    assert row["date"].isoformat() == "2025-01-02T03:04:05+00:00"
    assert milled.documents.schema.equals(document_schema(), check_metadata=True)
    assert milled.removed.schema.equals(removed_schema(document_schema()), check_metadata=True)
    assert milled.failed.schema.equals(FAILED, check_metadata=True)
    assert books.created_bytes == sum(len(row["text"].encode()) for row in milled.rows())


def test_each_gate_keeps_one_side_and_removes_the_other(tmp_path: Path) -> None:
    blocks = {
        "kept": http(page(1)),
        "extract.status": http(page(1), status="404 Not Found"),
        "extract.content_type": http(b"%PDF-1.7", content_type="application/pdf"),
        "extract.min_page_bytes": http(b"<p>"),
        "extract.min_text_bytes": http(b"<html><body><script>let x = 1</script></body></html>"),
    }
    (tmp_path / "a.warc").write_bytes(
        b"".join(record(number, block) for number, block in enumerate(blocks.values()))
    )
    milled = Milled(tmp_path / "a.warc", ExtractSettings(extractor="resiliparse", min_page_bytes=10))
    assert milled.documents.num_rows == 1
    assert milled.rules == [*list(blocks)[1:4], "extract.min_text_bytes"]
    removed = milled.removed.to_pylist()
    assert (removed[0]["value"], removed[0]["bound"], removed[0]["text"]) == (404.0, 200.0, None)
    assert removed[0]["url"] and removed[0]["origin"]["offset"] > 0


def test_urls_and_domains_can_be_blocked(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"".join(record(number) for number in (1, 2, 3)))
    settings = ExtractSettings(
        extractor="resiliparse", block_urls=["/page/1$"], block_domains=["Site2.example"]
    )
    milled = Milled(tmp_path / "a.warc", settings)
    assert milled.rules == ["extract.url", "extract.domain"]
    assert milled.documents.num_rows == 1


def test_pages_in_other_languages_are_removed_before_extraction_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("pycld2")  # without it markup is read as text is, and pages as short are not sure
    german = (
        "<html><body><p>"
        + "Die Mühle am Fluss mahlte Weizen und Roggen für das ganze Tal. " * 5
        + "</p></body></html>"
    )
    (tmp_path / "a.warc").write_bytes(record(1) + record(2, http(german.encode())))
    milled = Milled(tmp_path / "a.warc", ExtractSettings(extractor="resiliparse", html_languages=["de"]))
    assert milled.rules == ["extract.html_language"]
    assert [row["language"] for row in milled.rows()] == ["de"]


def test_a_record_seen_again_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(1) + record(2) + record(1))
    assert Milled(tmp_path / "a.warc").rules == ["input.repeated_record"]


def test_content_encodings_are_undone_where_they_are_real(tmp_path: Path) -> None:
    import zlib

    import zstandard

    html = page(5)
    bodies = {
        "gzip": gzip.compress(html),
        "br": brotli.compress(html),
        "deflate": zlib.compress(html),
        "zstd": zstandard.compress(html),
        "gzip, br": brotli.compress(gzip.compress(html)),
        "GZIP": html,  # the archive stored it decoded and kept the header
        "br ": html,
        "identity": html,
    }
    data = [
        record(n, http(body, extra=f"Content-Encoding: {name}\r\n"))
        for n, (name, body) in enumerate(bodies.items())
    ]
    (tmp_path / "a.warc").write_bytes(b"".join(data))
    texts = [row["text"] for row in Milled(tmp_path / "a.warc").rows()]
    assert len(texts) == len(bodies)
    assert len(set(texts)) == 1


def test_a_compressed_body_that_is_a_bomb_is_one_failed_row(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(21 << 20))
    bodies = [
        http(bomb, extra="Content-Encoding: gzip\r\n"),
        http(brotli.compress(bytes(21 << 20)), extra="Content-Encoding: br\r\n"),
    ]
    (tmp_path / "a.warc").write_bytes(record(1) + record(2, bodies[0]) + record(3, bodies[1]) + record(4))
    milled = Milled(tmp_path / "a.warc")
    assert milled.errors == ["too_large", "too_large"]
    assert milled.documents.num_rows == 2


def test_legacy_charsets_become_utf8(tmp_path: Path) -> None:
    text = "Мельница у реки молола пшеницу и рожь для всей долины, и её жернова ещё стоят там."
    html = f"<html><body><p>{text}</p></body></html>"
    data = record(1, http(html.encode("cp1251"), content_type="text/html; charset=windows-1251"))
    data += record(
        2,
        http(
            html.replace("<html>", '<html><meta charset="koi8-r">').encode("koi8-r"), content_type="text/html"
        ),
    )
    (tmp_path / "a.warc").write_bytes(data)
    rows = list(Milled(tmp_path / "a.warc").rows())
    assert [row["text"] for row in rows] == [text, text]
    assert rows[0]["language"] == "ru"


def test_json_lines_keep_chosen_columns(tmp_path: Path) -> None:
    rows = [
        {
            "content": "A text about mills.",
            "doc": 7,
            "link": "https://a.example",
            "when": "2024-05-06",
            "score": 0.5,
            "tags": ["a", "b"],
        },
        {"content": "Another one.", "doc": 8},
    ]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    columns = {"text": "content", "id": "doc", "url": "link", "date": "when"}
    milled = Milled(
        tmp_path / "a.jsonl.gz", columns=columns, passthrough={"score": "float64", "tags": "json"}
    )
    first, second = milled.rows()
    assert first["id"] == document_id("web", digest16("row", "7", "A text about mills.").hex())
    assert (first["url"], first["score"], first["tags"]) == ("https://a.example", 0.5, '["a", "b"]')
    assert first["date"].isoformat() == "2024-05-06T00:00:00+00:00"
    assert (second["score"], second["tags"], second["date"]) == (None, None, None)
    assert milled.documents.schema == documents_schema(milled.source)


def test_html_in_a_column_is_extracted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"html": page(3).decode()}) + "\n")
    (row,) = Milled(tmp_path / "a.jsonl", columns={"html": "html", "text": None}).rows()
    assert row["text"].startswith("The mill")


def test_headers_and_page_metadata_can_be_kept_as_columns(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(1, extra="WARC-IP-Address: 192.0.2.1\r\n"))
    names = ["warc.warc-ip-address", "http.content-type", "page.title", "page.charset"]
    milled = Milled(tmp_path / "a.warc", passthrough=names)
    (row,) = milled.rows()
    assert [row[name] for name in names] == ["192.0.2.1", "text/html; charset=utf-8", "Page 1", "utf-8"]


@pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse", "blocks", "auto"])
def test_each_extractor_finds_the_main_text(tmp_path: Path, extractor: str) -> None:
    (tmp_path / "a.warc").write_bytes(b"".join(record(number) for number in range(3)))
    rows = list(Milled(tmp_path / "a.warc", ExtractSettings(extractor=extractor)).rows())
    assert [row["text"].split("\n")[0] for row in rows] == [
        f"The mill by the river ground wheat and rye for the whole valley, and number {n * 10} of its stones"
        " is still there."
        for n in range(3)
    ]


def test_a_limit_reads_so_many_records_in_order(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.warc").write_bytes(
            b"".join(record(number, extra=f"X: {name}\r\n") for number in range(10))
        )
    milled = Milled(tmp_path / "*.warc", limit=7)
    assert milled.documents.num_rows == 7
    assert {row["origin"]["file"] for row in milled.rows()} == {str(tmp_path / "a.warc")}


def test_however_a_source_is_cut_its_documents_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(b"".join(member(record(number)) for number in range(60)))
    whole, split = Milled(tmp_path / "a.warc.gz"), Milled(tmp_path / "a.warc.gz", shard_bytes=2000)
    assert len(split.books) > 5
    assert split.documents.combine_chunks().equals(whole.documents.combine_chunks())


HEAVY = {
    "50 MB": b"<p>some words of a paragraph</p>" * 1_600_000,
    "100,000 nested elements": b"<div>" * 100_000 + b"deep text " * 50 + b"</div>" * 100_000,
    "200,000 siblings": b"<p>x y z</p>" * 200_000,
    "a table of 60,000 rows": b"<table>" + b"<tr><td>a</td><td>b c d</td></tr>" * 60_000 + b"</table>",
    "5,000 nested tables": b"<table><tr><td>" * 5000,
    "200,000 attributes": (
        b"<div " + b" ".join(b"a%d=b" % number for number in range(200_000)) + b">text of the page</div>"
    ),
    "an unclosed attribute": b"<a href='" * 300_000,
    "nothing but signs": b"<" * 5_000_000,
    "a date of 2 MB": b"<meta name=date content='" + b"2020-" * 400_000 + b"'>",
    "a line of blanks": b"<p>" + b" " * 3_000_000 + b"x</p>",
}


@pytest.mark.slow
@pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse", "blocks"])
def test_a_heavy_page_is_one_row_and_costs_its_deadline_at_most(tmp_path: Path, extractor: str) -> None:
    data = b"".join(
        record(number, http(b"<html><body>" + body)) for number, body in enumerate(HEAVY.values())
    )
    (tmp_path / "a.warc").write_bytes(record(900) + data + record(901))
    milled = Milled(
        tmp_path / "a.warc",
        ExtractSettings(extractor=extractor, deadline_seconds=5),
        max_record_bytes=64 << 20,
    )
    assert milled.documents.num_rows + milled.removed.num_rows + milled.failed.num_rows == len(HEAVY) + 2
    assert set(milled.errors) <= {"too_large", "timeout", "memory", "too_deep"}
    assert {row["url"].rsplit("/", 1)[1] for row in milled.rows()} >= {"900", "901"}


@pytest.mark.slow
@pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse", "blocks"])
def test_no_real_page_fails(shared_data: Path, extractor: str) -> None:
    milled = Milled(
        shared_data / "realweb" / "*.warc.gz", ExtractSettings(extractor=extractor), shard_bytes=4 << 20
    )
    total = milled.documents.num_rows + milled.removed.num_rows
    assert (total, milled.errors) == (3003, [])


ROWS = [
    {"id": "1", "text": "Die Mühle am Fluss mahlte Weizen und Roggen für das ganze Tal.", "lang": "deu_Latn"},
    {"id": "2", "text": "The mill by the river ground wheat and rye for the valley.", "lang": "iw"},
    {"id": "3", "text": "El molino junto al río molía trigo y centeno.", "lang": None},
    {"id": 4.5, "text": "Le moulin au bord de la rivière moulait le blé.", "lang": "fr"},  # read by itself
]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("how", ["detect", "off", "column"])
def test_a_language_is_detected_taken_from_a_column_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, how: str
) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        pq.write_table(pa.Table.from_pylist([row | {"id": str(row["id"])} for row in ROWS]), path)
    if how != "detect":
        for module in ("tables.detect_batch", "by_columns.detect_batch"):
            monkeypatch.setattr(f"gristmill.pipeline.extract.{module}", None)  # nobody asks
    settings = ExtractSettings(language="off" if how == "off" else "detect")
    columns = {"language": "lang"} if how == "column" else {}
    rows = list(Milled(path, settings, columns=columns).rows())
    wanted = {"detect": ["de", "en", "es", "fr"], "off": [None] * 4, "column": ["de", "he", None, "fr"]}
    assert [row["language"] for row in rows] == wanted[how]
    if how != "detect":
        assert [row["language_score"] for row in rows] == [code and 1.0 for code in wanted[how]]


def test_pages_have_no_language_where_none_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(1))
    (row,) = Milled(tmp_path / "a.warc", ExtractSettings(extractor="resiliparse", language="off")).rows()
    assert row["text"] and row["language"] is None and row["language_score"] is None


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"filter": {"language": {"keep": ["en"]}}}, "filter.language"),
        ({"filter": {"stop_words": {}}}, "filter.stop_words"),
        ({"filter": {"language": {"keep": ["en"], "detector": "auto"}}}, None),
        ({"filter": {"presets": ["gopher"]}}, None),
    ],
)
def test_what_goes_by_languages_is_refused_where_documents_have_none(
    tmp_path: Path, sections: dict[str, Any], named: str | None
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    source: dict[str, Any] = {"inputs": str(tmp_path / "a.jsonl")}
    recipe = {"name": "r", "sources": {"web": source}, "extract": {"language": "off"}, **sections}
    if named is None:
        build_plan(make_recipe(recipe))
        return
    with pytest.raises(RecipeError, match=f"`{named}` goes by languages"):
        build_plan(make_recipe(recipe))
    source["columns"] = {"language": "lang"}
    build_plan(make_recipe(recipe))
