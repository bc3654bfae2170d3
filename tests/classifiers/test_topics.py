"""Topics: planted ones are found, whatever the order; merging and assigning equal their definitions; real
ones are stable and pure."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from gristmill.classifiers.topics import learning as telling
from gristmill.classifiers.topics.settings import TopicSettings
from gristmill.classifiers.topics.telling_words import named
from gristmill.document import document_id
from gristmill.errors import InputError, UsageError
from gristmill.text.embedding import Counted, count_words

WORDS = {
    "sea": "ship sail harbour wave anchor captain storm island mast tide reef cargo crew deck",
    "kitchen": "flour butter oven sugar recipe dough salt pepper bake knife plate sauce soup spoon",
    "law": "court judge statute appeal verdict plaintiff lawyer contract clause jury witness oath bail fine",
}


def planted(number: int = 360) -> pa.Table:
    """Texts of three vocabularies, which share words that say nothing."""
    draw = np.random.default_rng(5)
    rows = []
    for n in range(number):
        name = list(WORDS)[n % 3]
        own = (
            draw.choice(WORDS[name].split(), 30).tolist()
            + draw.choice(["the", "of", "and", "is"], 20).tolist()
        )
        rows.append({"id": document_id(name, str(n)), "text": " ".join(own), "language": "en", "kind": name})
    return pa.Table.from_pylist(rows).set_column(
        0, "id", pa.array([row["id"] for row in rows], pa.binary(16))
    )


# A word of a vocabulary stands in nine tenths of its texts, which are a third of all.
SETTINGS = TopicSettings(number=3, dimensions=8, fine_clusters=24, max_fraction=0.5)


def test_planted_topics_are_found_and_named_by_their_words(tmp_path: Path) -> None:
    sample = planted()
    card = telling.learn(SETTINGS, sample, tmp_path / "topics", seed=1)
    numbers, scores = telling.open_topics(SETTINGS, tmp_path / "topics").assign(sample["text"])
    assert adjusted_rand_score(numbers, sample["kind"].to_pylist()) == 1.0
    assert (scores > 0.3).all()
    for topic in card["topics"]:
        vocabularies = [words for words in WORDS.values() if topic["name"].split()[0] in words.split()]
        assert len(vocabularies) == 1 and set(topic["words"]) <= set(vocabularies[0].split())
    assert card["stability"] == 1.0


def test_the_order_of_the_sample_does_not_matter(tmp_path: Path) -> None:
    sample = planted()
    shuffled = sample.take(pa.array(np.random.default_rng(2).permutation(sample.num_rows)))
    for name, table in {"as-is": sample, "shuffled": shuffled}.items():
        telling.learn(SETTINGS, table, tmp_path / name, seed=1)
    for file in (telling.CARD, telling.SPACE, telling.CENTRES):
        assert (tmp_path / "as-is" / file).read_bytes() == (tmp_path / "shuffled" / file).read_bytes()


def test_the_number_left_open_is_the_largest_that_is_stable(tmp_path: Path) -> None:
    open_ = SETTINGS.model_copy(update={"number": "auto"})
    card = telling.learn(open_, planted(900), tmp_path / "topics", seed=1)
    tried = {int(number): value for number, value in card["stability_by_number"].items()}
    steady = [number for number, value in tried.items() if value >= open_.min_stability]
    expected = max(steady) if steady else max(tried, key=lambda number: (tried[number], number))
    assert len(card["topics"]) == expected and card["stability"] == tried[expected]


FOURTH = "engine wheel brake gear tyre clutch motor driver road lane fuel piston valve axle"


def four_planted(number: int) -> pa.Table:
    """Texts of four vocabularies that share nothing: to find three topics is to merge any two of them."""
    draw = np.random.default_rng(8)
    vocabularies = [*WORDS.values(), FOURTH]
    texts = [" ".join(draw.choice(vocabularies[n % 4].split(), 30)) for n in range(number)]
    draw.shuffle(texts)
    ids = pa.array([document_id("four", str(n)) for n in range(number)], pa.binary(16))
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})


def test_the_stability_is_the_least_agreement_of_halves_cut_in_five_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = four_planted(400)
    counted = count_words(sample["text"], telling.BITS)
    learned, seen = telling._learned, []

    def noted(settings: TopicSettings, part: Counted, *others: Any) -> Any:
        seen.append((part, learned(settings, part, *others)))
        return seen[-1][1]

    monkeypatch.setattr(telling, "_learned", noted)
    settings = SETTINGS.model_copy(update={"restarts": 1})
    number, found = telling.choose(settings, counted, np.zeros(400, np.int64), seed=1)
    told = [telling._assign(half.space.project(counted), telling._centres(half, 3))[0] for _, half in seen]
    pairs = [adjusted_rand_score(one, other) for one, other in combinations(told, 2)]
    assert (number, found) == (3, {3: round(min(pairs), 4)})
    assert min(pairs) < 0.8 < max(pairs)  # which pair is merged is chance, and some halves agree by it
    # Five times the texts are cut in two: each is read by five halves, and no two halves are alike.
    assert len(seen) == 10 and {len(part.rows) - 1 for part, _ in seen} <= {192, 200, 208}
    assert sum(part.counts.sum() for part, _ in seen) == 5 * counted.counts.sum()
    assert len({part.features.tobytes() for part, _ in seen}) == 10


def test_a_number_that_some_halves_agree_on_by_luck_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(telling, "NUMBERS", (3, 4))
    sample = four_planted(400)
    for least, taken in ((0.8, 4), (0.0, 4)):
        asked = SETTINGS.model_copy(update={"number": "auto", "min_stability": least})
        card = telling.learn(asked, sample, tmp_path / str(least), seed=1)
        assert len(card["topics"]) == taken
    assert card["stability_by_number"]["4"] == 1.0 > 0.8 > card["stability_by_number"]["3"]


def test_clusters_of_one_size_are_merged_as_scipy_merges_them() -> None:
    points = np.random.default_rng(4).normal(size=(40, 3))
    expected = fcluster(linkage(points, "ward"), 6, "maxclust")
    means = sorted(points[expected == each].mean(0).tolist() for each in set(expected))
    found = sorted(telling.merged(points, np.full(40, 9), 6).tolist())
    assert np.allclose(found, means)


def test_a_text_is_in_the_topic_of_the_nearest_centre() -> None:
    draw = np.random.default_rng(3)
    points, centres = draw.normal(size=(50, 6)).astype("f4"), draw.normal(size=(5, 6)).astype("f4")
    distances = np.sort(np.linalg.norm(points[:, None] - centres[None], axis=2), axis=1)
    topics, margins = telling._assign(points, centres)
    assert (topics == np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(1)).all()
    assert margins == pytest.approx(1 - distances[:, 0] / distances[:, 1], abs=1e-5)


def test_names_are_given_once() -> None:
    assert named([["sea", "of", "ship"], ["sea", "ship"], []]) == ["sea ship", "sea ship (2)", "topic"]


def test_too_few_documents_are_refused_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"20 topics need 160 documents .* of 90 there are 90"):
        telling.learn(SETTINGS.model_copy(update={"number": 20}), planted(90), tmp_path, seed=1)


def test_a_topic_to_remove_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    telling.learn(SETTINGS, planted(), tmp_path / "topics", seed=1)
    with pytest.raises(UsageError, match="names the topic 'golf', there are '"):
        telling.open_topics(SETTINGS.model_copy(update={"remove": ("golf",)}), tmp_path / "topics")
    with pytest.raises(UsageError, match="there are no topics at"):
        telling.open_topics(SETTINGS, tmp_path / "elsewhere")


def test_labels_of_a_fasttext_model_are_topics(tmp_path: Path) -> None:
    from gristmill.classifiers.quality.fasttext_child import train_supervised

    sample = planted()
    lines = tmp_path / "lines.txt"
    pairs = zip(sample["kind"].to_pylist(), sample["text"].to_pylist(), strict=True)
    lines.write_text("".join(f"__label__{kind} {text}\n" for kind, text in pairs))
    train_supervised(
        lines, tmp_path / "labels.bin", {"dim": 8, "epoch": 20, "lr": 0.5, "thread": 1, "verbose": 0}
    )
    topics = telling.open_topics(TopicSettings(), tmp_path / "labels.bin")
    numbers, scores = topics.assign(pa.chunked_array([pa.array(["ship mast crew", "jury oath", ""])]))
    assert [topics.names[number] if number >= 0 else None for number in numbers] == ["sea", "law", None]
    assert (scores[:2] > 0.5).all() and scores[2] == 0


def _real(shared_data: Path, extracted: Path) -> pa.Table:
    rows = []
    for path in sorted((shared_data / "sources").glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt") as file:
            for line in file:
                row = json.loads(line)
                kind = "multilingual" if "multilingual" in path.name else path.parent.name
                rows.append((kind, row["id"], row["text"][:8000]))
    import pyarrow.parquet as pq

    for path in sorted(extracted.glob("steps/extract-*/data/documents-*.parquet")):
        for row in pq.read_table(path, columns=["id", "text"]).to_pylist():
            rows.append(("realweb", row["id"].hex(), row["text"][:8000]))
    kinds, names, texts = zip(*rows, strict=True)
    ids = pa.array([document_id(kind, name) for kind, name in zip(kinds, names, strict=True)], pa.binary(16))
    columns = {"id": ids, "text": pa.array(texts, pa.large_string()), "language": [""] * len(kinds)}
    return pa.table(columns | {"kind": pa.array(kinds)})


@pytest.mark.slow
def test_topics_of_real_sources_are_stable_and_pure(shared_data: Path, tmp_path: Path) -> None:
    """Seeds, and learning from 70 % of the documents, change little; sources of known topic lie apart."""
    from gristmill.pipeline.cli import main

    with pytest.raises(SystemExit):
        pages = str(shared_data / "realweb" / "*.warc.gz")
        main(["extract", pages, "--out", str(tmp_path / "realweb"), "--quiet", "--engine", "inline"])
    sample = _real(shared_data, tmp_path / "realweb")
    some = np.random.default_rng(1).random(sample.num_rows) < 0.7
    told = {}
    chosen = 0
    for name, seed, table in (
        ("seed 1", 1, sample),
        ("seed 2", 2, sample),
        ("seed 3", 3, sample),
        ("70 %", 4, sample.filter(pa.array(some))),
    ):
        asked = TopicSettings(number=chosen or "auto")
        card = telling.learn(asked, table, tmp_path / name, seed)
        chosen = chosen or len(card["topics"])
        told[name] = telling.open_topics(TopicSettings(), tmp_path / name).assign(sample["text"])[0]
        print(name, len(card["topics"]), card["stability_by_number"])
    for name, numbers in told.items():
        agreement = adjusted_rand_score(told["seed 1"], numbers)
        print(name, f"adjusted Rand index {agreement:.3f}")
        assert agreement >= 0.8, name
    kinds = np.array(sample["kind"].to_pylist())
    known = np.isin(kinds, ["arxiv", "stackexchange", "wikipedia", "books", "multilingual"])
    tables = [Counter(kinds[known & (told["seed 1"] == number)]) for number in range(chosen)]
    purity = sum(max(table.values(), default=0) for table in tables) / known.sum()
    print(f"{chosen} topics, purity {purity:.3f}")
    assert purity >= 0.9
