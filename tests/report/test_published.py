"""`compare` with a published set: by URL, which step and rule took what they have, and the other way
round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.errors import InputError, UsageError
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.published import compare_published, tell

GOOD = "The wind of the sea and the sand have been with us all day long, as it is. " * 8
PAGES = {
    "http://www.a.example/good": GOOD + "One.",
    "http://b.example/good": GOOD + "Two.",
    "http://c.example/short": "Too short.",
    "http://d.example/copy": GOOD + "One.",
    "http://e.example/bulleted": "\n".join("- the and of that with a longer line of list" for _ in range(20)),
}
THEIRS = [
    ("https://a.example/good/", "en"),  # the same page by C4's normal form
    ("http://c.example/short", "en"),
    ("http://d.example/copy", "de"),
    ("http://never.example/seen", "de"),
    (None, "de"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    rows = [{"id": url, "url": url, "text": text} for url, text in PAGES.items()]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(
        "name: mine\nsources: {web: {inputs: in.jsonl}}\nfilter: {presets: [gopher]}\n"
        "dedup: {exact: {survivor: id}}\n"
    )
    gristmill("run", folder / "recipe.yaml", "--out", folder / "out", "--engine", "inline")
    (folder / "set").mkdir()
    urls, languages = zip(*THEIRS, strict=True)
    for part in range(2):
        table = pa.table(
            {"url": urls[part::2], "language": languages[part::2], "text": ["x"] * len(urls[part::2])}
        )
        pq.write_table(table, folder / "set" / f"{part}.parquet")
    return folder


def gristmill(*words: Any) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([str(word) for word in words])
    assert not exit_.value.code


def test_what_they_have_is_told_with_the_step_and_rule_that_took_it(run: Path) -> None:
    found = compare_published(run / "out", str(run / "set"))
    because = dict(found.because)
    survivor = "kept by both"
    # Of the two copies one stays; which one is for the ids to say.
    assert because.pop(survivor) + because.pop("dedup-exact: dedup.exact", 0) == 2
    assert because == {"filter: gopher.words": 1, "not in our input": 1}
    assert (found.theirs, found.without_url) == (5, 1)
    assert found.by_language["en"]["filter: gopher.words"] == 1
    assert found.by_language["de"]["not in our input"] == 1
    assert {"url": "http://c.example/short", "because": "filter: gopher.words"} in found.examples


def test_what_they_lack_is_counted_and_judged_by_a_recipes_filters(run: Path) -> None:
    pytest.importorskip("pycld2")  # resiliparse is less sure of the language of texts as short
    found = compare_published(run / "out", str(run / "set" / "*.parquet"), recipe="fineweb")
    alone = found.ours - found.because["kept by both"]
    assert found.only_ours == alone > 0 and sum(found.only_ours_by_language.values()) == alone
    assert found.judged == alone and sum(found.their_rules.values()) == alone
    assert any(rule.startswith("gopher-repetition.") for rule in found.their_rules)
    assert any("would remove" in line for line in tell(found))


def test_the_verb_tells_a_published_set_from_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gristmill("compare", run / "out", run / "set", "--json")
    assert json.loads(capsys.readouterr().out)["theirs"] == 5
    gristmill("compare", run / "out", run / "set", "--recipe", "fineweb")
    assert "5 documents of the published set" in capsys.readouterr().out
    gristmill("compare", run / "out", run / "out")
    assert "keeps every document" in capsys.readouterr().out


def test_what_is_no_set_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither the output folder of a run nor a published set"):
        compare_published(run / "out", str(tmp_path))
    with pytest.raises(InputError, match="has no column `metadata`"):
        compare_published(run / "out", str(run / "set"), layout="dolma")
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read"):
        compare_published(run / "out", str(tmp_path))
    with pytest.raises(UsageError, match="no column of URLs"):
        compare_published(run / "out", str(run / "set"), layout="the-stack")
    with pytest.raises(UsageError, match="no layout `nosuch`; known: fineweb, dolma"):
        compare_published(run / "out", str(run / "set"), layout="nosuch")
    (tmp_path / "own.yaml").write_text("url: [a, b]\n")
    with pytest.raises(UsageError, match="no column of URLs"):
        compare_published(run / "out", str(run / "set"), layout=str(tmp_path / "own.yaml"))
    with pytest.raises(UsageError, match="has no filters that would judge"):
        compare_published(run / "out", str(run / "set"), recipe="cosmopedia")


@pytest.mark.parametrize(
    ("column", "layout", "said"),
    [
        ({"url": [1, 2]}, "fineweb", "the column `url` of .* holds no URLs: int64"),
        ({"metadata": ["{}", None]}, "dolma", r"the column `metadata.url` of .* holds no URLs: nothing"),
        ({"metadata": [{"site": "a"}, None]}, "dolma", r"`metadata.url` of .* holds no URLs: nothing"),
        ({"metadata": [{"url": 1.5}, None]}, "dolma", r"`metadata.url` of .* holds no URLs: double"),
    ],
)
def test_a_column_that_holds_no_urls_is_refused(
    run: Path, tmp_path: Path, column: dict[str, list[Any]], layout: str, said: str
) -> None:
    pq.write_table(pa.table(column), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=said):
        compare_published(run / "out", str(tmp_path), layout=layout)


def test_urls_within_a_column_or_numbered_are_read(run: Path, tmp_path: Path) -> None:
    plain = compare_published(run / "out", str(run / "set"))
    urls = pq.read_table(run / "set", columns=["url"])["url"]
    pq.write_table(pa.table({"metadata": [{"url": url} for url in urls.to_pylist()]}), tmp_path / "a.parquet")
    assert (
        compare_published(run / "out", str(tmp_path / "a.parquet"), layout="dolma").because == plain.because
    )
    pq.write_table(pa.table({"url": urls.combine_chunks().dictionary_encode()}), tmp_path / "b.parquet")
    assert compare_published(run / "out", str(tmp_path / "b.parquet")).because == plain.because
