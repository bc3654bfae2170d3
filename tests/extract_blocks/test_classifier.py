from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gristmill.errors import InputError
from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.classifier import BlockModel, load_card, load_model, save_model
from gristmill.pipeline.extract.blocks.columns import FEATURES
from gristmill.pipeline.extract.blocks.cut import MIN_REPEATED_WORDS, PRIOR_WORDS, choose
from gristmill.pipeline.extract.blocks.trees import EARLY_TREES, LANES, MAX_LEAVES, MAX_STEPS, leaf_slot


def plain_scores(model: BlockModel, x: np.ndarray) -> np.ndarray:
    """Each tree node by node, and the lean towards neighbours."""
    scores = np.zeros(len(x), dtype=np.float32)
    followed = np.ones(len(x), dtype=bool)
    for t in range(len(model.starts) - 1):
        if t == EARLY_TREES:
            followed = scores > -2.5
            scores[~followed] *= 2
        for r in np.flatnonzero(followed):
            reachable = set(range(MAX_LEAVES))
            for node in range(model.starts[t], model.starts[t + 1]):
                if x[r, model.features[node]] > model.thresholds[node]:
                    reachable &= {leaf for leaf in reachable if int(model.kept[node]) >> leaf & 1}
            scores[r] += model.leaves[t, leaf_slot(min(reachable))]
    padded = np.concatenate([scores[:1], scores, scores[-1:]])
    return (scores + np.float32(0.1) * (padded[:-2] + padded[2:])) / np.float32(1.2)


def side_by_side(rows: np.ndarray) -> np.ndarray:
    """Lay rows of features out as the kernels have them."""
    return np.ascontiguousarray(np.pad(rows, ((0, -len(rows) % LANES), (0, 0))).T)


def test_the_compiled_trees_agree_with_a_plain_walk() -> None:
    x = np.random.default_rng(1).normal(0, 3, (120, len(FEATURES))).astype(np.float32)
    model = load_model()
    found = model.probabilities(side_by_side(x), len(x))
    assert np.allclose(found, 1 / (1 + np.exp(-plain_scores(model, x))), atol=1e-5)


def test_a_page_of_very_many_blocks_takes_fewer_trees() -> None:
    model, num_trees = load_model(), EARLY_TREES + 5
    x = np.random.default_rng(2).normal(0, 3, (MAX_STEPS // num_trees, len(FEATURES))).astype(np.float32)
    fewer = model._replace(starts=model.starts[: num_trees + 1])
    columns = side_by_side(x)
    assert np.array_equal(model.probabilities(columns, len(x)), fewer.probabilities(columns, len(x)))


def test_a_page_without_blocks_has_no_probabilities() -> None:
    assert len(load_model().probabilities(np.empty((len(FEATURES), 0), dtype=np.float32), 0)) == 0


def chosen(
    probabilities: list[float], words: list[int], repeated: list[int] | None = None, weight: float = 1.0
) -> list[bool]:
    blocks = np.zeros((len(words), L.NUM_BLOCK_COLUMNS), dtype=np.int32)
    blocks[:, L.WORDS] = words
    column = np.array(repeated or [0] * len(words), dtype=np.float32)
    return choose(np.array(probabilities, dtype=np.float32), blocks, column, weight).tolist()


@settings(deadline=None)  # the first example compiles
@given(arrays.arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 15)), st.data())
def test_no_other_number_of_blocks_has_a_better_expected_f1(levels: np.ndarray, data: st.DataObject) -> None:
    p = (levels / 16).astype(np.float64)  # exact in the cut's levels
    words = np.array(
        data.draw(st.lists(st.integers(1, 90), min_size=len(p), max_size=len(p))), dtype=np.float64
    )

    def expected(kept: np.ndarray) -> float:
        return float(2 * (p * words)[kept].sum() / (words[kept].sum() + (p * words).sum() + PRIOR_WORDS))

    best = max(expected(p >= level / 16) for level in range(17))
    assert expected(np.array(chosen(p.tolist(), words.astype(int).tolist()))) == pytest.approx(best)


def test_a_repeated_paragraph_is_kept_once_but_a_short_line_may_recur() -> None:
    assert chosen([0.9, 0.9], [MIN_REPEATED_WORDS] * 2, [0, 1]) == [True, False]
    assert chosen([0.9, 0.9], [MIN_REPEATED_WORDS - 1] * 2, [0, 1]) == [True, True]


def test_a_page_of_doubtful_blocks_keeps_more_as_recall_weighs_more() -> None:
    probabilities, words = [0.9, 0.6, 0.4, 0.2], [50, 50, 50, 50]
    assert [sum(chosen(probabilities, words, None, weight)) for weight in (0.2, 1.0, 4.0)] == [1, 3, 4]


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    model = load_model()
    save_model(model, {"about": {}}, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(load_model(tmp_path), model, strict=True))
    assert load_card(tmp_path) == {"about": {}}


def test_a_missing_model_and_one_for_other_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no extractor model"):
        load_model(tmp_path)
    np.savez(tmp_path / "model.npz", format=np.array([1]), names=np.array(["words"]))
    with pytest.raises(InputError, match="other features"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"features": np.full(5400, 200, np.uint8)}, "a node asks for feature 200 of"),
        ({"starts": np.array([0, 10, 5], np.int32)}, "its trees do not lie end to end"),
        ({"starts": np.zeros(0, np.int32)}, "its trees do not lie end to end"),
        ({"kept": np.zeros(3, np.uint32)}, "its trees do not lie end to end"),
        ({"leaves": np.zeros((180, 31), np.float32)}, r"leaves of shape \(180, 31\)"),
        ({"thresholds": np.zeros(5400, np.float64)}, "`thresholds` is float64 in 1 axes"),
        ({"word_slots": np.array([4])}, "keys has 4 slots"),
        ({"name_slots": np.array([1 << 40])}, "keys has 1,099,511,627,776 slots"),
        ({"format": np.zeros(0, np.int64)}, "IndexError"),
        ({"starts": None}, "KeyError"),
    ],
)
def test_a_model_that_leads_kernels_out_of_its_arrays_is_refused(
    tmp_path: Path, changed: dict[str, np.ndarray | None], said: str
) -> None:
    save_model(load_model(), {}, tmp_path)
    with np.load(tmp_path / "model.npz") as file:
        arrays = {name: file[name] for name in file}
    arrays = {name: array for name, array in {**arrays, **changed}.items() if array is not None}
    np.savez_compressed(tmp_path / "model.npz", **arrays)
    with pytest.raises(InputError, match=said) as told:
        load_model(tmp_path)
    assert str(tmp_path) in str(told.value)


def test_a_model_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    save_model(load_model(), {}, tmp_path)
    data = (tmp_path / "model.npz").read_bytes()
    for number, part in enumerate(
        (b"", data[:100], data[: len(data) // 2], data[:-1], data[: 1 << 12] + data[5000:])
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "model.npz").write_bytes(part)
        with pytest.raises(InputError, match="cannot be read"):
            load_model(folder)
