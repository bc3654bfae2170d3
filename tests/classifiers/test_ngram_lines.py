"""The table of an n-gram model: what was put into its lines is found there, wherever it had to go, and
nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram.perplexity import NgramModel
from gristmill.classifiers.ngram.table_lines import ROOM, LineWriter
from gristmill.errors import UsageError
from tests.support.ngram_lookup import as_found, look_up


def write(path: Path, keys: np.ndarray, codes: np.ndarray, parts: int = 1) -> int:
    writer = LineWriter(path, len(keys), codes.shape[1])
    for part in np.array_split(np.arange(len(keys)), parts):
        writer.write(keys[part], codes[part])
    writer.close()
    return writer.num_lines


@pytest.mark.parametrize("num_codes", ROOM)
@pytest.mark.parametrize("number", [0, 1, 9, 13, 20_000])
def test_what_was_put_in_is_found_with_its_codes_and_nothing_else(
    tmp_path: Path, number: int, num_codes: int
) -> None:
    generator = np.random.default_rng(number)
    keys = np.unique(generator.integers(0, 1 << 64, 2 * number, dtype=np.uint64))
    absent = np.concatenate((keys[::2], np.array([0, 1 << 63, (1 << 64) - 1], np.uint64)))
    keys = keys[1::2]
    codes = generator.integers(0, 256, (len(keys), num_codes)).astype(np.uint8)
    num_lines = write(tmp_path / "lines", keys, codes, parts=3)
    assert (look_up(tmp_path / "lines", num_lines, keys, num_codes) == as_found(codes)).all()
    assert not look_up(tmp_path / "lines", num_lines, absent, num_codes).any()


@pytest.mark.parametrize("num_codes", ROOM)
def test_what_a_full_line_hands_on_is_found_however_far_it_went(tmp_path: Path, num_codes: int) -> None:
    """A hundred keys of one line go on through eight or more; those of the lines passed are found, too."""
    crowd = (np.uint64(1) << np.uint64(63)) + (np.arange(100, dtype=np.uint64) << np.uint64(3))
    spread = np.arange(600, dtype=np.uint64) * np.uint64((1 << 64) // 600)
    keys = np.unique(np.concatenate((crowd, spread)))
    codes = (np.arange(len(keys) * num_codes) % 256).astype(np.uint8).reshape(-1, num_codes)
    num_lines = write(tmp_path / "lines", keys, codes)
    assert (look_up(tmp_path / "lines", num_lines, keys, num_codes) == as_found(codes)).all()
    assert not look_up(tmp_path / "lines", num_lines, crowd + np.uint64(1 << 20), num_codes).any()


def test_a_table_is_the_same_however_its_ranges_were_cut(tmp_path: Path) -> None:
    keys = np.unique(np.random.default_rng(3).integers(0, 1 << 64, 5000, dtype=np.uint64))
    codes = (keys % np.uint64(256)).astype(np.uint8)[:, None]
    for parts in (1, 7):
        write(tmp_path / f"{parts}", keys, codes, parts)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "7").read_bytes()


def test_lines_take_eight_bytes_an_ngram_or_eleven_with_three_codes(tmp_path: Path) -> None:
    keys = np.unique(np.random.default_rng(4).integers(0, 1 << 64, 50_000, dtype=np.uint64))
    for num_codes, wanted in ((1, 8.0), (3, 10.67)):
        write(tmp_path / "lines", keys, np.ones((len(keys), num_codes), np.uint8))
        size = (tmp_path / "lines").stat().st_size / len(keys)
        assert size == pytest.approx(wanted, rel=0.02)


def test_keys_that_are_no_hashes_are_refused(tmp_path: Path) -> None:
    keys = (np.uint64((1 << 64) - (1 << 20))) + (np.arange(2000, dtype=np.uint64) << np.uint64(3))
    with pytest.raises(ValueError, match="keys are no hashes"):
        write(tmp_path / "lines", keys, np.ones((len(keys), 1), np.uint8))


def test_a_model_of_an_earlier_format_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / ngrams.CARD).write_text(json.dumps({"order": 5, "words": 10}))
    with pytest.raises(UsageError, match="is of format 1, this version reads 2"):
        NgramModel(tmp_path)
