"""The trained classifier as arrays in one file, with its card beside it."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gristmill.errors import InputError
from gristmill.files.disk import read_file
from gristmill.pipeline.extract.blocks.columns import FEATURES
from gristmill.pipeline.extract.blocks.trees import MAX_LEAVES, probabilities

SHIPPED = Path(__file__).resolve().parent / "model"
FORMAT = 2
_MOST_SLOTS = 1 << 24
_MOST_BYTES = 1 << 28  # of all arrays; those of the model that is shipped are 1 MB


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
    """Read a model; one fitted on other features than this version measures is refused, and so is one
    whose arrays lead kernels out of them."""
    path = folder / "model.npz"
    if not path.exists():
        raise InputError(f"no extractor model at {path}", hint="train one with `gristmill extractor train`")
    try:
        with np.load(io.BytesIO(read_file(path)), allow_pickle=False) as file:
            if int(file["format"][0]) != FORMAT or tuple(file["names"].tolist()) != FEATURES:
                raise InputError(
                    f"the extractor model at {path} was trained for other features than this version"
                    " measures",
                    hint="train it again with `gristmill extractor train`",
                )
            if (size := sum(info.file_size for info in file.zip.infolist())) > _MOST_BYTES:
                raise ValueError(f"its arrays are {size:,} bytes, more than {_MOST_BYTES:,}")
            return _checked(_model_of(file))
    except (ValueError, KeyError, IndexError, EOFError, OSError, TypeError, BadZipFile, zlib.error) as error:
        raise InputError(
            f"the extractor model at {path} cannot be read: {type(error).__name__}: {error}",
            hint="train it again with `gristmill extractor train`, or get a copy that is whole",
        ) from error


def _model_of(file: Mapping[str, npt.NDArray[Any]]) -> BlockModel:
    arrays = {name: file[name] for name in BlockModel._fields if not name.endswith(("_keys", "_values"))}
    for table in ("name", "word"):
        slots, stored = int(file[f"{table}_slots"][0]), file[f"{table}_keys"]
        if not len(stored) < slots <= _MOST_SLOTS or slots & (slots - 1):
            raise ValueError(f"a table of {len(stored):,} keys has {slots:,} slots")
        keys, values = np.full(slots, -1, dtype=np.int32), np.zeros(slots, dtype=np.float32)
        keys[stored & (slots - 1)], values[stored & (slots - 1)] = stored, file[f"{table}_values"]
        arrays[f"{table}_keys"], arrays[f"{table}_values"] = keys, values
    return BlockModel(**arrays)


def _checked(model: BlockModel) -> BlockModel:
    """Check that nodes and leaves are there where kernels look for them; raises ValueError."""
    for name, kind in (("starts", np.int32), ("features", np.uint8), ("thresholds", np.float32)):
        _is(name, getattr(model, name), kind, 1)
    _is("kept", model.kept, np.uint32, 1)
    _is("leaves", model.leaves, np.float32, 2)
    starts, num_nodes = model.starts, len(model.features)
    rises = (
        len(starts) > 0 and starts[0] == 0 and starts[-1] == num_nodes and bool((np.diff(starts) >= 0).all())
    )
    if not rises or not len(model.thresholds) == len(model.kept) == num_nodes:
        raise ValueError(f"its trees do not lie end to end among {num_nodes:,} nodes")
    if model.leaves.shape != (len(starts) - 1, MAX_LEAVES):
        raise ValueError(f"{len(starts) - 1} trees have leaves of shape {model.leaves.shape}")
    if num_nodes and int(model.features.max()) >= len(FEATURES):
        raise ValueError(f"a node asks for feature {int(model.features.max())} of {len(FEATURES)}")
    return model


def _is(name: str, array: npt.NDArray[Any], kind: type, axes: int) -> None:
    if array.dtype != kind or array.ndim != axes:
        raise ValueError(f"`{name}` is {array.dtype} in {array.ndim} axes")


def add_to_card(name: str, found: Any, folder: Path = SHIPPED) -> None:
    """Put what a model was measured by after its training into its card, under a name of its own."""
    text = json.dumps({**load_card(folder), name: found}, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "card.json").write_text(text + "\n")


def load_card(folder: Path = SHIPPED) -> dict[str, Any]:
    """Read what a model says of itself: data, licences, date, scores, command."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return card
