"""What of earlier corpora a run's documents duplicate, and how near those are that stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gristmill.dedup.near.nearest import host_of
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.errors import UsageError
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases.dedup.index import publish_index
from gristmill.pipeline.report.sections.duplicates import duplicates_section
from gristmill.pipeline.verbs.stages.dedup import register
from tests.support.dedup_drive import documents
from tests.support.dedup_stages import made_stage, read, run
from tests.support.made_stage import MadeSlice
from tests.support.made_texts import jaccard, mutated, page

__all__ = ["made_stage"]  # the fixture that names the stage of made documents


def texts(*pages: list[str]) -> list[str]:
    return [" ".join(words) for words in pages]


@pytest.mark.parametrize("split", [1_000_000, 3])
def test_each_document_names_the_old_one_it_duplicates_or_is_nearest_to(tmp_path: Path, split: int) -> None:
    settings = FuzzySettings(index=True, bands=60, rows=4)
    books = documents(texts(page(1), page(2)), keys=["b1", "b2"], url=["http://books.org/1", None])
    run(tmp_path / "books", books, [], MadeSlice(fuzzy=settings))
    wiki = documents(
        texts(page(3), page(4)), keys=["w1", "w2"], url=[f"http://Wiki.org:80/{n}" for n in (3, 4)]
    )
    run(tmp_path / "wiki", wiki, [1], MadeSlice(fuzzy=settings))
    publish_index(str(tmp_path / "wiki"), tmp_path / "published", "encyclopedia")
    assert not [
        path
        for path in (tmp_path / "published").rglob("*")
        if path.suffix not in (".run", ".parquet", ".json", "")
    ]
    mine = [
        mutated(page(1), [60]),
        mutated(page(3), [30]),
        mutated(page(4), [20, 50, 80]),
        page(9),
        mutated(page(1), [61]),
    ]
    new = documents(
        texts(*mine), keys=[f"n{n}" for n in range(5)], url=[f"http://shop.com/{n}" for n in range(5)]
    )
    where = (str(tmp_path / "books"), str(tmp_path / "published"))
    against = settings.model_copy(
        update={
            "against": where,
            "report": True,
            "index": False,
            "split_documents": split,
            "group_documents": 2,
        }
    )
    step = run(tmp_path / "mine", new, [2], MadeSlice(fuzzy=against))["dedup-fuzzy"]
    rows = {row["url"]: row for row in read(step, "nearest").to_pylist()}
    assert set(rows) == {f"http://shop.com/{n}" for n in (0, 1, 2, 4)}
    first, second, near = (rows[f"http://shop.com/{n}"] for n in range(3))
    assert (first["removed"], first["corpus"], first["old_url"]) == (True, "books", "http://books.org/1")
    assert first["old_id"] == books["id"][0].as_py()
    assert first["similarity"] == pytest.approx(jaccard(*texts(page(1), mine[0]))) and first["exact"]
    assert (second["corpus"], second["old_url"]) == ("encyclopedia", "http://Wiki.org:80/3")
    assert not near["removed"] and near["old_id"] == wiki["id"][1].as_py()
    assert near["similarity"] == pytest.approx(jaccard(*texts(page(4), mine[2]))) and near["similarity"] < 0.8
    told = step.extra["old"]
    sizes = [len(text.encode()) for text in texts(*mine)]
    assert told["corpora"] == {
        "books / web": {"removed": 2, "removed_bytes": sizes[0] + sizes[4]},
        "encyclopedia / web": {"removed": 1, "removed_bytes": sizes[1], "near": 1},
    }
    assert told["hosts"] == {"shop.com": 3} and sum(told["kept_similarity"]) == 1
    assert any("2 documents" in line and "books" in line for line in step.extra["notes"])
    section = duplicates_section(read_view(tmp_path / "mine"))
    assert section is not None and "encyclopedia / web" in section.body and "shop.com" in section.body
    assert list(verify(tmp_path / "mine")) == []


def test_the_verb_reports_and_publishes(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    for name, text in (("old", " ".join(page(1))), ("new", " ".join(mutated(page(1), [50])))):
        (tmp_path / f"{name}.jsonl").write_text(
            json.dumps({"text": text, "url": f"http://{name}.org/"}) + "\n"
        )
    quiet = ["--engine", "inline", "--stages", "fuzzy"]
    old = ["dedup", str(tmp_path / "old.jsonl"), "--out", str(tmp_path / "old"), "--index", *quiet]
    assert CliRunner().invoke(app, old).exit_code == 0
    published = CliRunner().invoke(app, ["dedup-index", str(tmp_path / "old"), str(tmp_path / "pub")])
    assert "bytes written" in published.output
    new = ["dedup", str(tmp_path / "new.jsonl"), "--out", str(tmp_path / "new"), *quiet, "--report"]
    done = CliRunner().invoke(app, [*new, "--against", str(tmp_path / "pub")])
    assert done.exit_code == 0 and "1 documents" in done.output and "are in old / input" in done.output
    refused = CliRunner().invoke(app, new)
    assert isinstance(refused.exception, UsageError)


def test_a_host_is_read_from_any_url() -> None:
    urls = {"http://User:pw@A.org:80/x": "a.org", "https://b.org?x=//c": "b.org", "": "", "no url": ""}
    assert {url: host_of(url) for url in urls} == urls and host_of(None) == ""
