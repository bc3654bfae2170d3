from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from gristmill.errors import InputError
from gristmill.pipeline.extract.blocks.training.cross_validation import PageScore
from gristmill.pipeline.extract.blocks.training.export import round_down
from gristmill.pipeline.extract.blocks.training.labels import label_blocks, label_snippets
from gristmill.pipeline.extract.blocks.training.page import read_pages, registered_domain
from gristmill.pipeline.extract.blocks.training.report import gain_interval, interval, mean_score
from gristmill.pipeline.extract.blocks.training.scores import count_snippets, score, split_words


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
    pages = [count_snippets("a b", ["a", "b"], ["c"]), count_snippets("a c", ["b"], ["c"]), count_snippets("a", [], ["c"])]
    assert mean_score([PageScore(None, one.f1, weight=one.weight) for one in pages]) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))  # type: ignore[arg-type]


def test_a_repeated_line_is_gold_where_the_text_around_it_is() -> None:
    text = "one two three four five six"
    labels, _ = label_blocks([text, "menu " * 120, "some more of the main text", text, "and the end of it all"], "\n".join(
        ["some more of the main text", text, "and the end of it all"]))  # fmt: skip
    assert labels.tolist() == [0, 0, 1, 1, 1]


def test_a_block_that_holds_a_snippet_is_labelled_and_no_other() -> None:
    blocks = ["The quick fox jumps.", "Share this", "Something else", "A long paragraph that says, among other things, share this."]
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


@pytest.mark.parametrize(
    ("url", "domain"),
    [("https://a.b.example.co.uk/x", "example.co.uk"), ("http://www.x.org", "x.org"), ("https://me.github.io/", "me.github.io")],
)
def test_pages_are_grouped_by_registered_domain(url: str, domain: str) -> None:
    assert registered_domain(url) == domain


def test_intervals_are_of_mean_scores_over_domains() -> None:
    pages = [SimpleNamespace(domain=str(k)) for k in range(10)]
    scores = [PageScore(page, 0.5) for page in pages]  # type: ignore[arg-type]
    assert interval(scores) == [0.5, 0.5]
    assert gain_interval(scores, [one._replace(f1=0.2) for one in scores]) == [0.3, 0.3]


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
