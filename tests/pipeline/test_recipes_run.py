"""Every recipe of the package runs to its end on real pages and texts; its lists and models are small ones
made here."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from warcio.warcwriter import WARCWriter

from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.file import read_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.recipe.shipped import shipped
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.tokenize.settings import TokenizerSettings
from tests.support.model_server import model_server
from tests.support.recipe_inputs import lay_out

RECIPES = [own.name for own in shipped() if own.name not in ("web", "pretrain")]  # those to start from
PAGES, ROWS = 400, 120
# Which of the shared texts stand in for a recipe's source; all others are questions and answers.
KINDS = {
    "wikipedia": "wikipedia/enwiki-articles.jsonl.gz",
    "references": "wikipedia/enwiki-articles.jsonl.gz",
    "books2": "books/classic-books-markdown.jsonl.gz",
    "books": "books/eltec.jsonl.gz",
    "arxiv": "arxiv/abstracts.jsonl.gz",
    "c4": "cc-text/samples.jsonl.gz",
    "common_crawl": "cc-text/samples.jsonl.gz",
}
# What a few hundred pages cannot give at the published size.
SMALLER = ("tokenizer.vocab_size=600", "tokenizer.sample_bytes=500000")


@pytest.fixture(scope="module")
def archives(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first pages of the shared crawl as one WARC file, and their gold texts as one WET file."""
    folder = tmp_path_factory.mktemp("archives")
    warc, wet = folder / "pages.warc.gz", folder / "pages.warc.wet.gz"
    taken = 0
    with warc.open("wb") as out:
        for path in sorted((shared_data / "realweb").glob("*.warc.gz")):
            with path.open("rb") as file:
                for record in islice(
                    ArchiveIterator(file, record_types=WarcRecordType.response), PAGES - taken
                ):
                    buffer = io.BytesIO()
                    record.write(buffer)
                    out.write(gzip.compress(buffer.getvalue(), 1))
                    taken += 1
            if taken >= PAGES:
                break
    with gzip.open(shared_data / "realweb" / "gold.jsonl.gz", "rt") as file, wet.open("wb") as out:
        writer = WARCWriter(out, gzip=True)
        for row in islice((json.loads(line) for line in file), 3 * PAGES):
            if row.get("gold_text"):
                payload = io.BytesIO(row["gold_text"].encode("utf-8", "replace"))
                record = writer.create_warc_record(
                    row["url"], "conversion", payload=payload, warc_content_type="text/plain"
                )
                writer.write_record(record)
                record.raw_stream.close()  # a temporary file of the writer
    return {"warc": warc, "wet": wet}


def responses(file: Any) -> Any:
    return ArchiveIterator(file, record_types=WarcRecordType.response)


def texts_of(shared_data: Path) -> Any:
    def rows(source: str) -> Sequence[dict[str, Any]]:
        kind = next((path for name, path in KINDS.items() if name in source), None)
        path = shared_data / "sources" / (kind or "stackexchange/questions-answers.jsonl.gz")
        with gzip.open(path, "rt") as file:
            return [json.loads(line) for line in islice(file, 5 if "books" in str(path) else ROWS)]

    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_to_its_end_and_its_books_balance(
    name: str, tmp_path: Path, archives: dict[str, Path], shared_data: Path
) -> None:
    path = lay_out(
        name, tmp_path, [archives["wet" if "wet" in archive_of(name) else "warc"]], texts_of(shared_data)
    )
    recipe = read_recipe(path)
    smaller = SMALLER if recipe.section(TokenizerSettings) else ()
    recipe = read_recipe(path, smaller)
    out = tmp_path / "out"
    with model_server(tmp_path) as server:
        asked = [f"generate.{written}.server.url={server.url}" for written in recipe.made_sources()]
        plan = build_plan(read_recipe(path, [*smaller, *asked]))
        result = run_plan(plan, out, EngineSettings(kind="inline"), Progress(quiet=True))
    assert result.ran == [step.name for step in plan.steps]
    assert not list(verify(out))
    funnel = build_funnel(read_view(out))
    assert funnel.documents > 0
    print(name, [(level.name, level.documents) for level in funnel.levels])


def archive_of(name: str) -> str:
    return " ".join(next(own for own in shipped() if own.name == name).about.needs)
