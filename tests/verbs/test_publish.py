"""A corpus that is published: its card, its Croissant, its files with their digests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from gristmill.pipeline.cli import main
from gristmill.pipeline.look.publishing.card import limits
from gristmill.pipeline.look.publishing.corpus_statistics import statistics
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.runner import run_plan
from tests.support import object_store
from tests.support.toy_stage import INLINE, QUIET


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publish")
    words = "the words of that river and with having water to be under it for the morning as his"
    rows = [
        {"id": f"a-{n}", "text": f"{words} {n % 40} write to me@mail.example now", "license": "cc-by"}
        for n in range(60)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = {"a": {"inputs": f"{folder}/a.jsonl", "passthrough": ["license"]}}
    sections = {"filter": {"pii": {}}, "dedup": {"exact": {}}, "tokenizer": {"vocab_size": 320}}
    recipe = make_recipe({"name": "x", "sources": sources, **sections, "mix": {"heldout_fraction": 0.2}})
    run_plan(build_plan(recipe), folder / "out", INLINE, QUIET)
    return folder / "out"


@pytest.fixture(scope="module")
def corpus(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("corpus") / "x"
    given = [
        "--to",
        target,
        "--licence",
        "odc-by",
        "--url",
        "https://x.example/x",
        "--engine",
        "inline",
        "-q",
    ]
    assert call("publish", out, *given) == 0
    return target


def test_a_repository_holds_data_card_and_every_digest(corpus: Path) -> None:
    names = {path.name for path in corpus.iterdir()}
    assert names == {"README.md", "croissant.json", "statistics.json", "recipe.yaml", "manifest.json", "data"}
    manifest = json.loads((corpus / "manifest.json").read_text())
    assert {file["path"].partition("-")[0] for file in manifest["files"]} == {"data/train", "data/test"}
    for file in manifest["files"]:
        data = (corpus / file["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    rows = sum(pq.read_metadata(corpus / file["path"]).num_rows for file in manifest["files"])
    assert rows == manifest["documents"] == 40


def test_the_card_has_what_the_hub_reads_and_says_what_is_missing(corpus: Path, out: Path) -> None:
    text = (corpus / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert (head["license"], head["size_categories"]) == ("odc-by", ["n<1K"])
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"}, {"split": "test", "path": "data/test-*"},
    ]  # fmt: skip
    assert "40 documents" in text and "left of 60 pages (66.7 %)" in text
    assert re.search(r"Personal data replaced: `emails?` 60", text)
    assert "Documents by licence: `cc-by` 40" in text
    assert "Documents removed for a benchmark's text: none counted" in text and "may be contaminated" in text
    assert "gristmill run recipe.yaml --out out/x" in text
    for name, step in finished_steps(out).items():
        assert f"| {name} | {step.identity[:16]} | {step.content_digest[:16]} |" in text


def test_the_recipe_that_is_published_makes_the_same_corpus(corpus: Path, out: Path) -> None:
    again = make_recipe(yaml.safe_load((corpus / "recipe.yaml").read_text()))
    result = run_plan(build_plan(again), out, INLINE, QUIET)
    assert result.ran == []


def test_the_statistics_are_those_of_the_documents(corpus: Path) -> None:
    found = json.loads((corpus / "statistics.json").read_text())
    assert (found["pages"], found["documents"], found["sources"]["a"]["removed"]) == (60, 40, 20)
    assert sum(found["languages"].values()) == sum(found["lengths_bytes_from"].values()) == 40
    assert found["tokens"]["encoded"] == found["tokens"]["in_shards"] + found["tokens"]["heldout"]


def test_the_croissant_is_valid(corpus: Path) -> None:
    body = json.loads((corpus / "croissant.json").read_text())
    assert {part["@id"] for part in body["distribution"]} == {
        f"data/{path.name}" for path in (corpus / "data").iterdir()
    }
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=str(corpus / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    names = [record.name for record in dataset.metadata.record_sets]
    assert len(list(dataset.records(names[0]))) > 0


@pytest.mark.parametrize(
    ("licences", "said"),
    [
        ({}, ["Documents carry no licence"]),
        ({"a": "odc-by"}, ["Documents of `b` carry no licence"]),
        ({"a": "odc-by", "b": "cc0-1.0"}, []),
    ],
)
def test_a_card_says_no_source_is_without_the_licence_that_its_table_names(
    out: Path, licences: dict[str, str], said: list[str]
) -> None:
    sources = {name: {"licence": licences.get(name)} for name in "ab"}
    found = {**statistics(out), "licences": {}, "sources": sources}
    assert [line.partition(":")[0] for line in limits(found) if "licence" in line] == said


def test_a_card_alone_describes_a_run(out: Path, tmp_path: Path) -> None:
    assert call("card", out, "--to", tmp_path / "card") == 0
    assert {path.name for path in (tmp_path / "card").iterdir()} >= {"README.md", "croissant.json"}
    assert (
        yaml.safe_load((tmp_path / "card" / "README.md").read_text().split("---\n")[1])["license"] == "other"
    )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from object_store.serve("hub")


@pytest.mark.filterwarnings("default")  # of the server and its client
def test_a_prefix_of_an_object_store_holds_what_a_folder_holds(
    out: Path, corpus: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    given = ["--licence", "odc-by", "--url", "https://x.example/x", "--engine", "inline", "-q"]
    assert call("publish", out, "--to", "s3://hub/corpora/x", *given) == 0
    client = object_store.client(server)
    listed = client.list_objects_v2(Bucket="hub", Prefix="corpora/x/")["Contents"]
    found = {item["Key"].removeprefix("corpora/x/"): item["Key"] for item in listed}
    local = {str(path.relative_to(corpus)): path for path in corpus.rglob("*") if path.is_file()}
    assert set(found) == {name for name in local if not Path(name).name.startswith(".")}
    for name, key in found.items():
        data = client.get_object(Bucket="hub", Key=key)["Body"].read()
        if name != "README.md":  # which says when
            assert data == local[name].read_bytes(), name
    manifest = json.loads(client.get_object(Bucket="hub", Key=found["manifest.json"])["Body"].read())
    for file in manifest["files"]:
        data = client.get_object(Bucket="hub", Key=f"corpora/x/{file['path']}")["Body"].read()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])


def test_a_folder_with_something_else_is_not_published_into(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert call("publish", out, "--to", tmp_path, "--engine", "inline") == 2
    assert "holds `mine.txt`, which no corpus has" in capsys.readouterr().err
