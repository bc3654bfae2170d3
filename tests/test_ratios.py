"""Every ratio and speed that README and docs claim beside a peer stands in benchmarks/results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# "12 x rensa", "59 x trafilatura", "616 times datatrove", "at 85 MB/s", "1,489 pages/s"
PEERS = "datatrove|datasketch|rensa|trafilatura|resiliparse|KenLM|sentencepiece|dolma"
RATIO = re.compile(rf"(?<![\w.])(\.?\d[\d,]*(?:\.\d+)?) (?:x|times) (?:as fast as )?(?:{PEERS})\b")


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def ratios() -> list[float]:
    """All numbers under a key `ratio` of any result."""

    def below(value: Any) -> Iterator[float]:
        if isinstance(value, dict):
            for key, part in value.items():
                yield from numbers(part) if key == "ratio" else below(part)
        elif isinstance(value, list):
            for part in value:
                yield from below(part)

    files = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    return [ratio for file in files for result in results_of(file) for ratio in below(result)]


def results_of(file: Path) -> list[Any]:
    """The results in a file: one object, or one a line below what was printed."""
    text = file.read_text()
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def same(said: str, found: float) -> bool:
    """Whether a number, as it is rounded in a text, is the one found."""
    plain = said.replace(",", "")
    decimals = len(plain.partition(".")[2])
    return round(found, decimals) == float(plain) or f"{found:.{decimals}f}" == plain


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_ratio_that_a_page_claims_was_measured(page: Path) -> None:
    known = ratios()
    for claim in RATIO.finditer(page.read_text()):
        assert any(same(claim.group(1), ratio) for ratio in known), f"{page.name}: {claim.group()}"


def test_readme_claims_ratios_at_all() -> None:
    assert len(RATIO.findall((ROOT / "README.md").read_text())) >= 4
