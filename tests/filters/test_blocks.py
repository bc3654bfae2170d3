"""Filters with lists, models and code: age, URL, language, word lists, models, functions, datatrove, personal
data."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.classifiers.quality.fasttext_child import train_supervised
from gristmill.errors import GristmillError, InputError, UsageError
from gristmill.filters.passes import FilterOutcome, compile_filters
from gristmill.filters.settings import FilterSettings
from gristmill.filters.sources import build_list
from gristmill.urls import host_of, normalise_url
from tests.support.filter_documents import documents


def run(table: pa.Table, **settings: Any) -> FilterOutcome:
    return compile_filters(FilterSettings.model_validate(settings), seed=1).apply(table)


def removed_by(table: pa.Table, **settings: Any) -> list[str | None]:
    outcome = run(table, **settings)
    rules = dict(
        zip(outcome.removed.column("id").to_pylist(), outcome.removed.column("rule").to_pylist(), strict=True)
    )
    return [rules.get(id_) for id_ in table.column("id").to_pylist()]


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_age_keeps_from_a_day_up_to_the_day_before_another() -> None:
    days = ["2019-12-31", "2020-01-01", "2020-12-31", "2021-01-01"]
    dates = [datetime.datetime.fromisoformat(f"{day}T23:59:59+00:00") for day in days]
    table = documents(["text"] * 5, date=[*dates, None])
    age = {"after": "2020-01-01", "before": "2021-01-01"}
    assert removed_by(table, age=age) == ["age.day", None, None, "age.day", None]
    assert removed_by(table, age={**age, "undated": "remove"})[4] == "age.dated"
    kept = run(table, age=age).kept
    assert kept.column("date").to_pylist()[:2] == dates[1:3]


def test_urls_are_normalised_as_c4_does() -> None:
    assert normalise_url("https://www.example.org/a/?utm_source=x") == "example.org/a"
    assert normalise_url("http://example.org/?page=2") == "example.org/?page=2"
    assert host_of("https://user@WWW.Example.org:8080/a?b#c") == "www.example.org"


@pytest.mark.parametrize("compiled", [False, True])
def test_a_listed_domain_blocks_its_subdomains_and_a_listed_url_itself(
    tmp_path: Path, compiled: bool
) -> None:
    lists = {
        "domains": write(tmp_path / "d.txt", "# bad", "bad.example"),
        "urls": write(tmp_path / "u.txt", "http://ok.example/x/"),
    }
    if compiled:
        for kind, path in lists.items():
            lists[kind] = str(tmp_path / f"{kind}.u64")
            assert build_list(kind, Path(path), Path(lists[kind])) == 1
    urls = [
        "https://a.bad.example/p",
        "https://notbad.example/",
        "https://www.ok.example/x",
        "https://ok.example/xy",
        None,
    ]
    found = removed_by(documents(["t"] * 5, url=urls), url={kind: [path] for kind, path in lists.items()})
    assert found == ["url.blocked_domain", None, "url.blocked_url", None, None]


def test_url_words_add_their_scores_and_substrings_hide_nowhere(tmp_path: Path) -> None:
    words = write(tmp_path / "w.txt", "casino\t2", "poker", "bonus")
    substrings = write(tmp_path / "s.txt", "free-slots")
    urls = [
        "https://a.b/casino",
        "https://a.b/poker",
        "https://poker.b/bonus",
        "https://a.b/f-r-e-e/slots9",
        "https://a.b/casinos",
    ]
    found = removed_by(documents(["t"] * 5, url=urls), url={"words": [words], "substrings": [substrings]})
    assert found == ["url.word_score", None, "url.word_score", "url.substrings", None]


def test_url_words_of_a_file_have_its_score_and_curated_hosts_go_by_a_rule_of_their_own(
    tmp_path: Path,
) -> None:
    """RefinedWeb, appendix G.1: one hard word or two soft ones; Wikipedia comes from its own dump."""
    hard, soft = write(tmp_path / "h.txt", "casino"), write(tmp_path / "s.txt", "poker", "bonus")
    curated = write(tmp_path / "c.txt", "wikipedia.org")
    urls = ["https://a.b/casino", "https://a.b/poker", "https://poker.b/bonus", "https://en.wikipedia.org/x"]
    section = {"words": {hard: 2, soft: 1}, "curated": [curated]}
    found = removed_by(documents(["t"] * 4, url=urls), url=section)
    assert found == ["url.word_score", None, "url.word_score", "url.curated_domain"]
    assert removed_by(documents(["t"] * 4, url=urls), url={**section, "mark": True}) == [None] * 4


def test_a_million_domains_are_mapped_not_read(tmp_path: Path) -> None:
    text = tmp_path / "many.txt"
    text.write_text("\n".join(f"d{number}.example" for number in range(200_000)))
    build_list("domains", text, tmp_path / "many.u64")
    urls = [f"http://x.d{number}.example/" for number in (0, 199_999, 200_000)]
    found = removed_by(documents(["t"] * 3, url=urls), url={"domains": [str(tmp_path / "many.u64")]})
    assert found == ["url.blocked_domain", "url.blocked_domain", None]


def test_language_is_the_extractions_or_detected() -> None:
    pytest.importorskip("pycld2")
    text = "This is a perfectly ordinary English sentence about the weather and the sea."
    german = "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter und das Meer."
    table = documents([text, german, ""], language=None)
    assert removed_by(table, language={"keep": ["en"], "detector": "pycld2"}) == [
        None,
        "language.kept",
        "language.kept",
    ]
    assert removed_by(documents(["x"], "en"), language={"keep": ["en"]}) == [None]
    assert removed_by(documents(["x"], "en", language_score=[0.5]), language={"keep": ["en"]}) == [
        "language.score"
    ]
    strange = "\x00\x0b\x7f\ufdd0" + text
    assert removed_by(documents([strange]), language={"keep": ["en"], "detector": "pycld2"}) == [None]


def test_a_bad_word_counts_only_as_a_whole_word(tmp_path: Path) -> None:
    lists = {"en": write(tmp_path / "en", "ass", "bad word"), "ja": write(tmp_path / "ja", "悪", "sm")}
    texts = ["A class passes.", "An ASS.", "ass", "some Bad Word here", "badword"]
    rule = "badwords.matches"
    assert removed_by(documents(texts), wordlists=[{"lists": lists}]) == [None, rule, rule, rule, None]
    assert removed_by(documents(["最悪だ", "prisms"], "ja"), wordlists=[{"lists": lists}]) == [rule, None]
    assert removed_by(documents(["ass"], "fr"), wordlists=[{"lists": lists}]) == [None]


def test_a_keep_fraction_spares_documents_by_hash_alone(tmp_path: Path) -> None:
    lists = {"en": write(tmp_path / "en", "bad")}
    table = documents(["bad"] * 1000)
    found = removed_by(table, wordlists=[{"lists": lists, "keep_fraction": 0.1}])
    assert 60 < found.count(None) < 140
    order = pa.array(range(999, -1, -1))
    assert removed_by(table.take(order), wordlists=[{"lists": lists, "keep_fraction": 0.1}]) == found[::-1]


def test_a_word_list_can_bound_a_fraction_under_a_name(tmp_path: Path) -> None:
    nsfw = {"name": "nsfw", "lists": {"en": write(tmp_path / "en", "bad")}, "max": None, "max_fraction": 0.25}
    assert removed_by(documents(["bad a b c", "bad a b"]), wordlists=[nsfw]) == [None, "nsfw.fraction"]


def test_a_fasttext_model_by_path_scores_and_detects(tmp_path: Path) -> None:
    good = ["the sea and the weather", "a walk along the shore", "weather at the shore"] * 20
    bad = ["cheap pills buy now", "buy cheap now", "pills now cheap"] * 20
    lines = [f"__label__en {text}" for text in good] + [f"__label__toxic {text}" for text in bad]
    write(tmp_path / "train.txt", *lines)
    path = str(tmp_path / "model.bin")
    how = {"thread": 1, "epoch": 50, "lr": 0.5, "wordNgrams": 1, "verbose": 0}
    train_supervised(tmp_path / "train.txt", Path(path), how)
    table = documents(["the weather and\nthe sea", "buy cheap pills now", ""])
    toxic = {"name": "toxicity", "path": path, "label": "toxic", "max": 0.5}
    assert removed_by(table, models=[toxic])[:2] == [None, "toxicity.score"]
    assert removed_by(table, language={"keep": ["en"], "detector": path})[:2] == [None, "language.kept"]
    with pytest.raises(UsageError, match="no label `rude`") as caught:
        run(table, models=[{**toxic, "label": "rude"}])
    assert "it has en, toxic" in str(caught.value)
    assert compile_filters(FilterSettings.model_validate({"models": [toxic]}), 1).digests.keys() == {
        "toxicity.model"
    }


def test_a_function_of_ones_own_is_a_rule_and_its_source_is_digested(tmp_path: Path) -> None:
    path = tmp_path / "my_rules.py"
    path.write_text("def shouting(text):\n    return sum(map(str.isupper, text)) / max(1, len(text))\n")
    own = {"function": f"{path}:shouting", "max": 0.3}
    table = documents(["calm", "LOUD", ""])
    assert removed_by(table, rules=[own]) == [None, "rules.shouting", None]
    settings = FilterSettings.model_validate({"rules": [own]})
    before = compile_filters(settings, 1).digests["rules.shouting.source"]
    path.write_text(path.read_text() + "# changed\n")
    assert compile_filters(settings, 1).digests["rules.shouting.source"] != before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(text):\n    return 1 / len(text)\n", "failed on a text of 0 characters"),
        ("def f(text):\n    return 'high'\n", "could not convert string"),
        ("def g(text):\n    return 1\n", "has no function `f`"),
        ("import nothing_of_that_name\n", "cannot be imported"),
    ],
)
def test_a_function_that_cannot_be_used_is_named(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(InputError, match=message):
        run(documents([""]), rules=[{"function": f"{tmp_path / 'own.py'}:f", "max": 1}])


def test_a_datatrove_filter_is_a_step_with_its_reason_in_the_ledger() -> None:
    path = "datatrove.pipeline.filters.LambdaFilter"
    outcome = run(
        documents(["ab", "abc"]),
        datatrove=[{"filter": "tests.support.datatrove_block.ShortFilter", "arguments": {"limit": 3}}],
    )
    assert outcome.removed.column("rule").to_pylist() == ["datatrove.ShortFilter.too_short"]
    assert outcome.counts["by_rule_first"] == {"datatrove.ShortFilter.too_short": 1}
    assert outcome.kept.column("text").to_pylist() == ["ABC"]
    assert outcome.counts["deleted_bytes"] == outcome.counts["inserted_bytes"] == 3
    with pytest.raises(UsageError, match="cannot import the datatrove filter"):
        run(documents([]), datatrove=[{"filter": path + "s"}])
    with pytest.raises(UsageError, match="cannot make the datatrove filter"):
        run(documents([]), datatrove=[{"filter": path, "arguments": {"no": 1}}])
    with pytest.raises(InputError, match=r"ShortFilter` failed on document [0-9a-f]{32}: TypeError"):
        run(
            documents(["a"]),
            datatrove=[{"filter": "tests.support.datatrove_block.ShortFilter", "arguments": {"limit": "3"}}],
        )


def test_personal_data_is_replaced_in_place_and_counted() -> None:
    text = "é jane.doe@mail.example.org or bob@x.co; host 8.8.8.8, not 192.168.0.1. Call 212-555-1234!"
    outcome = run(documents([text, "nothing"]), pii={"phone": True})
    assert outcome.kept.column("text").to_pylist() == [
        (
            "é email@example.com or firstname.lastname@example.org; host 22.214.171.124, not 192.168.0.1."
            " Call 555-0100!"
        ),
        "nothing",
    ]
    assert [
        outcome.signals.column(f"v0.pii.{kind}").to_pylist()[0] for kind in ("emails", "ips", "phones")
    ] == [2, 1, 1]
    edits = outcome.decisions.column("edits").to_pylist()[0]
    assert text.encode()[edits[0]["start"] : edits[0]["end"]] == b"jane.doe@mail.example.org"
    assert removed_by(documents([text, "nothing"]), pii={"max_matches": 2}) == ["pii.matches", None]


def test_lists_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    for settings in (
        {"url": {"domains": [str(tmp_path / "none")]}},
        {"url": {"words": [write(tmp_path / "w", "word\tmuch")]}},
        {"wordlists": [{"lists": {"en": str(tmp_path / "latin")}}]},
        {"wordlists": [{"lists": {"en": write(tmp_path / "empty", "# none")}}]},
        {"models": [{"name": "m", "path": str(tmp_path / "w"), "label": "x", "max": 1}]},
        {"rules": [{"function": "nowhere.py:f", "max": 1}]},
    ):
        with pytest.raises(GristmillError, match=str(tmp_path) + "|nowhere"):
            run(documents([]), **settings)


def test_order_puts_a_replacement_before_what_measures_it(tmp_path: Path) -> None:
    own = write(tmp_path / "own.py", "def ats(text):", "    return text.count('jane')")
    rules = [{"function": f"{own}:ats", "max": 0}]
    table = documents(["jane@example.org"])
    assert removed_by(table, rules=rules, pii={}) == ["rules.ats"]
    assert removed_by(table, rules=rules, pii={}, order=["pii", "rules.ats"]) == [None]
