"""Structure in Markdown: TeX, code and rows of tables that come out as the page has them, beside trafilatura.

    python benchmarks/extract_structure.py PAGES.jsonl.gz [--quick] [--json] [--save]

Rows of the file have `kind` (code, math, table), `name`, `html`; `blocks` (gold code), `display` and `inline`
(gold TeX). A TeX string counts when it is in the text, white space apart; code when it is there line by line;
a row of a table (two cells or more, no table within) when its cells stand in order between pipes of one line.
`--save` keeps the result and puts the counts into the shipped model's card.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from gristmill.pipeline.extract.blocks.classifier import add_to_card
from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.structure.fragment import parse

RESULT = Path(__file__).parent / "results" / "extract_structure.json"
_MARKS = re.compile(r"[\\|`*$]")


def ours(html: str) -> str:
    return extract(html, None, BlocksSettings(format="markdown", metadata=False)).text


def trafilatura(html: str) -> str:
    from trafilatura import extract as extract_main

    return extract_main(html, output_format="markdown", include_formatting=True, include_tables=True) or ""


WAYS: dict[str, Callable[[str], str]] = {"blocks": ours, "trafilatura": trafilatura}


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.replace("\r", "").split("\n"))


def found_tex(text: str, page: dict[str, Any]) -> list[bool]:
    gold = dict.fromkeys([*(page.get("display") or ()), *(page.get("inline") or ())])
    squeezed = _squeeze(text)
    return [_squeeze(tex) in squeezed for tex in gold]


def found_code(text: str, page: dict[str, Any]) -> list[bool]:
    lines = _lines(text)
    return [_lines(block).strip() in lines for block in page["blocks"]]


def found_rows(text: str, page: dict[str, Any]) -> list[bool]:
    lines = [_plain(line) for line in text.split("\n") if "|" in line]
    rows = []
    for table in parse(page["html"]).all("table"):
        if table.first("table") is None:
            for row in table.all("tr"):
                cells = [_plain(cell.text()) for cell in row.nodes() if cell.tag in ("td", "th")]
                rows += [cells] if sum(map(bool, cells)) > 1 else []
    return [any(_in_order(cells, line) for line in lines) for cells in rows]


def _plain(text: str) -> str:
    return _squeeze(_MARKS.sub("", text))


def _in_order(cells: list[str], line: str) -> bool:
    at = 0
    for cell in cells:
        at = line.find(cell, at)
        if at < 0:
            return False
        at += len(cell)
    return True


FOUND = {"math": found_tex, "code": found_code, "table": found_rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path)
    parser.add_argument("--quick", action="store_true", help="every third page")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save", action="store_true", help=f"keep the result in {RESULT.name} and the model's card"
    )
    options = parser.parse_args()
    with gzip.open(options.pages) as file:
        pages = [orjson.loads(line) for line in file][:: 3 if options.quick else 1]
    found: dict[str, dict[str, list[int]]] = {name: {kind: [0, 0] for kind in FOUND} for name in WAYS}
    for page in pages:
        for name, way in WAYS.items():
            hits = FOUND[page["kind"]](way(page["html"]), page)
            found[name][page["kind"]][0] += sum(hits)
            found[name][page["kind"]][1] += len(hits)
            if name == "blocks" and not all(hits):
                print(f"{page['kind']:6} {page['name']:48} {sum(hits)} of {len(hits)}", file=sys.stderr)
    shares = {
        name: {kind: round(hits / max(num, 1), 4) for kind, (hits, num) in by_kind.items()}
        for name, by_kind in found.items()
    }
    for name, by_kind in found.items():
        print(f"{name:12} " + ", ".join(f"{kind} {hits} of {num}" for kind, (hits, num) in by_kind.items()))
    result = {
        "what": "structure kept in Markdown",
        "unit": "share of gold strings, code blocks, rows",
        "ours": shares["blocks"],
        "peers": {"trafilatura": shares["trafilatura"]},
        "ratio": {
            kind: round(share / max(shares["trafilatura"][kind], 1e-9), 2)
            for kind, share in shares["blocks"].items()
            if shares["trafilatura"][kind]
        },
        "counts": found,
        "versions": {"trafilatura": version("trafilatura")},
        "machine": platform.machine(),
        "command": f"python benchmarks/extract_structure.py {options.pages.name}",
    }
    if options.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
        add_to_card("structure", found)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
