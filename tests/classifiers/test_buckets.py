"""Buckets by perplexity: thirds of each language, the same as sorting all of it would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.classifiers.ngram.buckets import Bounds, bucket_bounds, buckets
from gristmill.classifiers.settings import BucketSettings

SCHEMA = pa.schema([("perplexity", pa.float32()), ("language", pa.string())])
PERPLEXITIES = st.none() | st.sampled_from([1.0, 1.5, 77.0, 77.0001]) | st.floats(1, 2.0**100, width=32)


def table(perplexities: Sequence[float | None], languages: Sequence[str | None]) -> pa.Table:
    return pa.table({"perplexity": perplexities, "language": languages}, schema=SCHEMA)


def sorted_bounds(settings: BucketSettings, whole: pa.Table) -> Bounds:
    """The definition: sort each language's values and look where its parts end."""
    found = {}
    for language in {language or "" for language in whole["language"].to_pylist()}:
        rows = zip(*(whole[name].to_pylist() for name in SCHEMA.names), strict=True)
        ordered = sorted(value for value, name in rows if (name or "") == language and value is not None)
        sizes = [
            int(len(ordered) * part + 1e-6) for part in (settings.fractions[0], 1 - settings.fractions[1])
        ]
        if ordered:
            head, middle = (ordered[size - 1] if size else 0.0 for size in sizes)
            found[language] = (head, middle)
    return found


Rows = list[tuple[float | None, str | None]]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.tuples(PERPLEXITIES, st.sampled_from(["en", "de", None])), max_size=40), max_size=4),
    st.sampled_from([(1 / 3, 1 / 3), (0.0, 1.0), (0.9, 0.05), (0.5, 0.5)]),
)
def test_bounds_are_those_of_sorting_everything(
    files: list[list[tuple[float | None, str | None]]], parts: tuple[float, float]
) -> None:
    tables = [table([value for value, _ in rows], [language for _, language in rows]) for rows in files]
    said = BucketSettings(head_fraction=parts[0], tail_fraction=parts[1])
    assert bucket_bounds(said, lambda: tables) == sorted_bounds(
        said, pa.concat_tables([*tables, table([], [])])
    )


def test_buckets_are_thirds_of_each_language() -> None:
    whole = table([*range(1, 31), *range(100, 130), None], ["en"] * 30 + ["de"] * 30 + [None])
    bounds = bucket_bounds(BucketSettings(), lambda: [whole])
    assert bounds == {"de": (109.0, 119.0), "en": (10.0, 20.0)}
    names = buckets(whole["perplexity"], whole["language"], bounds).to_pylist()
    assert (
        Counter(names[:30]) == Counter(names[30:60]) == {"head": 10, "middle": 10, "tail": 10}
        and names[60] == "tail"
    )


def test_a_bucket_may_be_empty_or_all() -> None:
    whole = table([5.0, 6.0, 7.0], ["en"] * 3)
    for head, tail, expected in ((0, 0, ["middle"] * 3), (1, 0, ["head"] * 3), (0, 1, ["tail"] * 3)):
        bounds = bucket_bounds(BucketSettings(head_fraction=head, tail_fraction=tail), lambda: [whole])
        assert buckets(whole["perplexity"], whole["language"], bounds).to_pylist() == expected


def test_a_million_values_are_cut_where_sorting_cuts_them() -> None:
    values = np.exp2(np.random.default_rng(1).uniform(0, 10, 1_000_000)).astype(np.float32)
    tables = [
        pa.table([pa.array(part), pa.repeat("en", len(part))], schema=SCHEMA)
        for part in np.array_split(values, 4)
    ]
    ordered = np.sort(values)
    bounds = bucket_bounds(BucketSettings(), lambda: tables)
    assert bounds == {"en": (float(ordered[333_333 - 1]), float(ordered[666_666 - 1]))}


def cc_net_bucket(perplexity: float | None, language: str, cutoffs: dict[str, tuple[float, float]]) -> str:
    """What PerplexityBucket.get_bucket of cc_net's perplexity.py says of a document (commit 0714a6f)."""
    if language not in cutoffs or perplexity is None:
        return "all"
    head, tail = cutoffs[language]
    return "head" if perplexity < head else "middle" if perplexity < tail else "tail"


def test_percentiles_and_unseen_languages_are_those_of_cc_nets_code() -> None:
    generator = np.random.default_rng(1)
    values = np.exp(generator.normal(6, 1, 3000)).astype(np.float32)
    languages = ["en", "de", "zz"] * 1000
    whole = table(values.tolist(), languages)
    said = BucketSettings(cutoffs="ccnet-code")
    bounds = bucket_bounds(said, lambda: [whole], lambda language: language != "zz")
    named = buckets(whole["perplexity"], whole["language"], bounds).to_pylist()
    cutoffs = {
        language: tuple(float(edge) for edge in np.percentile(values[start::3], [30, 60]))
        for start, language in enumerate(("en", "de"))
    }
    theirs = [
        cc_net_bucket(float(value), language, cutoffs)  # type: ignore[arg-type]
        for value, language in zip(values, languages, strict=True)
    ]
    # A percentile between two documents is interpolated there: at most one document at each cut differs.
    assert sum(mine != other for mine, other in zip(named, theirs, strict=True)) <= 4
    assert Counter(named)["all"] == 1000 and said.fractions == (0.3, 0.4)
    assert BucketSettings().fractions == (1 / 3, 1 / 3)


def test_a_text_without_words_in_an_unseen_language_is_tail() -> None:
    whole = table([5.0, None, None], ["en", "en", "zz"])
    bounds = bucket_bounds(BucketSettings(), lambda: [whole], lambda language: language == "en")
    assert buckets(whole["perplexity"], whole["language"], bounds).to_pylist()[1:] == ["tail", "tail"]
