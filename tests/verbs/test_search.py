"""A text index finds what reading finds; training passages are found in what a model writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gristmill.errors import UsageError
from gristmill.pipeline.cli import main
from gristmill.pipeline.look import search as searching
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.document.passages import longest_passages
from gristmill.pipeline.look.documents import Query, count_documents, find_documents
from gristmill.pipeline.look.search import excerpt, phrases_of, search
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.stages.index import INDEX
from gristmill.token_shards import TOKENS, read_manifest
from tests.support.toy_stage import INLINE, QUIET

WORDS = "the words of that river and with having water to be under it for the morning as his"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    for name, num in (("a", 60), ("b", 20)):
        rows = [
            {
                "id": f"{name}{n}",
                "text": f"{WORDS} number {n % 50} of {name}; Straße {n} OR drop, cookie policy {n}.",
            }
            for n in range(num)
        ]
        rows += [{"id": f"{name}-again", "text": rows[0]["text"]}]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = {name: {"inputs": f"{folder}/{name}.jsonl"} for name in "ab"}
    sections = {
        "dedup": {"exact": {}},
        "index": {"of": "text", "documents": 40},
        "tokenizer": {"vocab_size": 320},
    }
    recipe = make_recipe({"name": "x", "sources": sources, "shard_bytes": 3000, **sections, "mix": {}})
    run_plan(build_plan(recipe), folder / "out", INLINE, QUIET)
    return folder / "out"


def test_counts_are_those_of_reading_all_texts(out: Path) -> None:
    found = search(out, '"cookie policy"', 5)
    assert dict(found.by_outlet) == {"documents": 80, "removed": 2}
    assert dict(found.by_source) == {"a": 61, "b": 21} and dict(found.by_rule) == {"dedup.exact": 2}
    assert len(found.hits) == 5 and all("cookie policy" in hit.read()["text"] for hit in found.hits)
    assert sum(search(out, '"straße 7"', 0).by_outlet.values()) == 2
    assert sum(search(out, "policy cookie", 0).by_outlet.values()) == 82
    assert not search(out, '"policy cookie"', 5).by_outlet
    assert search(out, "river", 0, outlet="removed", source="b").by_outlet == {"removed": 1}


def test_what_is_asked_is_words_and_no_operator() -> None:
    assert phrases_of('cookie "of the river" a OR b*') == ["cookie", "of the river", "a", "OR", "b"]
    with pytest.raises(UsageError, match="holds no word"):
        phrases_of("!?")


def test_inspect_why_and_trace_read_the_index(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [shown.text for shown in find_documents(out, Query(text="cookie policy 7"))]
    assert len(texts) == 2 and all("cookie policy 7." in text for text in texts)
    assert count_documents(out, Query(text="cookie policy")) == 80
    life = look_up(out, "Straße 17 OR drop, cookie")
    assert life.id and life.verdict.startswith("in the ")
    assert look_up(out, "never said").id is None
    with pytest.raises(SystemExit):
        main(["trace", str(out), "--text", "Straße 17 OR drop", "--json"])
    assert "Straße 17 OR drop" in json.loads(capsys.readouterr().out.splitlines()[0])["text"]
    with pytest.raises(SystemExit):
        main(["search", str(out), "straße 17", "--json"])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_index_is_a_step_like_others(out: Path) -> None:
    assert list(verify(out)) == []
    assert len(list((out / "steps").glob("index-*/data/search-index-*"))) > 1


def test_a_run_without_an_index_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": WORDS}) + "\n")
    recipe = make_recipe({"name": "x", "sources": {"a": {"inputs": f"{tmp_path}/a.jsonl"}}})
    run_plan(build_plan(recipe), tmp_path / "out", INLINE, QUIET)
    with pytest.raises(UsageError, match="has no text index"):
        search(tmp_path / "out", "river", 5)
    again = make_recipe({"name": "x", "index": "text", "sources": {"a": {"inputs": f"{tmp_path}/a.jsonl"}}})
    assert run_plan(build_plan(again), tmp_path / "out", INLINE, QUIET).ran == ["index"]
    assert search(tmp_path / "out", "river", 5).by_outlet == {"documents": 1}


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    with pytest.raises(SystemExit):
        main(["search", *words])
    return capsys.readouterr().out.splitlines()


def test_a_search_says_what_it_looked_for_and_why_it_found_none(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = printed(capsys, str(out), '"cookie policy" drop')
    assert first == "82 documents hold `cookie policy` and `drop`: 80 kept, 2 removed"
    assert rest[:3] == ["  source a: 61", "  source b: 21", "  removed by dedup.exact: 2"]
    assert printed(capsys, str(out), "river", "--kept")[0] == "80 documents hold `river`: 80 kept"
    misspelt = printed(capsys, str(out), "cokie policy")
    assert misspelt == [
        "0 documents hold `cokie` and `policy`: 0 kept, 0 removed",
        "  no document holds `cokie`; did you mean `cookie`?",
    ]
    assert "not side by side" in printed(capsys, str(out), '"policy cookie"')[1]
    assert "no document holds them all" in printed(capsys, str(out), '"number 3" "number 4"')[1]
    narrowed = printed(capsys, str(out), "straße 17", "--removed")
    assert narrowed[1] == "  2 would be found without `--kept`, `--removed` and `--source`"
    with pytest.raises(SystemExit):
        main(["search", str(out), "river", "--source", "c"])
    assert "has no source `c`" in capsys.readouterr().err


def test_an_excerpt_is_of_the_word_and_not_of_a_part_of_another() -> None:
    text = "A party. " * 30 + "This is Art, and more."
    assert "Art, and more" in excerpt(text, "art")
    assert excerpt(text, "never said").startswith("A party. A party")


def test_an_index_of_another_version_is_refused_with_what_rebuilds_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "INDEX", replace(INDEX, version=INDEX.version + 1))
    with pytest.raises(UsageError, match=f"is of version {INDEX.version}, and this release reads") as told:
        search(out, "river", 5)
    assert f"gristmill run RECIPE --out {out}" in str(told.value.hint)
    # Others read the texts one by one.
    assert look_up(out, "Straße 17 OR drop, cookie").id
    assert count_documents(out, Query(text="cookie policy")) == 80


def test_the_longest_shared_runs_are_found_in_the_shards(out: Path) -> None:
    (folder,) = (out / "steps").glob("mix-*/shards/train")
    manifest = read_manifest(folder)
    tokens = np.asarray(TOKENS.read(folder / manifest["shards"][0]["name"], manifest["dtype"]))
    written = [3, 3, 3, *tokens[100:130].tolist(), 5, 5, *tokens[10:16].tolist()]
    first, *others = longest_passages(folder, written, 5)
    assert first.length >= 30 and first.at <= 3
    assert (
        tokens[first.token : first.token + first.length].tolist()
        == written[first.at : first.at + first.length]
    )
    assert all(other.length <= first.length for other in others)
    assert longest_passages(folder, [1, 2], 5) == []
