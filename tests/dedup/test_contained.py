"""DCLM's Bloom filter of n-grams, exactly: what earlier documents hold is cut or removed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.dedup.settings.parts import ContainedSettings
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.dedup_drive import balanced, documents, run_contained, write_shards

SHORT = ContainedSettings(ngram=3, min_words=3)


def walk(table: pa.Table, asked: ContainedSettings) -> dict[bytes, str | None]:
    """BFF's walk in plain Python with a set for a filter, in the order of ids; a removed document is None."""
    seen: set[tuple[str, ...]] = set()
    left: dict[bytes, str | None] = {}
    rows = sorted(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    for id_, text in rows:
        kept, held, total = [], 0, 0
        for paragraph in text.split("\n"):
            words = paragraph.split()
            n = asked.ngram if len(words) >= asked.ngram else max(len(words), 1)
            size = len(words) - n + 1 if len(words) >= asked.min_words else 0
            ngrams = [tuple(words[i : i + n]) for i in range(size)]
            mine = sum(ngram in seen for ngram in ngrams)
            held, total = held + mine, total + len(ngrams)
            if not (ngrams and mine / len(ngrams) > asked.threshold):
                kept.append(paragraph)
            seen.update(ngrams)  # BFF: but for paragraphs that are cut
        gone = total and held / total > asked.threshold
        result = "\n".join(kept)
        left[id_] = None if gone or (len(kept) < text.count("\n") + 1 and not result.strip()) else result
    return left


def ours(
    table: pa.Table, asked: ContainedSettings, folder: Path, sizes: list[int]
) -> dict[bytes, str | None]:
    found = run_contained(asked, write_shards(folder / "in", table, sizes), folder / "s")
    balanced(found, table)
    left: dict[bytes, str | None] = dict.fromkeys(found.removed["id"].to_pylist())
    return left | dict(zip(found.kept["id"].to_pylist(), found.kept["text"].to_pylist(), strict=True))


WORDS = st.sampled_from(["a", "b", "c", "d", "."])
PARAGRAPH = st.lists(WORDS, max_size=7).map(" ".join)
TEXT = st.lists(PARAGRAPH, min_size=1, max_size=4).map("\n".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(TEXT, min_size=1, max_size=7),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.5, 0.8]),
)
def test_what_is_left_is_what_a_walk_in_the_order_of_ids_leaves(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cut: int, min_words: int, threshold: float
) -> None:
    asked = ContainedSettings(ngram=3, min_words=min_words, threshold=threshold)
    table = documents(texts)
    assert ours(table, asked, tmp_path_factory.mktemp("w"), [cut]) == walk(table, asked)


def test_a_repeated_paragraph_is_cut_and_a_document_of_repeats_is_removed(tmp_path: Path) -> None:
    shared = "one two three four five six"
    table = documents([f"{shared}\nthe first one of them", f"{shared}\nanother end of it", shared])
    order = sorted(range(3), key=lambda number: table["id"][number].as_py())
    left = ours(table, SHORT, tmp_path, [1])
    texts = [left[table["id"][number].as_py()] for number in order]
    whole = [table["text"][number].as_py() for number in order]
    assert texts[0] == whole[0]
    for text, before in zip(texts[1:], whole[1:], strict=True):
        # Four of six n-grams are held: the paragraph goes, the document stays; all of four: it goes.
        assert text == (None if before == shared else before.removeprefix(shared + "\n"))


def test_at_the_threshold_a_paragraph_stays(tmp_path: Path) -> None:
    """BFF: contained / all > threshold."""
    first, second = "a b c d e f", "a b c d e f g"  # four and five n-grams, four shared: 0.8
    table = documents([first, second])
    flipped = table["id"][0].as_py() > table["id"][1].as_py()
    left = ours(table, ContainedSettings(ngram=3, min_words=3, threshold=0.8), tmp_path, [])
    kept = {text for text in left.values() if text}
    assert kept == ({second} if flipped else {first, second})


def test_paragraphs_alone_or_documents_alone_can_go(tmp_path: Path) -> None:
    shared = "one two three four five six"
    table = documents([shared, f"{shared}\nx y", f"{shared}\nx z"])
    for remove in ("paragraph", "document"):
        asked = ContainedSettings(ngram=3, min_words=3, remove=remove)
        found = run_contained(asked, write_shards(tmp_path / remove, table, []), tmp_path / f"s-{remove}")
        assert (found.kept.num_rows == 1) is (remove == "document")


def test_min_words_above_ngram_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at most `ngram`"):
        ContainedSettings(ngram=5)


def test_a_run_cuts_repeated_paragraphs_of_all_sources_and_its_books_balance(tmp_path: Path) -> None:
    shared = " ".join(f"word{number}" for number in range(40))
    for name in ("one", "two"):
        rows = [{"id": f"{name}{n}", "text": f"{shared}\nThe end of {name} {n}."} for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = {name: {"inputs": str(tmp_path / f"{name}.jsonl")} for name in ("one", "two")}
    data = {"name": "held", "sources": sources, "dedup": {"ngrams": {"remove": "paragraph"}}}
    run_plan(
        build_plan(make_recipe(data)), tmp_path / "out", EngineSettings(kind="inline"), Progress(quiet=True)
    )
    assert not list(verify(tmp_path / "out"))
    level = build_funnel(read_view(tmp_path / "out")).levels[-1]
    assert (level.name, level.documents) == ("n-grams cut", 6)
    assert level.edited_bytes == 5 * (len(shared) + 1)
