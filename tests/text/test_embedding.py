"""Texts as points: counts, weights and projections equal their definitions, in any batch and any order."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.errors import IntegrityError
from gristmill.text.cores import cores_of
from gristmill.text.embedding import Counted, Space, count_words, fit
from tests.support.classified import CODE, TEXTS

BITS = 14
SAMPLE = pa.array(TEXTS + CODE, pa.large_string())


def counted_plainly(text: str, most: int = 1 << 40) -> Counter[int]:
    hashes, _ = cores_of(pa.array([text], pa.large_string()))
    return Counter(int(value) >> (64 - BITS) for value in hashes[:most].tolist())


@settings(deadline=None)
@given(st.lists(st.text("ab c\n日", max_size=30) | st.none(), max_size=6), st.integers(1, 5))
def test_words_are_counted_by_feature(texts: list[str | None], most: int) -> None:
    counted = count_words(pa.array(texts, pa.large_string()), BITS, most)
    assert len(counted.rows) == len(texts) + 1
    for number, text in enumerate(texts):
        own = slice(counted.rows[number], counted.rows[number + 1])
        found = dict(zip(counted.features[own].tolist(), counted.counts[own].tolist(), strict=True))
        assert found == counted_plainly(text or "", most) and list(found) == sorted(found)


def test_points_are_weighted_sums_of_the_basis_brought_to_length_one() -> None:
    space = fit(count_words(SAMPLE, BITS), BITS, 8, seed=1)
    place = {int(feature): row for row, feature in enumerate(space.features)}
    points = space.embed(SAMPLE)
    for number in (0, 7, 40, len(SAMPLE) - 1):
        point = np.zeros(8)
        for feature, count in counted_plainly(SAMPLE[number].as_py()).items():
            if feature in place:
                row = place[feature]
                point += (1 + math.log(count)) * float(space.weights[row]) * space.basis[row].astype(float)
        assert points[number] == pytest.approx(point / np.linalg.norm(point), abs=1e-4)


def test_a_weight_is_the_logarithm_of_texts_over_texts_with_the_word() -> None:
    counted = count_words(SAMPLE, BITS)
    space = fit(counted, BITS, 4, seed=1, min_documents=7, max_fraction=0.2)
    holding = Counter(counted.features.tolist())
    allowed = {each for each, texts in holding.items() if 7 <= texts <= 0.2 * len(SAMPLE)}
    assert set(space.features.tolist()) == allowed
    expected = [math.log(len(SAMPLE) / holding[each]) for each in space.features.tolist()]
    assert space.weights == pytest.approx(expected, rel=1e-6)


def test_words_frequent_in_one_language_are_left_out() -> None:
    texts = [f"der {n} wort{n % 7}" for n in range(30)] + [f"the {n} word{n % 7}" for n in range(300)]
    counted = count_words(pa.array(texts, pa.large_string()), BITS)
    groups = np.array([0] * 30 + [1] * 300)
    (der,) = counted_plainly("der")
    everywhere = fit(counted, BITS, 2, seed=1, min_documents=2)
    by_language = fit(counted, BITS, 2, seed=1, min_documents=2, groups=groups, min_group=20)
    assert der in everywhere.features and der not in by_language.features


def _matrix(counted: Counted, space: Space) -> np.ndarray:
    """The weights of each text's known words, texts brought to length 1."""
    place = {int(feature): row for row, feature in enumerate(space.features)}
    matrix = np.zeros((len(counted.rows) - 1, len(place)))
    for text in range(len(matrix)):
        for at in range(counted.rows[text], counted.rows[text + 1]):
            if (row := place.get(int(counted.features[at]))) is not None:
                matrix[text, row] = (1 + math.log(counted.counts[at])) * space.weights[row]
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_axes_are_found_where_singular_values_hardly_decay_and_whatever_the_seed() -> None:
    """Texts of words drawn alike: six subspace iterations find 98 % of what the axes can hold, and by
    each seed another part of it."""
    draw = np.random.default_rng(6)
    texts = [" ".join(f"w{word}" for word in draw.integers(0, 900, 12)) for _ in range(700)]
    counted = count_words(pa.array(texts, pa.large_string()), BITS)
    held = []
    for seed in (1, 2):
        space = fit(counted, BITS, 20, seed, min_documents=2)
        matrix = _matrix(counted, space)
        held.append(float(np.square(matrix @ space.basis.astype(float)).sum()))
    best = float(np.square(np.linalg.svd(matrix, compute_uv=False)[:20]).sum())
    assert held == pytest.approx([best, best], rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_texts_that_span_few_axes_have_the_same_ones_each_time_and_zeros_beyond(seed: int) -> None:
    """A thousand copies of ten texts: Lanczos iteration ends early, and what it goes on from is no chance."""
    draw = np.random.default_rng(3)
    texts = [" ".join(f"w{word}" for word in draw.integers(0, 4000, 300)) for _ in range(10)]
    for several in (texts * 100, [text[:120] for text in texts] * 100):  # more words than texts, and fewer
        counted = count_words(pa.array(several, pa.large_string()), 18)
        one, other = (fit(counted, 18, 64, seed).basis for _ in range(2))
        assert one.tobytes() == other.tobytes()
        lengths = np.linalg.norm(one, axis=0)
        assert lengths[:10] == pytest.approx(np.ones(10), abs=1e-4) and not lengths[10:].any()


def test_texts_of_words_that_all_have_lie_at_the_origin_and_leave_the_others_alone() -> None:
    """The weight of a word in every text is ln 1 = 0, and so is the length of a text that has no other."""
    texts = [f"same {'apart' if n % 3 else 'same'}" for n in range(30)]
    counted = count_words(pa.array(texts, pa.large_string()), BITS)
    space = fit(counted, BITS, 2, seed=1, max_fraction=1.0)
    points = space.project(counted)
    assert np.isfinite(space.basis).all()
    assert points.any(axis=1).tolist() == [n % 3 != 0 for n in range(30)]


def test_axes_are_those_of_the_largest_singular_values() -> None:
    counted = count_words(SAMPLE, BITS)
    space = fit(counted, BITS, 5, seed=3)
    _, _, right = np.linalg.svd(_matrix(counted, space), full_matrices=False)
    assert np.abs((space.basis * right[:5].T).sum(0)) == pytest.approx(np.ones(5), abs=1e-3)


def test_a_point_is_the_same_to_the_bit_in_any_batch(tmp_path: Path) -> None:
    space = fit(count_words(SAMPLE, BITS), BITS, 16, seed=1)
    whole = space.embed(SAMPLE)
    apart = np.concatenate([space.embed(SAMPLE.slice(first, 7)) for first in range(0, len(SAMPLE), 7)])
    assert whole.tobytes() == apart.tobytes()
    space.save(tmp_path / "space.bin")
    assert Space.load(tmp_path / "space.bin").embed(SAMPLE).tobytes() == whole.tobytes()


def test_a_text_without_a_known_word_is_at_the_origin() -> None:
    space = fit(count_words(SAMPLE, BITS), BITS, 4, seed=1)
    assert not space.embed(pa.array(["", None, "... !!"], pa.large_string())).any()


def test_a_cut_or_foreign_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "space.bin"
    fit(count_words(SAMPLE, BITS), BITS, 4, seed=1).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    with pytest.raises(IntegrityError, match=f"has {len(data) - 3:,} bytes, its head says {len(data):,}"):
        Space.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="is no space of texts"):
        Space.load(path)
