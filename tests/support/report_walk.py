"""A walk through a report in the browser, as a reader does it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from tests.support.chromium import Tab

FULL = (
    *(
        "funnel",
        "rules",
        "signals",
        "correlations",
        "corpus",
        "sources",
        "reading",
        "duplicates",
        "quality",
        "tokenizer",
        "mixture",
        "balance",
        "training",
        "samples",
    ),
    *("failures", "stages", "ask", "recipe"),
)


def choose(tab: Tab, group: str) -> None:
    tab.run(
        f"(g => {{ g.value = {json.dumps(group)}; g.dispatchEvent(new Event('change'))"
        " })(document.getElementById('group'))"
    )


def asks_for_nothing(tab: Tab) -> None:
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith(("file://", "data:"))] == []


def walk(tab: Tab, page: Path, without: Collection[str] = ()) -> None:
    """Open a finished run's page: every section shows data, sorting and samples work, nothing is said and
    nothing leaves. A small run is `without` some sections."""
    tab.open(page.as_uri())
    there = tab.run("[...document.querySelectorAll('section')].map(s => s.id)")
    assert there == [section for section in FULL if section not in without], there
    for section in there:
        marks = tab.run(
            f"document.querySelectorAll('#{section} td, #{section} svg rect, #{section} pre, #{section}"
            " .text').length"
        )
        said = tab.run(f"document.getElementById('{section}').innerText.trim().split('\\n').length")
        # A run without failures says so in a sentence.
        assert said >= 2 and (marks or section == "failures"), section
    empty = (
        "[...document.querySelectorAll('tbody, .card, .cards, figure, dl, details')].filter(e =>"
        " !e.textContent.trim()).map(e => (e.closest('table') ?? e).outerHTML.slice(0, 200))"
    )
    hollow = tab.run(empty)
    assert not hollow, hollow
    _every_table_sorts(tab)
    _samples_turn(tab)
    _cuts_open(tab)
    for width in (390, 1200):
        assert len({tab.look(dark=dark, width=width) for dark in (False, True)}) == 2
        assert tab.run("document.documentElement.scrollWidth") <= width
    asks_for_nothing(tab)


def _every_table_sorts(tab: Tab) -> None:
    unsorted = tab.run("""(() => {
      const off = [];
      for (const button of document.querySelectorAll('.sort')) {
        const head = button.closest('th'), body = head.closest('table').tBodies[0];
        const values = () => [...body.rows].map(r =>
          r.cells[head.cellIndex].dataset.v ?? r.cells[head.cellIndex].textContent);
        button.click(); const one = values(), way = head.getAttribute('aria-sort');
        button.click(); const other = values();
        const numbers = one.every(v => v !== '' && !isNaN(v));
        const ordered = v => v.every((x, i) => !i ||
          (numbers ? Number(v[i - 1]) <= Number(x) : v[i - 1].localeCompare(x) <= 0));
        const [up, down] = way === 'ascending' ? [one, other] : [other, one];
        if (!one.includes('') && !(ordered(up) && ordered([...down].reverse()))) off.push(head.textContent);
      }
      return off;
    })()""")
    assert unsorted == []


def _samples_turn(tab: Tab) -> None:
    groups = tab.run("[...document.getElementById('group').options].map(o => o.value)")
    assert len(groups) > 5
    position, shown = (
        "document.getElementById('position').textContent",
        "document.getElementById('sample').innerText",
    )
    for group in groups:
        choose(tab, group)
        num = int(tab.run(position).split(" of ")[1])
        seen = {tab.run(shown)}
        for at in range(2, num + 1):
            tab.press("j")
            assert tab.run(position) == f"{at} of {num}"
            seen.add(tab.run(shown))
        assert len(seen) == num, group
        tab.press("k")
        assert tab.run(position) == f"{max(1, num - 1)} of {num}"
        assert "gristmill why " in tab.run(shown)


def _cuts_open(tab: Tab) -> None:
    assert tab.run("document.querySelectorAll('button.near').length") > 5
    tab.run("document.querySelectorAll('button.near').forEach(b => b.click())")
    assert tab.run("document.querySelectorAll('.card .pair .sample').length") > 10
    tab.run("document.querySelectorAll('button.near').forEach(b => b.click())")
    assert tab.run("document.querySelectorAll('.card .pair').length") == 0
