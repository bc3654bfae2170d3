"""Planted truth on real texts: books against search-engine spam, alone and as half of the books' text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from gristmill.pipeline.proof.ablation import Asked, measure
from gristmill.pipeline.proof.texts import Amount
from gristmill.pipeline.proof.variants import read_variants
from gristmill.pipeline.proof.verdict import decide
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings
from tests.support import planted

PIECE = 2000  # characters
BEGIN = 5000  # behind title pages


def pieces(path: Path, prefix: str, most: int, begin: int = BEGIN) -> list[str]:
    """Stretches of the texts whose id begins so, in turn: at most so many in all."""
    with gzip.open(path, "rt") as file:
        texts = [row["text"] for line in file if (row := json.loads(line))["id"].startswith(prefix)]
    places = range(begin, max(map(len, texts)), PIECE)
    found = [text[at : at + PIECE] for at in places for text in texts if len(text) >= at + PIECE // 2]
    return found[:most]


@pytest.mark.slow
def test_spam_is_told_from_books(shared_data: Path, tmp_path: Path) -> None:
    sources = shared_data / "sources"
    spam = pieces(sources / "spam" / "seo-readmes.jsonl.gz", "", 400, begin=0)
    books = pieces(sources / "books" / "eltec.jsonl.gz", "eltec:ENG", len(spam))
    others = pieces(sources / "books" / "classic-books-markdown.jsonl.gz", "cbm:", 60)
    assert len(spam) == len(books) > 150 and len(others) == 60
    recipe = planted.write_planted(tmp_path)
    planted.write_rows(tmp_path / "good.jsonl", books)
    planted.write_rows(tmp_path / "spam.jsonl", spam)
    planted.write_rows(tmp_path / "half.jsonl", [*books[::2], *spam[::2]])
    planted.write_rows(tmp_path / "target.jsonl", others)
    vary = [
        f"{name}: sources.text.inputs=[{json.dumps(str(tmp_path / f'{name}.jsonl'))}]"
        for name in ("spam", "half")
    ]
    asked = Asked(targets={"books": [str(tmp_path / "target.jsonl")]}, tokens=60_000, amount=Amount(60, 1000))
    engine = EngineSettings(kind="inline", retries=0)
    variants = read_variants(recipe, vary=vary, placebo=True)
    verdict = decide(measure(variants, asked, tmp_path / "out", engine, Progress(quiet=True)))
    for name in ("trained", "n-gram"):
        cells = verdict.tables[name].cells["books"]
        found = {variant: cell.difference for variant, cell in cells.items() if cell.difference}
        shown = {v: (round(d.value, 3), round(d.low, 3), round(d.high, 3), d.told) for v, d in found.items()}
        assert found["spam"].low > 0, (name, shown)
        # Half of 60,000 tokens costs tiny models a few of the seeds' own differences: it is not always told.
        assert found["half"].value > 0 and (found["half"].low > 0 or name == "trained"), (name, shown)
        assert found["placebo"].told == "within noise", (name, shown)
