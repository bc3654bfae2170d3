"""Synthetic sources: prompts, a server that fails, one answer a request, provenance, budgets, checks."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gristmill.errors import LockedError, RecipeError, StepFailed, UsageError
from gristmill.files.parquet import read_parquet
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.collect import collect
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.document.telling import tell
from gristmill.pipeline.look.document.tracing import trace_token
from gristmill.pipeline.look.publishing.card import card
from gristmill.pipeline.look.publishing.corpus_statistics import statistics
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases.generate import generate as generating
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.job import Job
from gristmill.pipeline.run.runner import RunResult, run_plan
from gristmill.pipeline.stages.generate import GenerateFacts, GenerateSlice
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.synthesis import answers
from gristmill.pipeline.synthesis.answers import Answer, AnswerRecord
from gristmill.pipeline.synthesis.client import Asker, Request
from gristmill.pipeline.synthesis.prompts import passages, request_body
from gristmill.pipeline.synthesis.settings import Budget, GenerateSettings, Server
from gristmill.pipeline.synthesis.spending import Spending
from gristmill.pipeline.synthesis.templates import TEMPLATES
from tests.support.model_server import model_server
from tests.support.toy_stage import INLINE, QUIET

SENTENCE = "Seed number {} tells of the mill by the river, of its stones and of the grain that comes in. "


def seeds(folder: Path, num: int) -> Path:
    rows = [
        {"id": f"page-{n}", "url": f"http://a.example/{n}", "text": SENTENCE.format(n) * 4}
        for n in range(num)
    ]
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "web.jsonl"


def recipe(path: Path, url: str | None, own: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    server = {"model": "made-up", "url": url, "in_flight": 32}
    own = own or {}
    return {
        "name": "x",
        "sources": {"web": {"inputs": str(path)}},
        "generate": {"books": {**own, "server": {**server, **own.get("server", {})}}},
        **sections,
    }


def run(told: dict[str, Any], out: Path) -> RunResult:
    return run_plan(build_plan(make_recipe(told)), out, INLINE, QUIET)


def rows(out: Path, kind: str = "documents") -> list[dict[str, Any]]:
    paths = finished_steps(out)["generate/books"].paths(kind)
    return [row for path in paths for row in read_parquet(path).to_pylist()]


def test_each_prompt_is_answered_once_and_its_document_leads_back_to_the_page(tmp_path: Path) -> None:
    path = seeds(tmp_path, 60)
    with model_server(tmp_path, fails=0.2) as server:
        run(recipe(path, server.url), tmp_path / "out")
        assert set(server.paid().values()) == {1}
        assert len(server.paid()) == 60
    assert not list(verify(tmp_path / "out"))
    manifest = finished_steps(tmp_path / "out")["generate/books"]
    assert manifest.books
    assert manifest.books.items_in == manifest.books.items_out["kept"] == 60
    facts = manifest.stated(GenerateFacts)
    assert (facts.seeds, facts.prompts, facts.requests) == (60, 60, 60)
    made = rows(tmp_path / "out")
    (page,) = [row for row in made if row["seed_url"] == "http://a.example/7"]
    assert page["template"] == "cosmopedia"
    assert page["model"] == "made-up"
    assert json.loads(page["parameters"]) == {"max_tokens": 1024, "temperature": 0.8, "top_p": 0.95}
    life = look_up(tmp_path / "out", page["id"].hex())
    assert life.seed
    assert life.seed.url == "http://a.example/7"
    assert life.events[0].facts["file"] == str(path)
    assert "Seed number 7 tells" in life.events[0].facts["prompt"]


def test_a_finished_step_asks_nothing_again_and_a_changed_check_needs_no_server(tmp_path: Path) -> None:
    path = seeds(tmp_path, 30)
    with model_server(tmp_path) as server:
        run(recipe(path, server.url), tmp_path / "out")
        run(recipe(path, server.url, {"checks": {"min_words": 30}}), tmp_path / "out")
        assert set(server.paid().values()) == {1}
    # Neither another check nor fewer seeds is another request.
    result = run(recipe(path, None, {"checks": {"min_words": 1000}}), tmp_path / "out")
    assert result.manifests["generate/books"].books
    assert result.manifests["generate/books"].books.by_rule_first == {"generate.min_words": 30}
    run(recipe(path, None, {"fraction": 0.5}), tmp_path / "out")
    with pytest.raises(UsageError, match="30 prompts have no answer, and no server is named"):
        run(recipe(path, None, {"sampling": {"temperature": 0.1}}), tmp_path / "out")


def test_the_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    path = seeds(tmp_path, 40)
    digests = []
    for number, in_flight in enumerate((1, 32)):
        (tmp_path / str(number)).mkdir()
        with model_server(tmp_path / str(number), fails=0.1, seed=number) as server:
            told = recipe(path, server.url, {"server": {"in_flight": in_flight}})
            result = run(told, tmp_path / str(number) / "out")
            digests.append(result.manifests["generate/books"].content_digest)
    assert digests[0] == digests[1]


def test_checks_remove_by_rules_with_counts(tmp_path: Path) -> None:
    path = seeds(tmp_path, 12)
    long = " ".join(f"word{n}" for n in range(60))
    says = {
        "number 0 ": "I'm sorry, but I cannot help with that.",
        "number 1 ": "Too short.",
        "number 2 ": SENTENCE.format(2) * 4,
        "number 3 ": TEMPLATES["cosmopedia"].replace("{text}", " ") * 2,
        "number 4 ": f"<think>Let me think.</think>Here is the text:\n\n{long}.",
        "number 5 ": f"First sentence of it: {long}. And then it breaks o",
        "number 6 ": f"No end in sight {long}",
    }
    with model_server(tmp_path, says=says, cuts="number 5 ", refuses="number 7 ") as server:
        run(recipe(path, server.url), tmp_path / "out")
    manifest = finished_steps(tmp_path / "out")["generate/books"]
    assert manifest.books
    assert manifest.books.by_rule_first == {
        "generate.refusal": 1, "generate.min_words": 1, "generate.seed_copy": 1, "generate.prompt_copy": 1,
    }  # fmt: skip
    assert manifest.books.by_error == {"http_400": 1}
    assert manifest.books.items_out == {"kept": 7, "removed": 4, "failed": 1}
    texts = {row["seed_url"][-1]: row["text"] for row in rows(tmp_path / "out")}
    assert texts["4"] == f"{long}."
    assert texts["5"] == f"First sentence of it: {long}."
    assert manifest.stated(GenerateFacts).notes == [
        "1 answers began with reasoning, which was taken off",
        "1 answers began with a line about themselves, which was taken off",
        "1 answers that the length ended were cut after their last sentence",
    ]
    assert [row["message"] for row in rows(tmp_path / "out", "failed")] == ["context length exceeded"]
    write_report(tmp_path / "out")
    assert "generate.seed_copy" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("truncated", ["remove", "keep"])
def test_a_truncated_end_is_what_the_recipe_says(tmp_path: Path, truncated: str) -> None:
    path = seeds(tmp_path, 4)
    with model_server(tmp_path, cuts="number 1 ") as server:
        run(recipe(path, server.url, {"checks": {"truncated": truncated}}), tmp_path / "out")
    gone = [row["rule"] for row in rows(tmp_path / "out", "removed")]
    assert gone == (["generate.truncated"] if truncated == "remove" else [])


@pytest.mark.parametrize("budget", [{"tokens": 20_000}, {"money": 0.02, "price_in": 1.0, "price_out": 1.0}])
def test_a_budget_is_held_and_what_it_leaves_out_is_removed_by_name(
    tmp_path: Path, budget: dict[str, Any]
) -> None:
    path = seeds(tmp_path, 200)
    own = {"budget": budget, "sampling": {"max_tokens": 100}, "server": {"in_flight": 8}}
    with model_server(tmp_path, seconds=0.01) as server:
        told = recipe(path, server.url, own)
        run(told, tmp_path / "out")
        facts = finished_steps(tmp_path / "out")["generate/books"].stated(GenerateFacts)
        removed = rows(tmp_path / "out", "removed")
        assert {row["rule"] for row in removed} == {"generate.budget"}
        assert len(rows(tmp_path / "out")) + len(removed) == 200
        assert 17_000 < facts.tokens_in + facts.tokens_out <= 20_000
        assert facts.most_tokens > 20_000
        # More of it asks for what was left out alone.
        more = {name: 10 * value if name in ("tokens", "money") else value for name, value in budget.items()}
        run(recipe(path, server.url, {**own, "budget": more}), tmp_path / "out")
        assert len(server.paid()) == 200
        assert set(server.paid().values()) == {1}


def test_a_plan_says_what_may_be_spent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = seeds(tmp_path, 10)
    own = {"budget": {"tokens": 20_000, "money": 3.5, "price_in": 1.0}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe(path, "http://127.0.0.1:9/v1", own)))
    with pytest.raises(SystemExit) as stopped:
        main(["plan", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out")])
    assert not stopped.value.code
    told = "generate/books asks `made-up` at http://127.0.0.1:9/v1: at most 20,000 tokens and 3.50 of money"
    assert told in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_limit_of_rate_is_waited_for(tmp_path: Path) -> None:
    path = seeds(tmp_path, 20)
    with model_server(tmp_path, limited=[1, 2, 3]) as server:
        run(recipe(path, server.url), tmp_path / "out")
        assert set(server.paid().values()) == {1}
    assert len(rows(tmp_path / "out")) == 20


def test_the_key_comes_by_the_environment_and_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seeds(tmp_path, 5)
    with model_server(tmp_path, key="sk-secret") as server:
        monkeypatch.setenv("MY_KEY", "sk-wrong")
        told = recipe(path, server.url, {"server": {"key_env": "MY_KEY"}})
        with pytest.raises(StepFailed, match="refuses with 401: no key") as failed:
            run(told, tmp_path / "out")
        assert "sk-wrong" not in str(failed.value)
        monkeypatch.setenv("MY_KEY", "sk-secret")
        run(told, tmp_path / "out")
    found = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert found
    assert not [
        file for file in found if b"sk-secret" in file.read_bytes() or b"sk-wrong" in file.read_bytes()
    ]


def test_completions_are_spoken_as_well(tmp_path: Path) -> None:
    path = seeds(tmp_path, 5)
    with model_server(tmp_path) as server:
        run(
            recipe(path, server.url, {"server": {"api": "completions"}, "system": "Be brief."}),
            tmp_path / "out",
        )
    assert len(rows(tmp_path / "out")) == 5


def test_a_share_of_it_is_a_proportion_and_seeds_are_held_out_with_what_was_made_of_them(
    tmp_path: Path,
) -> None:
    path = seeds(tmp_path, 60)
    sections = {
        "tokenizer": {"vocab_size": 300},
        "mix": {"proportions": {"web": 0.7, "books": 0.3}, "heldout_fraction": 0.2, "tokens": 3000},
    }
    with model_server(tmp_path) as server:
        run(recipe(path, server.url, **sections), tmp_path / "out")
    steps = finished_steps(tmp_path / "out")
    shares = {row["name"]: row["tokens"] for row in steps["mix"].stated(MixFacts).table}
    assert 0.25 < shares["books"] / sum(shares.values()) < 0.35
    made = rows(tmp_path / "out")
    assert {row["cluster_id"].hex() for row in made} == {row["seed"] for row in made}
    assert not list(verify(tmp_path / "out"))


def test_equal_prompts_are_one_request(tmp_path: Path) -> None:
    text = SENTENCE.format(1) * 4
    lines = [json.dumps({"id": f"{n}", "text": text}) for n in range(3)]
    (tmp_path / "web.jsonl").write_text("\n".join(lines))
    own = {"audiences": ["all"], "styles": ["a text"]}
    with model_server(tmp_path) as server:
        run(recipe(tmp_path / "web.jsonl", server.url, own), tmp_path / "out")
        assert list(server.paid().values()) == [1]
    assert [row["rule"] for row in rows(tmp_path / "out", "removed")] == ["generate.repeated_prompt"] * 2


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"templates": ["cosmo"]}, "no template `cosmo`; there are cosmopedia"),
        ({"templates": ["mine"], "prompts": {"mine": "Write."}}, "lacks {text}"),
        ({"seeds": ["wob"]}, "names the source `wob`, the recipe has web"),
        ({"server": {"url": "http://me:pass@a.example/v1"}}, "no user, password or query"),
        ({"server": {"url": "a.example"}}, "no address of http"),
        ({"budget": {"money": 1}}, "`money` needs `price_in`"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, own: dict[str, Any], message: str) -> None:
    path = seeds(tmp_path, 1)
    with pytest.raises(RecipeError, match=message):
        build_plan(make_recipe(recipe(path, "http://127.0.0.1:9/v1", own)))


def test_a_name_that_is_taken_and_a_source_that_is_made_later_are_named(tmp_path: Path) -> None:
    path = seeds(tmp_path, 1)
    told = recipe(path, None)
    told["generate"]["web"] = told["generate"].pop("books")
    with pytest.raises(RecipeError, match="writes the source `web`, which `sources` has"):
        make_recipe(told)
    late = recipe(path, None, classify={"positives": ["books"], "negatives": ["web"]})
    with pytest.raises(RecipeError, match="`books`, which `generate` makes later"):
        build_plan(make_recipe(late))


def test_passages_end_where_a_text_pauses() -> None:
    text = "First sentence here. Second one there.\n\nA new paragraph that goes on and on for a while."
    assert list(passages(text, 60, 9)) == [
        "First sentence here. Second one there.",
        "A new paragraph that goes on and on for a while.",
    ]
    assert list(passages("word " * 100, 52, 2)) == [("word " * 10).strip()] * 2
    assert "".join(passages("x" * 100, 30, 9)) == "x" * 100


def test_an_estimate_asks_nobody_and_says_how_many_prompts_there_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = seeds(tmp_path, 50)
    own = {"budget": {"tokens": 5000, "price_out": 2.0}, "sampling": {"max_tokens": 100}}
    with model_server(tmp_path) as server:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe(path, server.url, own)))
        with pytest.raises(SystemExit) as stopped:
            main(["plan", str(tmp_path / "r.yaml"), "--estimate", "--engine", "inline"])
        assert not stopped.value.code
        assert not server.paid()
    told = " ".join(capsys.readouterr().out.split())
    assert "generate/books: about 50 prompts to `made-up`" in told
    assert "or 0.01 of money at the very most; its budget holds it to 5,000 tokens" in told


def test_the_verb_writes_from_plain_files_and_names_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = seeds(tmp_path, 8)

    def call(*more: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(["synthesize", str(path), "--engine", "inline", "-q", "--out", str(tmp_path / "out"), *more])
        return int(stopped.value.code or 0)

    assert call("--server", "http://127.0.0.1:9/v1") == 2
    assert "no model is named" in capsys.readouterr().err
    with model_server(tmp_path) as server:
        given = ("--model", "made-up", "--template", "wrap-qa", "--tokens", "1M")
        assert call(*given, "--server", server.url) == 0
        assert len(server.paid()) == 8
    manifest = finished_steps(tmp_path / "out")["generate/synthetic"]
    assert manifest.stated(GenerateFacts).by_template == {"wrap-qa": 8}
    assert manifest.ingredients["settings"]["generate"]["budget"]["tokens"] == 1_000_000


def test_a_token_is_traced_through_what_was_written_to_the_page(tmp_path: Path) -> None:
    path = seeds(tmp_path, 40)
    sections = {
        "tokenizer": {"vocab_size": 300},
        "mix": {"proportions": {"books": 1.0}, "heldout_fraction": 0},
    }
    with model_server(tmp_path) as server:
        run(recipe(path, server.url, **sections), tmp_path / "out")
    traced = trace_token(tmp_path / "out", "train", "00000:40")
    assert traced.life.seed
    assert str(traced.life.seed.url).startswith("http://a.example/")
    assert traced.as_json()["file"] == str(path)
    told = "\n".join(tell(traced.life))
    assert "written from" in told
    assert f"  {traced.life.seed.url}" in told


def test_answers_outlive_what_is_cleaned_away(tmp_path: Path) -> None:
    path = seeds(tmp_path, 10)
    with model_server(tmp_path) as server:
        run(recipe(path, server.url), tmp_path / "out")
        run(recipe(path, server.url, {"checks": {"min_words": 30}}), tmp_path / "out")
    collect(tmp_path / "out", dry_run=False)
    run(recipe(path, None), tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 10


def test_a_server_that_is_gone_is_waited_for_and_then_the_step_fails_and_keeps_its_answers(
    tmp_path: Path,
) -> None:
    size = 1000
    path = seeds(tmp_path, size)
    with model_server(tmp_path, seconds=0.05, slots=16) as server:
        told = recipe(path, server.url, {"server": {"patience_seconds": 3.0}})

        def kill_early() -> None:
            while sum(server.paid().values()) < 50:
                time.sleep(0.02)
            server.kill()

        killer = threading.Thread(target=kill_early)
        killer.start()
        with pytest.raises(StepFailed, match="has answered nothing for 3 s"):
            run(told, tmp_path / "out")
        killer.join()
        paid = server.paid()
        assert 0 < len(paid) < size
    (tmp_path / "again").mkdir()
    with model_server(tmp_path / "again", slots=64) as server:
        run(recipe(path, server.url), tmp_path / "out")
        # The server may have been killed between an answer and its note of it.
        assert size - 1 <= len(server.paid() | paid) <= size
        assert not set(server.paid()) & set(paid)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the store and its client
def test_answers_to_an_output_at_a_url_are_kept_there(tmp_path: Path) -> None:
    """The folder of answers is borrowed from the store, as training borrows; another machine goes on."""
    from gristmill.files.location import RemotePath, use_storage
    from gristmill.files.remote import Access
    from gristmill.files.remote_store import StorageSettings
    from tests.support import object_store

    for address in object_store.serve("mill"):
        path = seeds(tmp_path, 20)
        digests = []
        for machine, url in (("a", True), ("b", False)):
            root = "s3://mill/written"
            options = object_store.options(address)
            use_storage(root, StorageSettings(Access(options), str(tmp_path / f"cache-{machine}")))
            with model_server(tmp_path) as server:
                told = recipe(path, server.url if url else None, {"checks": {"min_words": 20 + (not url)}})
                result = run_plan(build_plan(make_recipe(told)), RemotePath(root), INLINE, QUIET)
            digests.append(result.manifests["generate/books"].books)
        assert digests[0]
        assert digests[0].items_out == {"kept": 20}
        assert digests[0] == digests[1]


def test_many_parts_share_a_budget_and_other_parts_ask_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seeds(tmp_path, 200)
    own = {"budget": {"tokens": 40_000}, "sampling": {"max_tokens": 100}, "server": {"in_flight": 8}}
    with model_server(tmp_path) as server:
        monkeypatch.setattr(generating, "PART_REQUESTS", 30)
        run(recipe(path, server.url, own), tmp_path / "out")
        assert len(list((tmp_path / "out" / "answers" / "books").iterdir())) == 8
        facts = finished_steps(tmp_path / "out")["generate/books"].stated(GenerateFacts)
        spent = facts.tokens_in + facts.tokens_out
        assert 25_000 < spent <= 40_000
        assert {row["rule"] for row in rows(tmp_path / "out", "removed")} == {"generate.budget"}
        for per_part in (1000, 60):
            monkeypatch.setattr(generating, "PART_REQUESTS", per_part)
            own = {**own, "budget": {}, "checks": {"min_words": per_part // 60}}
            run(recipe(path, server.url, own), tmp_path / "out")
            assert len(rows(tmp_path / "out")) == 200
        assert len(server.paid()) == 200
        assert set(server.paid().values()) == {1}


def test_the_card_names_what_a_model_wrote(tmp_path: Path) -> None:
    path = seeds(tmp_path, 10)
    with model_server(tmp_path) as server:
        run(recipe(path, server.url), tmp_path / "out")
    found = statistics(tmp_path / "out")
    assert found["synthetic"]["books"]["prompts"] == 10
    text = card(tmp_path / "out", found, licence="other")
    assert "The source `books` was written by the model `made-up` from documents of `web`" in text


def test_a_record_of_answers_survives_a_line_cut_short_and_has_one_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "00" * 16, "01" * 16
    with AnswerRecord(tmp_path, 0, 0) as record:
        record.sent(first)
        record.put(first, Answer("a text\nof lines", "stop", 3, 4))
        record.sent(second)
        monkeypatch.setattr(answers, "_HOLD_SECONDS", 0.3)
        with pytest.raises(LockedError, match="another process asks for the same requests"):
            AnswerRecord(tmp_path, 0, 0)
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"answer": "01')  # a machine that lost power
    with AnswerRecord(tmp_path, 1, 0) as record:  # of a run over more prompts
        assert record.known == {first: Answer("a text\nof lines", "stop", 3, 4)}
        assert record.lost == {second: 1}
        record.refused(second)
    with AnswerRecord(tmp_path, 0, 0) as record:
        assert not record.lost
        record.put(second, Answer("b", None, 1, 1))
    with AnswerRecord(tmp_path, 0, 0) as record:
        assert set(record.known) == {first, second}
    with AnswerRecord(tmp_path, 1, 1) as record:  # the other half's, and the whole's
        assert set(record.known) == {first, second}


def test_a_request_that_did_not_come_back_is_asked_again_and_the_budget_counts_both(tmp_path: Path) -> None:
    path = seeds(tmp_path, 30)
    own = {"sampling": {"max_tokens": 100}, "server": {"in_flight": 4}}
    with model_server(tmp_path) as server:
        told = recipe(path, server.url, {**own, "fraction": 0.5})
        run(told, tmp_path / "out")
        asked_before = dict(server.paid())
        (record,) = (tmp_path / "out" / "answers" / "books").iterdir()
        lines = record.read_text().splitlines()
        # A client that was killed: what it had sent came back to nobody.
        lost = [json.loads(line)["answer"] for line in lines if line.startswith('{"answer"')][:5]
        kept = [line for line in lines if json.loads(line).get("answer") not in lost]
        record.write_text("\n".join(kept) + "\n")
        run({**told, "generate": recipe(path, server.url, own)["generate"]}, tmp_path / "out")
        assert {request: num for request, num in server.paid().items() if num > 1} == dict.fromkeys(lost, 2)
        assert asked_before.keys() >= set(lost)
        manifest = finished_steps(tmp_path / "out")["generate/books"]
        assert (manifest.timing["lost"], manifest.timing["paid_twice"]) == (5, 5)
        facts = manifest.stated(GenerateFacts)
        most = manifest.timing["lost_tokens"]
        assert 5 * 100 < most <= 5 * (facts.most_tokens // 30 + 100)
        write_report(tmp_path / "out")
        said = (
            f"5 of them were answered when asked again, and may have been paid twice: at most {most:,} tokens"
        )
        assert said in (tmp_path / "out" / "report.html").read_text()
        # Twice the prompts under a budget that all but what was lost would leave room for.
        budget = {"tokens": facts.tokens_in + facts.tokens_out + most + 50}
        run(recipe(path, server.url, {**own, "budget": budget, "per_passage": 2}), tmp_path / "out")
        assert sum(server.paid().values()) == 35
    assert {row["rule"] for row in rows(tmp_path / "out", "removed")} == {"generate.budget"}
    assert len(rows(tmp_path / "out")) == 30


def test_a_request_whose_server_went_away_is_not_asked_again_beyond_the_budget(tmp_path: Path) -> None:
    settings = GenerateSettings(server=Server(model="m"))
    requests = [Request(f"{n:032x}", request_body(settings, f"Write {n}."), 100, 100) for n in range(4)]
    for tokens, unasked in ((450, 4), (10_000, 0)):
        folder = tmp_path / str(tokens)
        folder.mkdir()
        with model_server(folder, seconds=1.0) as server, AnswerRecord(folder / "answers", 0, 0) as record:
            asked = settings.server.model_copy(update={"url": server.url, "in_flight": 2})
            spending = Spending(Budget(tokens=tokens))
            asker = Asker(asked, record, spending, None, lambda done: None)
            thread = threading.Thread(target=asker.run, args=(requests,))
            thread.start()
            while asker.in_flight < 2:
                time.sleep(0.02)
            server.kill()
            time.sleep(0.3)
            server.start()
            thread.join(60)
            assert not asker.error
            assert len(asker.outcomes.unasked) == unasked
            assert record.lost.total() == 2
            assert spending.lost_in + spending.lost_out == 400
            assert spending.lost_in + spending.lost_out + spending.spent_in + spending.spent_out <= tokens
            assert not spending.set_aside
            assert len(server.paid()) == 4 - unasked


def test_no_part_of_a_long_run_is_asked_by_two_tasks_at_once() -> None:
    """Phases that save are never begun a second time beside themselves, which would pay twice."""
    job = Job("generate/books", build_slice(), {}, 1, Path("/nowhere"))
    stage = generating.generate(job)
    prompts = next(stage)
    assert not prompts.saves
    phase = stage.send([])
    assert phase.name == "ask"
    assert phase.saves
    assert phase.window == 1


def build_slice() -> GenerateSlice:
    settings = GenerateSettings(server=Server(model="m"))
    return GenerateSlice(
        source="books", seeds=("web",), generate=settings, wording=settings.texts(), keep_removed="text"
    )


def test_a_client_that_is_stopped_does_not_sit_out_what_the_server_asks_for(tmp_path: Path) -> None:
    settings = GenerateSettings(server=Server(model="m"))
    body = request_body(settings, "Write.")
    with model_server(tmp_path, limited=[1], retry_after="200") as server:
        asked = settings.server.model_copy(update={"url": server.url})
        with AnswerRecord(tmp_path / "answers", 0, 0) as record:
            asker = Asker(asked, record, Spending(Budget()), None, lambda done: None)
            thread = threading.Thread(target=asker.run, args=([Request("00" * 16, body, 10, 10)],))
            thread.start()
            while not asker.outcomes.retried:
                time.sleep(0.02)
            asker.stop()
            thread.join(60)
            assert not thread.is_alive()
            assert not record.known
    assert not asker.error
