"""The trained classifier as arrays in one file, with its card beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.errors import InputError
from gristmill.pipeline.extract.blocks.columns import FEATURES
from gristmill.pipeline.extract.blocks.trees import probabilities

SHIPPED = Path(__file__).resolve().parent / "model"
FORMAT = 2


class BlockModel(NamedTuple):
    """Trees (see `trees`): the nodes of tree t are starts[t] to starts[t + 1]; and the tables of log-odds
    (see `features.odds`)."""

    starts: npt.NDArray[np.int32]
    features: npt.NDArray[np.uint8]
    thresholds: npt.NDArray[np.float32]
    kept: npt.NDArray[np.uint32]  # a bit for each leaf that a block above the threshold can still reach
    leaves: npt.NDArray[np.float32]  # (trees, 32), by `trees.leaf_slot`
    name_keys: npt.NDArray[np.int32]
    name_values: npt.NDArray[np.float32]
    word_keys: npt.NDArray[np.int32]
    word_values: npt.NDArray[np.float32]

    def probabilities(self, x: npt.NDArray[np.float32], num: int) -> npt.NDArray[np.float32]:
        """Return the probability of each of `num` blocks, columns of features, to be main text."""
        found: npt.NDArray[np.float32] = probabilities(
            x, num, self.starts, self.features, self.thresholds, self.kept, self.leaves
        )
        return found

    @property
    def tables(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """The last arguments of `features.measure`."""
        return self.name_keys, self.name_values, self.word_keys, self.word_values


def save_model(model: BlockModel, card: Mapping[str, Any], folder: Path) -> None:
    """Write `model.npz` (tables without their empty slots, no pickle) and `card.json`."""
    arrays: dict[str, npt.NDArray[Any]] = dict(model._asdict())
    for table in ("name", "word"):
        keys, values = arrays.pop(f"{table}_keys"), arrays.pop(f"{table}_values")
        used = np.flatnonzero(values)
        arrays[f"{table}_keys"], arrays[f"{table}_values"] = keys[used], values[used].astype(np.float16)
        arrays[f"{table}_slots"] = np.array([len(keys)], dtype=np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / "model.npz",
        format=np.array([FORMAT]),
        names=np.array(FEATURES),
        allow_pickle=False,
        **arrays,
    )
    (folder / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


@lru_cache(maxsize=4)
def load_model(folder: Path = SHIPPED) -> BlockModel:
    """Read a model; one fitted on other features than this version measures is refused."""
    path = folder / "model.npz"
    if not path.exists():
        raise InputError(f"no extractor model at {path}", hint="train one with `gristmill extractor train`")
    with np.load(path, allow_pickle=False) as file:
        if int(file["format"][0]) != FORMAT or tuple(file["names"].tolist()) != FEATURES:
            raise InputError(
                f"the extractor model at {path} was trained for other features than this version measures",
                hint="train it again with `gristmill extractor train`",
            )
        arrays = {name: file[name] for name in BlockModel._fields if not name.endswith(("_keys", "_values"))}
        for table in ("name", "word"):
            slots = int(file[f"{table}_slots"][0])
            stored = file[f"{table}_keys"]
            keys, values = np.full(slots, -1, dtype=np.int32), np.zeros(slots, dtype=np.float32)
            keys[stored & (slots - 1)], values[stored & (slots - 1)] = stored, file[f"{table}_values"]
            arrays[f"{table}_keys"], arrays[f"{table}_values"] = keys, values
    return BlockModel(**arrays)


def add_to_card(name: str, found: Any, folder: Path = SHIPPED) -> None:
    """Put what a model was measured by after its training into its card, under a name of its own."""
    text = json.dumps({**load_card(folder), name: found}, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "card.json").write_text(text + "\n")


def load_card(folder: Path = SHIPPED) -> dict[str, Any]:
    """Read what a model says of itself: data, licences, date, scores, command."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return card
