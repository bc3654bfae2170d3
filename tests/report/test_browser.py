"""The page in a real browser: it works, nothing leaves it, and what documents hold cannot run in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.pipeline.report.page import write_report
from tests.support.chromium import Tab
from tests.support.report_walk import asks_for_nothing, choose
from tests.support.run_folders import ATTACKS, RULES, write_hostile_run, write_run


def opened(tab: Tab, out: Path) -> None:
    tab.open(write_report(out).as_uri())


def test_the_page_opens_without_a_word_in_the_console_and_asks_for_nothing(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    asks_for_nothing(tab)
    empty = tab.run(
        "[...document.querySelectorAll('section')].filter(s => s.innerText.trim().split('\\n').length <"
        " 2).map(s => s.id)"
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
      heads[0].querySelector('button').click(); 
      const names = [...table.tBodies[0].rows].map(r => r.cells[0].innerText);
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


@pytest.mark.parametrize(
    "attack", [0, 4, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, *range(5, len(ATTACKS))))]
)
def test_nothing_that_a_record_holds_can_run_or_ask_or_disfigure(
    tab: Tab, tmp_path: Path, attack: int
) -> None:
    text = ATTACKS[attack]
    opened(tab, write_hostile_run(tmp_path, text))
    title = tab.run("document.title")
    groups = tab.run("[...document.getElementById('group').options].map(o => o.value)")
    assert groups
    for group in groups:
        choose(tab, group)
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.run("document.querySelectorAll('button').forEach(b => b.click())")
    tab.run(
        "document.querySelectorAll('*').forEach(e => e.dispatchEvent(new MouseEvent('mouseover', {bubbles:"
        " false})))"
    )
    assert tab.run("document.title") == title and title.endswith(" · gristmill") and title != "owned"
    asks_for_nothing(tab)
    made = (
        "img, iframe, object, embed, form, base, main link, main style, main script, svg script, animate,"
        " math, input, main meta"
    )
    assert tab.run(f"document.querySelectorAll('{made}').length") == 0
    handlers = (
        "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n =>"
        " n.startsWith('on')).length"
    )
    assert tab.run(handlers) == 0
    assert tab.run("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#'))")
    body = tab.run("document.documentElement.textContent")
    assert not any(character in body for character in "\x1b\x07\x9b\x85\x7f\u202e\u2066")
    assert tab.run("[...document.querySelectorAll('section')].length") >= 12
    for width in (390, 1200):
        tab.look(width=width)
        assert tab.run("document.documentElement.scrollWidth") <= width


def test_the_policy_stops_a_script_that_somebody_adds(tab: Tab, tmp_path: Path) -> None:
    opened(tab, write_run(tmp_path))
    tab.run(
        "const s = document.createElement('script'); s.textContent = \"document.title = 'owned'\";"
        " document.body.append(s)"
    )
    tab.run(
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)"
    )
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
