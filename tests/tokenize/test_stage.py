"""The mix stage's layout: sources share shards when mixed, and have their own when the trainer is to blend
them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gristmill.errors import RecipeError
from gristmill.pipeline import cli
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.export import export_jsonl
from gristmill.pipeline.phases import encode as encode_phase
from gristmill.pipeline.run.folder import finished_steps
from gristmill.token_shards import read_documents
from gristmill.tokenize.encoding.encode import REFUSED
from gristmill.tokenize.encoding.encoder import Encoder, Ids, _Refused
from gristmill.tokenize.encoding.tokenizers import open_tokenizer
from gristmill.trainer.data.shards import ShardSet, Stream
from tests.support.small_corpus import TEXTS

RECIPE = """
name: two
sources:
  a: {inputs: [a.jsonl], dedup: false}
  b: {inputs: [b.jsonl], dedup: false}
tokenizer: {vocab_size: 400}
mix: {proportions: {a: 0.5, b: 0.5}, heldout_fraction: 0.1, shard_tokens: 30000, kind: KIND}
"""

MIX = ("mix", "recipe.yaml", "--out", "out", "--engine", "inline", "--quiet")


@pytest.fixture(scope="module", autouse=True)
def verbs() -> None:
    if not cli.app.registered_groups:
        cli.register()


def gristmill(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def test_near_duplicates_are_held_out_together_and_clusters_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mode `mark` all copies stay: none may be trained on while another is held out."""
    monkeypatch.chdir(tmp_path)
    texts = [text for text in TEXTS[:30] for _ in range(3)]
    lines = [json.dumps({"id": str(n), "text": f"{text}\nCopy {n}."}) for n, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    recipe = (
        RECIPE.replace("  b: {inputs: [b.jsonl], dedup: false}\n", "")
        .replace(", dedup: false", "")
        .replace("{a: 0.5, b: 0.5}", "{a: 1.0}")
    )
    recipe = recipe.replace("KIND", "mixed, weights: {a: cluster_size}").replace("0.1", "0.3")
    (tmp_path / "recipe.yaml").write_text(f"{recipe}\ndedup: {{fuzzy: {{mode: mark}}}}\n")
    run = gristmill(*MIX)
    assert run.exit_code == 0, run.output
    clusters: dict[str, set[str]] = {}
    sizes = {}
    for path in (tmp_path / "out" / "steps").glob("dedup-fuzzy-*/data/documents-*.parquet"):
        for row in pq.read_table(path).to_pylist():
            clusters.setdefault(row["cluster_id"].hex(), set()).add(row["id"].hex())
            sizes[row["cluster_id"].hex()] = row["cluster_size"]
    assert (
        sizes == {cluster: len(members) for cluster, members in clusters.items()} and max(sizes.values()) == 3
    )
    (step,) = (tmp_path / "out" / "steps").glob("mix-*")
    held = {document.id.hex() for document in read_documents(step / "shards" / "heldout")}
    assert held and all(members <= held or not members & held for members in clusters.values())


def check_traces(step: Path) -> None:
    """A token leads to its document and all that was decided on it; every copy is found where the shards have
    it."""
    traced = json.loads(gristmill("trace", "out", "00000:100", "--json").stdout)
    assert traced["url"].startswith("http://") and traced["file"].endswith(".jsonl") and traced["offset"] >= 0
    steps = [event["step"] for event in traced["events"]]
    assert steps[0].startswith("extract/") and steps[-2:] == [f"encode/{traced['source']}", "mix"]
    last = traced["events"][-1]
    assert last["outcome"] == "in shard" and last["facts"]["first token"] <= 100 < last["facts"]["end"]
    for split in ("train", "heldout"):
        ids = {path.stem: read_ids(path) for path in sorted((step / "shards" / split).glob("*.ids"))}
        for document in list(read_documents(step / "shards" / split))[::7]:
            copies = [
                event.facts["shard"]
                for event in look_up(Path("out"), document.id.hex()).events
                if event.outcome == "in shard"
            ]
            assert copies == [
                f"{name}.bin" for name, own in ids.items() for _ in range(own.count(document.id))
            ]
    text = traced["text"][10:70]
    (found,) = gristmill("trace", "out", "--text", text, "--json", "--limit", "1").stdout.splitlines()
    assert text in json.loads(found)["text"] and json.loads(found)["id"] == traced["id"]
    assert gristmill("trace", "out", "--text", "no text has this in it").exit_code == 1
    own_path = json.loads(
        gristmill("trace", str(step / "shards" / "train" / "00000.bin"), "100", "--json").stdout
    )
    assert own_path == traced


def read_ids(path: Path) -> list[bytes]:
    raw = path.read_bytes()
    return [raw[at : at + 16] for at in range(0, len(raw), 16)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe over two sources, run up to its shards as `mixed`, then as `sources`: what
    comes before the mixture is done once."""
    folder = tmp_path_factory.mktemp("ran")
    for name, texts in (("a", TEXTS[:30]), ("b", TEXTS[30:60])):
        lines = [
            json.dumps({"id": str(n), "url": f"http://{name}.example/{n}", "text": text})
            for n, text in enumerate(texts)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "recipe.yaml").write_text(RECIPE.replace("KIND", "mixed"))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        for kind in ("sources", "mixed"):
            run = gristmill(*MIX, "--set", f"mix.kind={kind}")
            assert run.exit_code == 0, run.output
    return folder


def shards_of(folder: Path, kind: str) -> Path:
    """The training shards of one kind: their step's folder is named by its identity."""
    found = [path.parent for path in folder.glob("out/steps/mix-*/shards/train/manifest.json")]
    (own,) = [path for path in found if json.loads((path / "manifest.json").read_text())["kind"] == kind]
    return own


@pytest.mark.parametrize("kind", ["mixed", "sources"])
def test_sources_share_shards_when_mixed_and_have_their_own_when_blended(ran: Path, kind: str) -> None:
    train = shards_of(ran, kind)
    assert not list((train.parents[1] / "passing").glob("*"))
    shards = ShardSet(train)
    shards.check()
    for number, source in enumerate(shards.sources):
        runs = Stream.of_source(shards, number).runs
        assert sum(run.length for run in runs) == source.tokens > 0
        assert (len(runs) == len({run.shard for run in runs})) == (kind == "sources")
    for split in ("train", "heldout"):
        assert gristmill("shards", "verify", str(train.parent / split)).exit_code == 0


def test_a_runs_shards_are_found_by_its_folder(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    train = shards_of(ran, "mixed")
    for verb in ("info", "verify"):
        assert gristmill("shards", verb, "out").stdout == gristmill("shards", verb, str(train)).stdout != ""


def test_every_token_of_a_run_is_accounted_for(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    balance = json.loads(gristmill("shards", "balance", "out", "--json").stdout)["sources"]
    for row, source in zip(balance, ShardSet(shards_of(ran, "mixed")).sources, strict=True):
        assert row["difference"] == 0 and row["shards"] == source.tokens >= row["distinct"]
        assert row["encoded"] == row["heldout"] + row["distinct"] + row["unused"]


def test_a_runs_tokenizer_is_compared_with_itself(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    (model,) = ran.glob("out/steps/tokenizer-*/tokenizer.model")
    asked = ("tokenize", "compare", str(model), str(model), "out", "a.jsonl", "--json")
    sides = json.loads(gristmill(*asked).stdout)
    assert {**sides["a"], "file": ""} == {**sides["b"], "file": ""}
    assert set(sides["a"]["sources"]) == {"a", "b", "a.jsonl"} and sides["a"]["fertility"]
    assert sides["a"]["losses"]["checked"] and "lossy" not in sides["a"]["losses"]


def test_a_token_and_a_copy_are_traced_to_their_document(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    check_traces(shards_of(ran, "mixed").parents[1])


def test_a_plan_of_encoded_sources_is_exact_and_refuses_what_they_lack(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ran)
    planned = json.loads(gristmill("mix", "recipe.yaml", "--out", "out", "--plan", "--json").stdout)
    assert planned["exact"] and [row["source"] for row in planned["sources"]] == ["a", "b"]
    refused = gristmill("mix", "recipe.yaml", "--out", "out", "--plan", "--set", "mix.tokens=99999999")
    assert isinstance(refused.exception, RecipeError)
    assert "the largest budget with these proportions is" in str(refused.exception)


def test_a_document_that_no_encoder_takes_is_booked_and_found(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = Encoder._quickest

    def refusing(encoder: Encoder) -> Callable[[bytes], Ids]:
        def encode(text: bytes) -> Ids:
            if b"quagga" in text:
                raise _Refused("no library takes it")
            return whole(encoder)(text)

        return encode

    monkeypatch.setattr(Encoder, "_quickest", refusing)
    texts = ["One plain text about animals.", "A quagga was here.", "And another plain text."]
    lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(
        f"name: one\nsources:\n  a: {{inputs: [a.jsonl], dedup: false}}\ntokenizer: {{path: {model}}}\n"
        "mix: {heldout_fraction: 0}\n"
    )
    gristmill("tokenize", "encode", "recipe.yaml", "--out", "out", "--engine", "inline", "--quiet")
    encoded = finished_steps(Path("out"))["encode/a"]
    assert encoded.books and encoded.books.items_out == {"kept": 2, "failed": 1}
    assert encoded.books.by_error == {REFUSED: 1} and len(encoded.named("failed-index")) == 1
    (row,) = pq.read_table(encoded.folder / encoded.named("failed")[0].path).to_pylist()
    assert row["message"] == "no library takes it"
    assert look_up(Path("out"), row["id"].hex()).verdict == (
        "failed at encode/a: not_encoded (no library takes it)"
    )
    behind = look_up(Path("out"), "And another plain")  # its row of the index is one before its own
    encoded_at = next(event for event in behind.events if event.step == "encode/a")
    assert encoded_at.outcome == "encoded" and encoded_at.facts["row"] == 1
    gristmill("export", "out", "--to", "rows.parquet", "--layout", "fineweb")
    counted = {row["text"]: row["token_count"] for row in pq.read_table("rows.parquet").to_pylist()}
    tokenizer = open_tokenizer(model)
    assert counted == {
        text: None if "quagga" in text else len(tokenizer.encode_batch([text])[0]) for text in texts
    }


def test_a_document_whose_encoding_was_lost_is_not_said_to_be_beyond_the_budget(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = encode_phase.encode_file

    def failing(encoder: Encoder, documents: Path, *out: Path) -> Any:
        if b"quagga" in "".join(pq.read_table(documents)["text"].to_pylist()).encode():
            raise OSError("no such disk")
        return whole(encoder, documents, *out)

    monkeypatch.setattr(encode_phase, "encode_file", failing)
    for name, text in (("a", "One plain text."), ("b", "A quagga was here."), ("c", "Another source.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": name, "text": text}) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        "name: one\nshard_bytes: 32\nsources:\n"
        "  a: {inputs: [a.jsonl, b.jsonl], dedup: false}\n  c: {inputs: [c.jsonl], dedup: false}\n"
        f"tokenizer: {{path: {model}}}\nmix: {{proportions: {{a: 1}}, heldout_fraction: 0}}\n"
        "limits: {quarantined_shards: 1}\nengine: {retries: 0}\n"
    )
    gristmill("mix", "recipe.yaml", "--out", "out", "--engine", "inline", "--quiet")
    verdicts = [look_up(Path("out"), name).verdict for name in ("One plain", "quagga")]
    assert verdicts == [
        "in the train shards, 1 time",
        "lost at encode/a, the last step that handled it",
    ]
    assert "incomplete: lost 1 task" in look_up(Path("out"), "quagga").events[-1].facts["note"]
    assert export_jsonl(Path("out"), "documents", io.BytesIO(), partial=True) == 3  # decided on, all of them
    assert "1 documents have no tokens: the tasks" in gristmill("shards", "balance", "out").stdout
    unmixed = look_up(Path("out"), "Another source").events[-1]
    assert unmixed.facts["note"] == "the mixture takes nothing of its source"
