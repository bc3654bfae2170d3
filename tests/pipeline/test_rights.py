"""Opt-outs and licences: the grammar of robots.txt, the files of sites, rules, columns and totals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import RecipeError
from gristmill.files.parquet import read_parquet
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.publishing.card import card
from gristmill.pipeline.look.publishing.corpus_statistics import statistics
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases.rights.robots import Rules, parse, path_of, reservations, rules_for, site_of
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.stages.rights import RightsFacts, SiteRulesFacts
from tests.support.archives import http, member
from tests.support.toy_stage import INLINE, QUIET

BY = "https://creativecommons.org/licenses/by/4.0/"
NC = "https://creativecommons.org/licenses/by-nc/4.0/"
TEXT = "<article>" + "<p>The mill by the river ground wheat and rye for the whole valley.</p>" * 4


def allows(robots: str, path: str, agent: str = "CCBot") -> bool:
    return Rules(rules_for(parse(robots.encode()), agent)).allows(path)


@pytest.mark.parametrize(
    ("robots", "path", "allowed"),
    [
        # RFC 9309, section 5.2: the longest match; 5.1: groups
        ("user-agent: *\nallow: /p/page.html\ndisallow: /p/", "/p/page.html", True),
        ("user-agent: *\nallow: /p/page.html\ndisallow: /p/", "/p/other.html", False),
        ("User-Agent: *\nDisallow: *.gif$\nAllow: /p/", "/p/a.gif", False),
        ("User-Agent: *\nDisallow: *.gif$\nDisallow: /p/", "/a.gif?x", True),
        ("user-agent: *\ndisallow: /\n\nuser-agent: ccbot\ndisallow: /private", "/open", True),
        ("user-agent: a\nuser-agent: CCBOT/2.0\ndisallow: /x", "/x", False),
        ("user-agent: a\nallow: /\nuser-agent: b\nallow: /\nuser-agent: A\ndisallow: /c", "/c", True),
        ("user-agent: ccbot\ndisallow:\n\nuser-agent: *\ndisallow: /", "/x", True),
        ("user-agent: ccbot\ncrawl-delay: 5\nuser-agent: b\ndisallow: /x", "/x", False),
        ("user-agent: *\ndisallow: /x # a comment\nSitemap: https://a.example/s", "/x", False),
        ("user-agent: *\ndisallow: /x\nallow: /x", "/x", True),  # as long: the one that allows
        ("user-agent: *\ndisallow: /%7ea/\u00e9", "/~a/%C3%A9", False),
        ("user-agent: *\ndisallow: /a*b*c", "/a1b2b3c", False),
        ("user-agent: *\ndisallow: /a*c$", "/abcd", True),
        ("user-agent: *\ndisallow: /*?q=", "/find?q=1", False),
        ("\ufeffuser-agent: *\r\ndisallow: /x\r\n", "/x", False),
        ("disallow: /\n", "/x", True),  # of no agent
        ("user-agent: *\ndisallow: /fish$", "/fish", False),
        ("user-agent: *\ndisallow: /fish$", "/fish/", True),
    ],
)  # fmt: skip
def test_robots_txt_is_read_as_rfc_9309_says(robots: str, path: str, allowed: bool) -> None:
    assert allows(robots, path) is allowed


def test_rules_decide_as_a_plain_reading_of_all_of_them_does() -> None:
    import random
    import re

    draw = random.Random(4)
    letters = "ab/*$"
    for _ in range(2000):
        rules = [
            (draw.random() < 0.5, "/" + "".join(draw.choice(letters[:-1]) for _ in range(draw.randrange(5)))
             + draw.choice(["", "", "$"]))
            for _ in range(draw.randrange(1, 6))
        ]  # fmt: skip
        path = "/" + "".join(draw.choice("ab/") for _ in range(draw.randrange(7)))
        best = (-1, True)
        for allowed, pattern in rules:
            spelled = re.escape(pattern.removesuffix("$")).replace(r"\*", ".*")
            if re.match(spelled + (r"\Z" if pattern.endswith("$") else ""), path):
                best = max(best, (len(pattern), allowed))
        assert Rules(rules).allows(path) is best[1], (rules, path)


def test_a_site_is_a_host_with_its_port_and_a_path_has_its_query() -> None:
    assert site_of("HTTPS://User@A.Example.:443/x") == "a.example"
    assert site_of("http://a.example:8080/") == "a.example:8080"
    assert site_of("no url") == site_of(None) == ""
    assert path_of("http://a.example") == "/"
    assert path_of("http://a.example?q=1") == "/?q=1"
    assert path_of("http://a.example/x%7ey?q#part") == "/x~y?q"


def test_a_tdmrep_that_is_none_is_refused() -> None:
    assert reservations(b'[{"location": "/a/*", "tdm-reservation": 1}]') == [(False, "/a/*")]
    for body in (b"[1]", b"no json", b"[" * 100_000, b'[{"tdm-reservation": 1}]'):
        with pytest.raises(ValueError):
            reservations(body)


def response(url: str, block: bytes, number: int) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
        f"WARC-Date: 2025-01-02T03:04:05Z\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return member(head.encode() + block + b"\r\n\r\n")


def html(head: str = "", foot: str = "") -> bytes:
    return f"<!doctype html><html><head>{head}</head><body>{TEXT}</article>{foot}</body></html>".encode()


PAGES = {
    "http://open.example/plain": http(html()),
    "http://open.example/by": http(html(f'<link rel="license" href="{BY}">')),
    "http://open.example/nc": http(html(foot=f"<footer><a href='{NC}'>x</a></footer>")),
    "http://open.example/noai": http(html('<meta name="robots" content="noai, noimageai">')),
    "http://open.example/header": http(html(), extra="X-Robots-Tag: gptbot: noai\r\n"),
    "http://open.example/noindex": http(html('<meta name="robots" content="noindex">')),
    "http://open.example/tdm": http(html(), extra="tdm-reservation: 1\r\n"),
    "https://shut.example/closed/a": http(html()),
    "https://shut.example/free/a": http(html()),
    "https://ai.example/about": http(html()),
    "https://ai.example/picture.png": http(html()),
    "https://rep.example/kept/a": http(html()),
    "https://rep.example/kept/b": http(html('<meta name="tdm-reservation" content="0">')),
}  # fmt: skip
PLAIN = "text/plain"
SITES = {
    "http://shut.example/robots.txt": http(b"user-agent: gptbot\ndisallow: /closed/\n", content_type=PLAIN),
    "https://shut.example/robots.txt": http(b"gone", "404 Not Found"),
    "http://down.example/robots.txt": http(b"down", "503 Service Unavailable"),
    "https://ai.example/ai.txt": http(b"User-Agent: *\nDisallow: *.html\n", content_type=PLAIN),
    "https://rep.example/.well-known/tdmrep.json": http(
        json.dumps([{"location": "/kept/*", "tdm-reservation": 1}]).encode(), content_type="application/json"
    ),
    "https://bad.example/.well-known/tdmrep.json": http(b"{", content_type="application/json"),
    "https://open.example/page": http(html()),
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rights")
    for name, records in (("web", PAGES), ("sites", SITES)):
        lines = [response(url, block, number) for number, (url, block) in enumerate(records.items())]
        (folder / f"{name}.warc.gz").write_bytes(b"".join(lines))
    (folder / "rows.jsonl").write_text(
        json.dumps({"url": "http://shut.example/closed/b", "text": "words " * 20})
    )
    return folder


def run(folder: Path, out: Path, **rights: Any) -> dict[str, str | None]:
    """Run a recipe with these rights; the rule that removed each URL, None where it stays."""
    sources = {
        "web": {"inputs": f"{folder}/web.warc.gz"},
        "rows": {"inputs": f"{folder}/rows.jsonl", "licence": "odc-by"},
    }
    archives = {"inputs": f"{folder}/sites.warc.gz"}
    section = {"archives": archives, **rights}
    recipe = make_recipe(
        {"name": "x", "sources": sources, "extract": {"extractor": "resiliparse"}, "rights": section}
    )
    run_plan(build_plan(recipe), out, INLINE, QUIET)
    found: dict[str, str | None] = {}
    for name, manifest in finished_steps(out).items():
        if name.startswith("rights/"):
            for kind in ("documents", "removed"):
                for path in manifest.paths(kind):
                    for row in read_parquet(path).to_pylist():
                        found[row["url"]] = row.get("rule")
    return found


@pytest.fixture(scope="module")
def out(inputs: Path) -> Path:
    run(inputs, inputs / "out")
    return inputs / "out"


def test_every_honoured_opt_out_removes_by_its_rule(inputs: Path, out: Path) -> None:
    assert run(inputs, out) == {
        "http://open.example/plain": None,
        "http://open.example/by": None,
        "http://open.example/nc": None,
        "http://open.example/noai": "opt_out.noai",
        "http://open.example/header": "opt_out.noai",
        "http://open.example/noindex": None,
        "http://open.example/tdm": "opt_out.tdm",
        "https://shut.example/closed/a": "opt_out.robots_txt",
        "https://shut.example/free/a": None,
        "https://ai.example/about": "opt_out.ai_txt",
        "https://ai.example/picture.png": None,
        "https://rep.example/kept/a": "opt_out.tdm",
        "https://rep.example/kept/b": None,
        "http://shut.example/closed/b": "opt_out.robots_txt",
    }
    assert not list(verify(out))


def test_columns_say_what_was_found_and_what_is_not_asked_for_stays_outside(out: Path) -> None:
    (path,) = finished_steps(out)["rights/web"].paths("documents")
    table = read_parquet(path)
    assert table.column_names[-2:] == ["opt_out", "licence"]
    assert not [name for name in table.column_names if name.startswith("page.")]
    rows = {row["url"]: row for row in table.to_pylist()}
    assert rows["http://open.example/by"]["licence"] == "cc-by-4.0"
    assert rows["http://open.example/nc"]["licence"] == "cc-by-nc-4.0"
    assert rows["http://open.example/noindex"]["opt_out"] == "noindex"
    assert rows["http://open.example/plain"]["licence"] is None


def test_what_was_read_and_found_is_counted(out: Path) -> None:
    steps = finished_steps(out)
    read = steps["site-rules"].stated(SiteRulesFacts)
    assert read.files == {"ai.txt": 1, "robots.txt": 1, "tdm": 1}
    assert read.sites == 3
    assert read.passed_over == {"other_status": 1, "unreachable": 1, "unreadable": 1}
    found = steps["rights/web"].stated(RightsFacts)
    assert found.documents == 13
    assert found.signals == {
        "noai": 2, "tdm": 2, "ai.txt:applebot-extended": 1, "ai.txt:ccbot": 1, "ai.txt:claudebot": 1,
        "ai.txt:google-extended": 1, "ai.txt:gptbot": 1, "ai.txt:meta-externalagent": 1, "noimageai": 1,
        "noindex": 1, "robots.txt:gptbot": 1,
    }  # fmt: skip
    assert found.licences == {"none": 5, "cc-by-4.0": 1, "cc-by-nc-4.0": 1}


def test_card_report_and_why_tell_it(out: Path) -> None:
    found = statistics(out)
    assert found["opt_out"]["opt_out.noai"] == 2
    assert found["opt_out_found"]["noindex"] == 1
    assert found["licences"]["cc-by-4.0"] == 1
    assert found["sources"]["rows"]["licence"] == "odc-by"
    text = card(out, found, licence="other")
    assert "No rule honoured opt-outs" not in text
    assert "`noindex` 1" in text
    write_report(out)
    page = (out / "report.html").read_text()
    assert "Opt-outs and licences" in page
    assert "cc-by-nc-4.0" in page
    life = look_up(out, "https://shut.example/closed/a")
    assert life.events[-1].facts["rule"] == "opt_out.robots_txt"
    assert life.events[-1].facts["opt_out"] == "robots.txt:gptbot"


def test_agents_honour_and_licences_are_the_recipe_s(inputs: Path, tmp_path: Path) -> None:
    found = run(inputs, tmp_path / "a", agents=["CCBot"], honour=["robots.txt", "noindex"])
    removed = {url: rule for url, rule in found.items() if rule}
    assert removed == {"http://open.example/noindex": "opt_out.noindex"}
    found = run(inputs, tmp_path / "b", honour=[], licences={"remove": ["*-nc-*"], "unmarked": "remove"})
    kept = [url for url, rule in found.items() if rule is None]
    assert kept == ["http://open.example/by", "http://shut.example/closed/b"]
    assert found["http://open.example/nc"] == "licence.remove"
    found = run(inputs, tmp_path / "c", honour=[], licences={"keep": ["cc-by-[0-9]*"]})
    assert sorted(url for url, rule in found.items() if rule) == [
        "http://open.example/nc",
        "http://shut.example/closed/b",
    ]


def test_a_source_without_the_columns_says_so(inputs: Path, out: Path, tmp_path: Path) -> None:
    first = make_recipe({"name": "a", "sources": {"web": {"inputs": f"{inputs}/web.warc.gz"}},
                         "extract": {"extractor": "resiliparse"}})  # fmt: skip
    run_plan(build_plan(first), tmp_path / "a", INLINE, QUIET)
    second = make_recipe({"name": "b", "sources": {"old": {"inputs": str(tmp_path / "a")}}, "rights": {}})
    run_plan(build_plan(second), tmp_path / "b", INLINE, QUIET)
    (note, *_) = finished_steps(tmp_path / "b")["rights/web"].stated(RightsFacts).notes or ()
    assert note == (
        "13 documents of `web` came without the column `page.licence`: what their pages say is not known"
    )


@pytest.mark.parametrize(
    ("rights", "message"),
    [
        ({"honour": ["noia"]}, "no signal `noia`; there are robots.txt, ai.txt, tdm, noai"),
        ({"agents": ["CCBot/2.0"]}, "product token"),
    ],
)
def test_a_mistake_is_named(rights: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_recipe({"name": "x", "sources": {"a": {"inputs": "a.jsonl"}}, "rights": rights})
