"""The page in a real browser: it works, nothing leaves it, and what documents hold cannot run in it."""

from __future__ import annotations

import json
from pathlib import Path

from chromium import Tab
from ledgers import NASTY, RULES, write_run

from gristmill.pipeline.report.page import write_report


def opened(tab: Tab, out: Path) -> None:
    tab.open(write_report(out).as_uri())


def choose(tab: Tab, group: str) -> None:
    tab.run(f"(g => {{ g.value = {json.dumps(group)}; g.dispatchEvent(new Event('change')) }})(document.getElementById('group'))")


def test_the_page_opens_without_a_word_in_the_console_and_asks_for_nothing(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith(("file://", "data:"))] == []
    empty = tab.run(
        "[...document.querySelectorAll('section')].filter(s => s.innerText.trim().split('\\n').length < 2).map(s => s.id)"
    )
    assert empty == []


def test_a_click_on_a_head_sorts_the_rules(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    script = """(() => {
      const table = document.querySelector('#rules table'), heads = [...table.tHead.rows[0].cells];
      const head = heads.find(h => h.innerText.startsWith('fail at all'));
      const column = () => [...table.tBodies[0].rows].map(r => Number(r.cells[head.cellIndex].dataset.v));
      head.querySelector('button').click(); const down = column();
      head.querySelector('button').click(); const up = column();
      heads[0].querySelector('button').click(); const names = [...table.tBodies[0].rows].map(r => r.cells[0].innerText);
      return [down, up, names];
    })()"""
    down, up, names = tab.run(script)
    assert down == sorted(down, reverse=True) and up == sorted(up) and names == sorted(names)
    assert len(set(down)) > 1


def test_j_and_k_walk_through_the_samples(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    choose(tab, "filter/web kept")
    first = tab.run("document.getElementById('sample').innerText")
    assert tab.run("document.getElementById('position').textContent") == "1 of 8"
    tab.press("j")
    assert tab.run("document.getElementById('position').textContent") == "2 of 8"
    assert tab.run("document.getElementById('sample').innerText") != first
    tab.press("k")
    assert tab.run("document.getElementById('sample').innerText") == first
    choose(tab, RULES[0])
    assert f"{RULES[0]}: 7, the cut is 50" in tab.run("document.getElementById('sample').innerText")


def test_documents_near_a_cut_open_beside_its_histogram(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    tab.run("document.querySelector('button.near').click()")
    shown = tab.run("document.querySelector('.card .pair').innerText")
    assert "51, the cut is 50" in shown and "49, the cut is 50" in shown
    tab.run("document.querySelector('button.near').click()")
    assert tab.run("document.querySelector('.card .pair')") is None


def test_nothing_that_a_document_holds_can_run_or_ask(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path, text=NASTY))
    title = tab.run("document.title")
    for group in tab.run("[...document.getElementById('group').options].map(o => o.value)"):
        choose(tab, group)
    assert tab.run("document.title") == title == "made · gristmill"
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith(("file://", "data:"))] == []
    assert tab.run("document.querySelectorAll('img, iframe, object, embed, section script, svg [onload], [onerror]').length") == 0
    body = tab.run("document.body.innerText")
    assert "\x1b" not in body and "\u202e" not in body
    assert "\\u202egnirts" in body and "</script>" in body


def test_the_policy_stops_a_script_that_somebody_adds(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    tab.run("const s = document.createElement('script'); s.textContent = \"document.title = 'owned'\"; document.body.append(s)")
    tab.run("const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    assert tab.run("document.title") == "made · gristmill"
    assert tab.complaints() != []


def test_the_page_fits_a_phone_in_light_and_dark(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    pictures = {tab.look(dark=dark, width=width) for dark in (False, True) for width in (390, 1200)}
    assert len(pictures) == 4
    for width in (390, 1200):
        tab.look(width=width)
        assert tab.run("document.documentElement.scrollWidth") <= width
    before = tab.run("getComputedStyle(document.body).backgroundColor")
    tab.run("document.getElementById('theme').click()")
    assert tab.run("getComputedStyle(document.body).backgroundColor") != before
