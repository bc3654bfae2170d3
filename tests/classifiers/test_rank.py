"""Quality buckets: quantiles as sorting gives them, the highest of several counts, groups are ranked
apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.classifiers import rank
from gristmill.classifiers.quantiles import quantiles
from gristmill.classifiers.topics.settings import QualitySettings
from gristmill.errors import InputError

FLOATS = st.sampled_from([0.0, -0.0, 0.5, 0.50001, 1.0]) | st.floats(-(2.0**99), 2.0**99, width=32)


@settings(deadline=None)
@given(st.lists(st.lists(FLOATS, max_size=30), max_size=4), st.integers(2, 7))
def test_quantiles_are_those_of_sorting_everything(files: list[list[float]], parts: int) -> None:
    def sizes(total: int) -> list[int]:
        return [total * part // parts for part in range(1, parts)]

    arrays = [np.array(values, np.float32) for values in files]
    ordered = sorted(value for array in arrays for value in array.tolist())
    expected = [ordered[size - 1] if size else -9.0 for size in sizes(len(ordered))]
    found = quantiles(lambda: [("", array) for array in arrays], sizes, below=-9.0)
    assert found.get("", expected) == expected


def ranked(settings: QualitySettings, table: pa.Table) -> list[int]:
    """All of a small table in one go."""
    scores, groups = rank.measure(settings, {}, table), rank.groups_of(settings, table)
    cuts = rank.find_cuts(settings, lambda: [(groups, scores)])
    return rank.buckets(settings, scores, groups, cuts).tolist()


def test_buckets_hold_equal_parts_from_the_lowest_score_on() -> None:
    values = np.random.default_rng(1).permutation(1000).astype(float)
    found = ranked(QualitySettings(columns={"score": "higher"}), pa.table({"score": values}))
    assert found == (values // 50).astype(int).tolist()
    turned = ranked(QualitySettings(columns={"score": "lower"}), pa.table({"score": values}))
    assert turned == ((999 - values) // 50).astype(int).tolist()


def test_equal_scores_share_a_bucket() -> None:
    found = ranked(
        QualitySettings(columns={"score": "higher"}, buckets=4), pa.table({"score": [1.0] * 6 + [2.0, 3.0]})
    )
    assert len(set(found[:6])) == 1 and found[6] > found[0] and found[7] == 3


def test_the_highest_bucket_of_several_scores_counts_or_their_mean() -> None:
    draw = np.random.default_rng(2)
    table = pa.table({"a": draw.permutation(200) * 1.0, "b": draw.permutation(200) * 1.0})
    both = {"a": "higher", "b": "higher"}
    alone = [ranked(QualitySettings(columns={name: "higher"}, buckets=10), table) for name in both]
    assert ranked(QualitySettings(columns=both, buckets=10), table) == np.max(alone, axis=0).tolist()
    mean = ranked(QualitySettings(columns=both, buckets=10, ensemble="mean"), table)
    assert mean == (np.sum(alone, axis=0) // 2).tolist()


def test_a_missing_score_does_not_count_and_none_at_all_is_the_lowest() -> None:
    table = pa.table({"a": [1.0, 2.0, None, None], "b": [None, 1.0, 2.0, None]})
    found = ranked(QualitySettings(columns={"a": "higher", "b": "higher"}, buckets=2), table)
    assert found == [0, 1, 1, 0]


def test_topics_are_ranked_by_themselves_unless_they_are_small() -> None:
    values = np.arange(260.0)
    topics = ["sea"] * 120 + ["law"] * 120 + ["golf"] * 20
    settings_ = QualitySettings(columns={"score": "higher"}, buckets=2, within="topic")
    found = ranked(settings_, pa.table({"score": values, "topic": topics}))
    by_topic = Counter(zip(topics, found, strict=True))
    assert by_topic["sea", 1] == by_topic["law", 1] == 60
    assert by_topic["golf", 1] == 20  # against all, of which they are the best


@settings(deadline=None)
@given(
    st.lists(st.tuples(FLOATS, st.sampled_from(["x", "y", ""])), min_size=1, max_size=60), st.integers(1, 9)
)
def test_how_documents_lie_in_files_does_not_matter(rows: list[tuple[float, str]], size: int) -> None:
    settings_ = QualitySettings(columns={"score": "higher"}, buckets=3, within="topic", min_group=5)
    table = pa.table({"score": [value for value, _ in rows], "topic": [topic for _, topic in rows]})
    parts = [table.slice(first, size) for first in range(0, len(rows), size)]
    pairs = [(rank.groups_of(settings_, part), rank.measure(settings_, {}, part)) for part in parts]
    cuts = rank.find_cuts(settings_, lambda: pairs)
    found = [
        value for groups, scores in pairs for value in rank.buckets(settings_, scores, groups, cuts).tolist()
    ]
    assert found == ranked(settings_, table)


def test_a_column_that_documents_lack_is_named_with_those_they_have() -> None:
    with pytest.raises(InputError, match=r"`quality.columns` names `score`, documents carry text"):
        ranked(QualitySettings(columns={"score": "higher"}), pa.table({"text": ["a"]}))
    with pytest.raises(InputError, match="documents have no column `topic`"):
        ranked(QualitySettings(columns={"s": "higher"}, within="topic"), pa.table({"s": [1.0]}))


def test_settings_that_rank_nothing_or_keep_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="give `columns` or `models`"):
        QualitySettings()
    with pytest.raises(ValidationError, match="`keep_from` is 20, the highest of 20 buckets is 19"):
        QualitySettings(columns={"a": "higher"}, keep_from=20)
    with pytest.raises(ValidationError, match="`a` names a column and a model"):
        QualitySettings.model_validate({"columns": {"a": "higher"}, "models": {"a": {"path": "a.bin"}}})
