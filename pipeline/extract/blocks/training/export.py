"""Turn a fitted LightGBM booster into the flat arrays `trees` evaluates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks.classifier import BlockModel
from gristmill.pipeline.extract.blocks.training.odds import Odds
from gristmill.pipeline.extract.blocks.trees import MAX_LEAVES, leaf_slot


def round_down(threshold: float) -> np.float32:
    """Return the largest float32 not above a float64 threshold: `x <= t` then holds for the same float32
    values of x."""
    rounded = np.float32(threshold)
    return np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded


class _Nodes:
    """The nodes of all trees, and the leaves of each, as they are found."""

    def __init__(self) -> None:
        self.starts, self.features, self.thresholds, self.kept = (
            [0],
            list[int](),
            list[np.float32](),
            list[int](),
        )
        self.leaves: list[npt.NDArray[np.float32]] = []

    def add(self, tree: dict[str, Any]) -> None:
        """Append a tree."""
        values: list[float] = []
        self._add(tree, values)
        if len(values) > MAX_LEAVES:
            raise ValueError(f"a tree of {len(values)} leaves cannot be exported, at most {MAX_LEAVES} can")
        leaves = np.zeros(MAX_LEAVES, dtype=np.float32)
        leaves[[leaf_slot(leaf) for leaf in range(len(values))]] = values
        self.leaves.append(leaves)
        self.starts.append(len(self.features))

    def _add(self, node: dict[str, Any], values: list[float]) -> None:
        """Append a subtree's nodes, and its leaves to `values`, from left to right."""
        if "split_feature" not in node:
            values.append(float(node["leaf_value"]))
            return
        if node["decision_type"] != "<=" or node["missing_type"] != "None":
            raise ValueError(
                f"a split of type {node['decision_type']}/{node['missing_type']} cannot be exported"
            )
        first = len(values)
        self._add(node["left_child"], values)
        self.features.append(node["split_feature"])
        self.thresholds.append(round_down(node["threshold"]))
        self.kept.append(~((1 << len(values)) - (1 << first)) & 0xFFFFFFFF)
        self._add(node["right_child"], values)


def export(dumped: dict[str, Any], names: Odds, words: Odds) -> BlockModel:
    """Build a `BlockModel` from `Booster.dump_model()` and the two tables of log-odds."""
    nodes = _Nodes()
    for tree in dumped["tree_info"]:
        nodes.add(tree["tree_structure"])
    return BlockModel(
        np.array(nodes.starts, dtype=np.int32),
        np.array(nodes.features, dtype=np.uint8),
        np.array(nodes.thresholds, dtype=np.float32),
        np.array(nodes.kept, dtype=np.uint32),
        np.array(nodes.leaves, dtype=np.float32),
        names.keys,
        names.values.astype(np.float16).astype(np.float32),  # as stored
        words.keys,
        words.values.astype(np.float16).astype(np.float32),
    )
