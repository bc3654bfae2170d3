from __future__ import annotations

import dataclasses
import gzip
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from gristmill.errors import InputError
from gristmill.pipeline.extract.blocks.classifier import add_to_card, load_card, load_model
from gristmill.pipeline.extract.blocks.training.cross_validation import PageScore
from gristmill.pipeline.extract.blocks.training.export import export, round_down
from gristmill.pipeline.extract.blocks.training.labels import label_blocks, label_snippets
from gristmill.pipeline.extract.blocks.training.odds import Odds
from gristmill.pipeline.extract.blocks.training.page import read_pages, registered_domain
from gristmill.pipeline.extract.blocks.training.scores import count_snippets, score, split_words
from gristmill.pipeline.extract.blocks.training.silver import (
    ENOUGH_GOLD,
    WEIGHT,
    Agreement,
    agreeing,
    read_candidates,
)
from gristmill.pipeline.extract.blocks.training.summary import (
    gain_interval,
    interval,
    languages_for_trafilatura,
    mean_score,
    silver_by_language,
    unseen_table,
)
from gristmill.pipeline.extract.blocks.trees import LANES


def test_every_han_and_kana_character_is_a_word() -> None:
    assert split_words("The fox, 狐は x1") == ["the", "fox", "狐", "は", "x1"]


def test_scores_compare_four_grams_as_multisets() -> None:
    assert score("a b c d e", "a b c d e") == (1.0, 1.0, 1.0)
    assert score("a b c d e f", "a b c d") == pytest.approx((0.5, 1 / 3, 1.0))
    assert score("", "a b c d") == (0.0, 0.0, 0.0)


def test_snippets_count_as_parts_of_the_text_whatever_its_white_space() -> None:
    assert count_snippets("The quick\n brown fox.", ["uick brown"], ["lazy dog"]) == (1, 0, 0)
    assert count_snippets("The quick fox.", ["quick fox", "red"], ["The quick", "the quick"]) == (1, 1, 1)
    assert count_snippets("Klimawandel", ["Klima\u00adwandel"], []).f1 == 1.0


def test_snippets_of_many_pages_have_one_f1() -> None:
    pages = [
        count_snippets("a b", ["a", "b"], ["c"]),
        count_snippets("a c", ["b"], ["c"]),
        count_snippets("a", [], ["c"]),
    ]
    assert mean_score([PageScore(None, one.f1, weight=one.weight) for one in pages]) == pytest.approx(
        2 * 2 / (2 * 2 + 1 + 1)
    )  # type: ignore[arg-type]


def test_a_repeated_line_is_gold_where_the_text_around_it_is() -> None:
    text = "one two three four five six"
    labels, _ = label_blocks([text, "menu " * 120, "some more of the main text", text,
        "and the end of it all"], "\n".join(
        ["some more of the main text", text, "and the end of it all"]))  # fmt: skip
    assert labels.tolist() == [0, 0, 1, 1, 1]


def test_a_block_that_holds_a_snippet_is_labelled_and_no_other() -> None:
    blocks = [
        "The quick fox jumps.",
        "Share this",
        "Something else",
        "A long paragraph that says, among other things, share this.",
    ]
    labels, weights = label_snippets(blocks, ["quick fox"], ["Share this", "share this"])
    assert labels.tolist() == [1, 0, 0, 0]
    assert (weights > 0).tolist() == [True, True, False, False]


def test_a_block_is_labelled_with_its_share_of_gold_words() -> None:
    gold = "Title here\none two three four five"
    labels, weights = label_blocks(["Home News", "Title here", "one two three four five", "Share this"], gold)
    assert labels.tolist() == [0, 1, 1, 0]
    assert weights[2] > weights[0] > 0


def test_a_page_with_little_gold_has_its_weight_capped() -> None:
    _, weights = label_blocks(["word " * 1000], "a few words of gold")
    assert weights.sum() == pytest.approx(3.0)


def test_thresholds_are_rounded_down_so_that_float32_values_split_alike() -> None:
    for threshold in (0.1, 1 / 3, 1e-40, -0.1, 2.0):
        rounded = round_down(threshold)
        assert float(rounded) <= threshold < float(np.nextafter(rounded, np.float32(np.inf)))


def grown(rng: np.random.Generator, num_leaves: int) -> dict[str, object]:
    """A random tree as LightGBM dumps it."""
    if num_leaves == 1:
        return {"leaf_value": float(rng.normal())}
    left = int(rng.integers(1, num_leaves))
    return {
        "split_feature": int(rng.integers(0, 136)), "threshold": float(rng.normal()), "decision_type": "<=",
        "missing_type": "None",
        "left_child": grown(rng, left), "right_child": grown(rng, num_leaves - left),
    }  # fmt: skip


def walked(tree: dict[str, Any], row: np.ndarray) -> float:
    while "split_feature" in tree:
        tree = tree["left_child" if row[tree["split_feature"]] <= tree["threshold"] else "right_child"]
    return float(tree["leaf_value"])


def test_exported_trees_give_what_a_walk_from_the_root_gives() -> None:
    rng = np.random.default_rng(3)
    trees = [grown(rng, num_leaves) for num_leaves in (1, 2, 3, 31, 32)]
    empty = Odds(np.full(2, -1, dtype=np.int32), np.zeros(2, dtype=np.float32))
    model = export({"tree_info": [{"tree_structure": tree} for tree in trees]}, empty, empty)
    x = rng.normal(0, 1, (100, 136)).astype(np.float32)
    for row in x:  # one block a page: it has no neighbours to lean to
        expected = sum(walked(tree, row) for tree in trees)
        columns = np.ascontiguousarray(np.pad(row[:, None], ((0, 0), (0, LANES - 1))))
        assert model.probabilities(columns, 1)[0] == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-5)
    with pytest.raises(ValueError, match="33 leaves"):
        export({"tree_info": [{"tree_structure": grown(rng, 33)}]}, empty, empty)


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://a.b.example.co.uk/x", "example.co.uk"),
        ("http://www.x.org", "x.org"),
        ("https://me.github.io/", "me.github.io"),
    ],
)
def test_pages_are_grouped_by_registered_domain(url: str, domain: str) -> None:
    assert registered_domain(url) == domain


def test_intervals_are_of_mean_scores_over_domains() -> None:
    pages = [SimpleNamespace(domain=str(k)) for k in range(10)]
    scores = [PageScore(page, 0.5) for page in pages]  # type: ignore[arg-type]
    assert interval(scores) == [0.5, 0.5]
    assert gain_interval(scores, [one._replace(f1=0.2) for one in scores]) == [0.3, 0.3]


def judged(gains: dict[str, list[float]], domains: int = 1000) -> tuple[list[PageScore], list[PageScore]]:
    """Scores of blocks and of trafilatura on full gold, by language, with these differences."""
    pages = [
        (SimpleNamespace(kind="full", language=language, domain=f"{language}{k % domains}"), gain)
        for language, own in gains.items()
        for k, gain in enumerate(own)
    ]
    return [PageScore(page, 0.5 + gain) for page, gain in pages], [PageScore(page, 0.5) for page, _ in pages]  # type: ignore[arg-type]


def test_a_language_is_left_to_trafilatura_when_its_pooled_interval_is_below_zero() -> None:
    most = {"en": [0.2, 0.0] * 500}
    assert languages_for_trafilatura(*judged(most | {"fr": [-0.1] * 3, "ru": [-0.02] * 4})) == []
    assert languages_for_trafilatura(*judged(most | {"it": [-0.2] * 100})) == ["it"]
    assert languages_for_trafilatura(*judged(most | {"it": [-0.2] * 100}, domains=1)) == []


def test_silver_is_told_by_language_with_the_number_of_pages_agreed_on() -> None:
    found = silver_by_language(
        [Agreement("ru", True, 0.9), Agreement("ru", False, 0.1), Agreement("fr", False, 0.2)]
    )
    assert found == {"fr": {"pages": 1, "agree": 0, "f1": None}, "ru": {"pages": 2, "agree": 1, "f1": 0.9}}


def archive(folder: Path, bodies: dict[str, str]) -> Path:
    """Pages by URL as a web archive."""
    path = folder / "pages.warc.gz"
    with path.open("wb") as file:
        for url, body in bodies.items():
            block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body.encode()
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Type:"
                " application/http; msgtype=response"
            )
            file.write(
                gzip.compress(
                    f"{head}\r\nContent-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"
                )
            )
    return path


def test_pages_without_gold_in_a_language_with_little_of_it_are_candidates_for_silver(tmp_path: Path) -> None:
    french = (
        "Le renard brun saute par-dessus le chien paresseux, puis il rentre chez lui avant la tombée de la"
        " nuit. "
    )
    english = (
        "The quick brown fox jumps over the lazy dog, and then it goes home before the night has fallen on"
        " the hills. "
    )
    bodies = {
        f"https://{name}.example/": (
            f"<html><body><nav>x</nav><article><p>{text * 5}</p></article></body></html>"
        )
        for name, text in (("gold", french), ("fr", french), ("en", english))
    }
    path = archive(tmp_path, bodies)
    row = {
        "url": "https://gold.example/",
        "gold_kind": "full",
        "gold_text": french * 5,
        "lang": "fr",
        "source": "s",
    }
    (tmp_path / "gold.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(row)))
    pages = read_pages([path], [tmp_path / "gold.jsonl.gz"])
    assert [page.url for page in read_candidates([path], pages)] == [
        "https://fr.example/",
        "https://en.example/",
    ]
    plenty = [*pages, *[dataclasses.replace(pages[0], language="en")] * ENOUGH_GOLD]
    found = read_candidates([path], plenty)
    assert [(page.url, page.kind, page.language) for page in found] == [
        ("https://fr.example/", "silver", "fr")
    ]
    always, never = (
        load_model()._replace(leaves=np.full((180, 32), value, dtype=np.float32)) for value in (0.1, -10.0)
    )
    assert agreeing(found, never) == []
    silver = agreeing(found, always)  # takes the navigation too, a word of a hundred
    assert [page.url for page in silver] == ["https://fr.example/"]
    assert np.allclose(silver[0].weights, WEIGHT * found[0].weights)


def test_archives_without_gold_are_an_error(tmp_path: Path) -> None:
    row = {"url": "https://x.example/", "gold_kind": "full", "gold_text": "t"}
    (tmp_path / "gold.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(row)))
    (tmp_path / "empty.warc").write_bytes(b"")
    with pytest.raises(InputError, match="no page of the archives has gold"):
        read_pages([tmp_path / "empty.warc"], [tmp_path / "gold.jsonl.gz"])


@pytest.mark.slow
def test_training_twice_gives_the_same_model(shared_data: Path) -> None:
    from gristmill.pipeline.extract.blocks.training.fit import fit

    heavy = shared_data / "realweb-heavy"
    pages = read_pages([heavy / "realweb-heavy-00000.warc.gz"], [heavy / "gold.jsonl.gz"])
    full = [page for page in pages if page.kind == "full"][:80]
    assert all(np.array_equal(a, b) for a, b in zip(fit(full, 10), fit(full, 10), strict=True))


def test_the_card_shows_unseen_sets_and_structure() -> None:
    said = unseen_table(load_card())
    for name in ("daniel", "language el", "cleaneval", "dragnet, no comments", "l3s-gn1"):
        assert re.search(rf"{name} +\d+ pages  F1 0\.\d+ .* trafilatura 0\.\d+", said), name
    assert re.search(r"structure in Markdown, blocks: code \d+ of 33, math \d+ of 44, table \d+ of 232", said)
    assert "not measured" in unseen_table({"about": {}})


def test_what_was_measured_later_joins_the_card(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"about": {"date": "2026-01-01"}, "structure": {}}')
    add_to_card("structure", {"blocks": {"code": [1, 2]}}, tmp_path)
    assert load_card(tmp_path)["about"] == {"date": "2026-01-01"}
    assert unseen_table(load_card(tmp_path)) == "structure in Markdown, blocks: code 1 of 2"
