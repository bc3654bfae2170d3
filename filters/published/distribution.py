"""What RedPajama-V2's importance weights are told by: counts of words and pairs of words in buckets, and the
mean number of words, of each collection; two files that its own code reads and writes, too.

    save(Distribution(counts, mean_words), folder)          # counts.npy, lambda.npy
    targets, source = open_distributions({"books": "dsir/books", "source": "dsir/crawl"})
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.errors import InputError
from gristmill.files.disk import read_file

BUCKETS = 10_000  # configs/rp_v2.0.conf, DSIR_FEATURE_DIM
TARGETS = ("books", "openwebtext", "wikipedia")
SOURCE = "source"
COUNTS, LAMBDA = "counts.npy", "lambda.npy"

Ints = npt.NDArray[np.int64]


class Distribution(NamedTuple):
    """Words and pairs of a collection by bucket, and the mean number of words of its texts."""

    counts: Ints
    mean_words: float


def save(distribution: Distribution, folder: Path) -> None:
    """Write both files as RedPajama's own code reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in ((COUNTS, distribution.counts), (LAMBDA, np.float64(distribution.mean_words))):
        held = io.BytesIO()  # numpy writes to a file through a C stream, whose last flush may fail unsaid
        np.save(held, values)
        (folder / name).write_bytes(held.getvalue())


def files_of(place: str) -> list[str]:
    """The two files of a distribution: of the folder that `ngram distribution` wrote, or beside the counts
    that RedPajama's prep_artifacts.py wrote, `books.en.10000.counts.npy`."""
    path = Path(place)
    if path.is_dir():
        return [str(path / COUNTS), str(path / LAMBDA)]
    dataset, *rest = path.name.split(".")
    return [place, str(path.with_name(".".join([dataset, *rest[:1], LAMBDA])))]


def open_distribution(place: str) -> Distribution:
    """Read both files; raises InputError where one is not there or is none."""
    counts, mean = (_read(file) for file in files_of(place))
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or not counts.sum() > 0 or counts.min() < 0:
        raise InputError(f"`{place}` is no distribution: its counts are no whole numbers with a sum above 0")
    if mean.size != 1 or not float(mean.ravel()[0]) > 0:
        raise InputError(f"`{place}` is no distribution: its mean number of words is no number above 0")
    return Distribution(counts.astype(np.int64), float(mean.ravel()[0]))


def _read(file: str) -> npt.NDArray[np.generic]:
    try:
        data = read_file(Path(file))
    except OSError as error:
        raise InputError(
            f"cannot read `{file}`: {error.strerror}",
            hint="name the folder that `gristmill ngram distribution` wrote",
        ) from error
    try:
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"`{file}` is no distribution: numpy reads no array in it: {error}") from error


def open_distributions(places: Mapping[str, str]) -> tuple[dict[str, Distribution], Distribution]:
    """Read the targets, in their order, and the source; raises InputError, which names the one it is of,
    where one cannot be read or has other buckets."""
    source, targets = _of(SOURCE, places), {name: _of(name, places) for name in TARGETS if name in places}
    for name, target in targets.items():
        if len(target.counts) != len(source.counts):
            raise InputError(
                f"`{places[name]}` has {len(target.counts):,} buckets, `{places[SOURCE]}` has"
                f" {len(source.counts):,}",
                hint="count both with the same number of buckets",
            )
    return targets, source


def _of(name: str, places: Mapping[str, str]) -> Distribution:
    try:
        return open_distribution(places[name])
    except InputError as error:
        raise InputError(f"`{name}`: {error.message}", hint=error.hint) from error
