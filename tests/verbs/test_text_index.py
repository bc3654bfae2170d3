"""A text index answers as reading does: words and phrases, of few documents, of many and of all."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.look import search as searching
from gristmill.pipeline.look.index_matches import parts_of
from gristmill.pipeline.look.search import Matches, phrases_of, search
from gristmill.pipeline.phases.indexing import index_places
from gristmill.pipeline.phases.indexing.index_file import IndexWriter
from gristmill.pipeline.phases.indexing.index_places import BLOCK_DOCS, opened, shut

# Of nearly all documents, of many, of one in 8 about, of few, of two, of none; and of few in one file alone.
WORDS = ["all", "most", "many", "eighth", "few", "straße", "two"]
CHANCES = np.array([0.3, 0.25, 0.2, 0.02, 0.002, 0.2, 0.0])
EVERY, HERE, NEVER = "every", "here", "never"
Told = tuple[str, str, str, str | None]  # text, outlet, source, rule


def documents(number: int, num_documents: int) -> list[Told]:
    """Texts of 1 to 35 words, some that end or begin at multiples of 16, in three sources."""
    draw = np.random.default_rng(number)
    told: list[Told] = []
    for place in range(num_documents):
        length = int(draw.choice([0, 1, 7, 14, 15, 16, 17, 30, 31, 32, 34]))
        some = [WORDS[word] for word in draw.choice(len(WORDS), length, p=CHANCES / CHANCES.sum())]
        some.insert(int(draw.integers(0, length + 1)), EVERY)
        if number == 1 and place in (5, num_documents - 1):
            some += ["two", HERE, "two"]
        rule = None if place % 3 else ("length", "symbols")[place % 2]
        told.append((" ".join(some), "removed" if rule else "documents", "abc"[place % 5 % 3], rule))
    # A file holds documents of one outlet and source, in the order of rows.
    return sorted(told, key=lambda one: one[1:3])


def write(path: Path, told: Sequence[Told]) -> None:
    index = IndexWriter(path)
    for (outlet, source), some in groupby(told, key=lambda one: one[1:3]):
        index.add_file(f"{outlet}-{source}", outlet, "filter/web", source)
        rows = list(some)
        for start in range(0, len(rows), 500):
            part = rows[start : start + 500]
            index.add([one[0] for one in part], [one[3] for one in part])
    index.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[list[Told]]]:
    folder = tmp_path_factory.mktemp("index")
    told = [documents(0, BLOCK_DOCS + 700), documents(1, 900), []]
    paths = [folder / f"{number}.db" for number in range(len(told))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_places, "_AT_ONCE", 5000)
        for path, some in zip(paths, told, strict=True):
            write(path, some)
    return paths, told


def found(paths: list[Path], asked: str, **narrowed: str | None) -> Matches:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "index_paths", lambda out: paths)
        return search(Path("out"), asked, 7, **narrowed)


def by_reading(told: list[list[Told]], asked: str, outlet: str | None, source: str | None) -> tuple:
    """Counts and the first seven, by reading all texts."""
    wanted = [f" {phrase} " for phrase in phrases_of(asked)]
    outlets, sources, rules = Counter[str](), Counter[str](), Counter[str]()
    first: list[tuple[str, int, str | None]] = []
    for some in told:
        rows = Counter[str]()
        for text, kind, of, rule in some:
            name = f"{kind}-{of}"
            row = rows[name]
            rows[name] += 1
            if outlet not in (None, kind) or source not in (None, of):
                continue
            if all(words in f" {text} " for words in wanted):
                outlets[kind] += 1
                sources[of] += 1
                rules.update([rule] if rule else [])
                first.append((name, row, rule))
    return outlets, sources, rules, first[:7]


PHRASE = st.lists(st.sampled_from([*WORDS, EVERY, HERE, NEVER]), min_size=1, max_size=4).map(" ".join)
ASKED = st.lists(PHRASE, min_size=1, max_size=3).map(lambda parts: " ".join(f'"{part}"' for part in parts))


@settings(max_examples=120, deadline=None)
@given(
    asked=ASKED, outlet=st.sampled_from([None, "documents", "removed"]), source=st.sampled_from([None, "b"])
)
def test_what_is_found_is_what_reading_finds(
    files: tuple[list[Path], list[list[Told]]], asked: str, outlet: str | None, source: str | None
) -> None:
    paths, told = files
    matches = found(paths, asked, outlet=outlet, source=source)
    hits = [(hit.path.name, hit.row, hit.rule) for hit in matches.hits]
    expected = by_reading(told, asked, outlet, source)
    assert (matches.by_outlet, matches.by_source, matches.by_rule, hits) == expected


def test_words_of_all_documents_are_read_from_bits_and_rare_ones_from_sqlite(
    files: tuple[list[Path], list[list[Told]]], tmp_path: Path
) -> None:
    told = files[1]
    paths = [Path(shutil.copy(files[0][0], tmp_path))]
    with closing(sqlite3.connect(paths[0])) as base:
        terms = {term for (term,) in base.execute("SELECT term FROM frequent")}
        assert {EVERY, "all", "most", "many", "straße"} <= terms and not {"few", "two", HERE} & terms
        # Emptied, SQLite's index answers nothing any more; what is frequent is still found.
        base.execute("INSERT INTO words(words) VALUES ('delete-all')")
        base.commit()
    total = sum(found(paths, f'{EVERY} "all most"').by_outlet.values())
    assert total == sum(by_reading(told[:1], f'{EVERY} "all most"', None, None)[0].values()) > 1000
    assert not found(paths, "few").by_outlet


@pytest.mark.parametrize(
    "asked", ["STRASSE", "Straße", "straße_all", "e\u0301", "٣", "日本語", "\U0001e290", "ſ"]
)
def test_what_is_asked_is_cut_into_words_as_texts_are(tmp_path: Path, asked: str) -> None:
    texts = [
        "Straße all",
        "e\u0301 é",
        "٣ 3",
        "日本語 が",
        "S ſ strasse",
        "\U0001e290",
        "",
        "all x straße",
    ] * 3
    index = IndexWriter(tmp_path / "0.db")
    index.add_file("documents", "documents", "filter", "web")
    index.add(texts, [None] * len(texts))
    index.close()
    with closing(sqlite3.connect(tmp_path / "0.db")) as base:
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
        words = " AND ".join(f'"{part}"' for part in phrases_of(asked))
        expected = [row for (row,) in base.execute(query, (words,))]
    assert [hit.row for hit in found([tmp_path / "0.db"], asked).hits] == expected[:7]


def test_long_documents_keep_their_places(tmp_path: Path) -> None:
    texts = ["a b " * 9000 + "c", "c " * 200 + "a", "b c"] * 2  # sizes of one, two and three bytes
    index = IndexWriter(tmp_path / "0.db")
    index.add_file("documents", "documents", "filter", "web")
    index.add(texts, [None] * len(texts))
    index.close()
    long = "a b " * 35
    for asked, expected in (
        (f'"{long}"', [0, 3]),
        (f'"{long} c"', [0, 3]),
        (f'"{long} b"', []),
        ('"a b"', [0, 3]),
        ('"b c"', [0, 2, 3, 5]),
        ('"c a"', [1, 4]),
        ('"a c"', []),
    ):
        assert [hit.row for hit in found([tmp_path / "0.db"], asked).hits] == expected
    assert [part.terms for part in parts_of(["A b", "_"])] == [("a", "b"), ()]


@given(st.lists(st.integers(0, 200_000), unique=True, min_size=1, max_size=60))
def test_places_come_back_as_they_were(places: list[int]) -> None:
    written = np.array([0, *sorted({*places, 3_000_000})], np.int64) + 9
    assert opened(*shut(written)).tolist() == written.tolist()


@pytest.mark.parametrize("step", [33, 256, 65_536])
def test_runs_that_are_full_and_runs_that_are_far_apart_come_back(step: int) -> None:
    written = np.concatenate([np.arange(70_000), np.arange(1, 70_000) * step + 70_000 * 40])
    assert opened(*shut(written)).tolist() == written.tolist()


def test_places_that_are_near_to_one_another_are_bits() -> None:
    kind, bits, _ = shut(np.array([0, 9, 40]))
    assert kind == 0 and np.frombuffer(bits, np.uint8).tolist() == [1, 2, 0, 0, 0, 1]
