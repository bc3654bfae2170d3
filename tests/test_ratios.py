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
# "12 x rensa", "59 times slower", "2.2 x,", "4.7 x |": any number that multiplies something.
RATIO = re.compile(r"(?<![\w.])(\.?\d[\d,]*(?:\.\d+)?) ?(?:x|×|times)(?![\w-])")
# What multiplies and claims no speed beside a peer: the words around it, and what they are.
NO_CLAIM = {
    r"80 x \(8": "arithmetic of hours",
    r"14 x 8": "bands and rows",
    r"ln 2 x": "a formula",
    r"4 x (?:128|512) tokens": "a batch",
    r"20 times its tokens": "a rule of packing",
    r"10 times \||1 times \||4 times \|": "weights by cluster size",
    r"6 times what Gopher's": "a bound beside another",
    r"3 times per": "compilations, in tests/trainer",
    r"within 1\.5\s+times": "logits over widths, in tests/trainer",
    r"4 to 5 times": "what a processor has",
}
# Figures in a paragraph that names a file of results, and which files these are.
FIGURE = re.compile(r"(?<![\w.,/-])(\.?\d[\d,]*(?:\.\d+)?) ?(x(?! \d)|×|times|%|MB/s|pages/s|µs|us)(?![\w-])")
RESULTS = re.compile(r"results/([a-z_]+\.json)")
PARAGRAPH = re.compile(r"\n\s*\n|\n(?=[-*] )")


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
    """All numbers under a key `ratio`, or `to_bare`, of any result."""

    def below(value: Any) -> Iterator[float]:
        if isinstance(value, dict):
            for key, part in value.items():
                yield from numbers(part) if key in ("ratio", "to_bare") else below(part)
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


def around(text: str, claim: re.Match[str]) -> str:
    return text[max(0, claim.start() - 60) : claim.end() + 40].replace("\n", " ")


def exceptions(text: str, claim: re.Match[str]) -> list[str]:
    """The exceptions whose words, which hold the figure, stand where a claim does."""
    near = text[max(0, claim.start() - 25) : claim.end() + 40]
    return [
        r for r in NO_CLAIM if any(claim.group().strip() in found.group() for found in re.finditer(r, near))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_ratio_that_a_page_claims_was_measured(page: Path) -> None:
    known, text = ratios(), page.read_text()
    for claim in RATIO.finditer(text):
        if not exceptions(text, claim):
            assert any(same(claim.group(1), ratio) for ratio in known), around(text, claim)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_figure_beside_a_file_of_results_is_in_it(page: Path) -> None:
    """A percentage may stand there as a fraction, an error with its sign."""
    for text in PARAGRAPH.split(page.read_text()):
        files = [ROOT / "benchmarks" / "results" / name for name in RESULTS.findall(text)]
        held = [number for file in files for result in results_of(file) for number in numbers(result)]
        for claim in FIGURE.finditer(text) if files else ():
            factors = (1, 100, -100) if claim.group(2) == "%" else (1,)
            assert any(same(claim.group(1), factor * number) for number in held for factor in factors), (
                around(text, claim)
            )


@pytest.mark.parametrize(
    "claim",
    ["12 x rensa", "exact 2.2 x, fuzzy 18 x", "| 4.7 x |", "2,000 times datatrove", ".4 × a", "9 times,"],
)
def test_every_form_of_a_ratio_is_seen(claim: str) -> None:
    assert len(RATIO.findall(claim)) == 1 + claim.count("fuzzy")


def test_readme_claims_ratios_at_all() -> None:
    assert len(RATIO.findall((ROOT / "README.md").read_text())) >= 12


def test_an_exception_is_one_that_a_page_needs() -> None:
    texts = [page.read_text() for page in PAGES]
    needed = {r for text in texts for claim in RATIO.finditer(text) for r in exceptions(text, claim)}
    assert needed == set(NO_CLAIM)
