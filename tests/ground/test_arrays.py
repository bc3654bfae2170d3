"""Arrays arrive whole, or an error names the file: NumPy's own writer and reader hold to neither."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from gristmill.arrays import read_array, write_array
from gristmill.errors import IntegrityError

PAIR = np.dtype([("high", ">u8"), ("row", "<u4")])
FULL = Path("/dev/full")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(7, dtype="<u4"),
        np.empty(0, "<u8"),
        np.arange(12, dtype="<u2").reshape(3, 4),
        np.arange(12, dtype="<u2").reshape(3, 4).T,
        np.arange(20, dtype=">u8")[::3],
        np.zeros(5, PAIR),
    ],
    ids=["numbers", "none", "a table", "a table on its side", "every third", "records"],
)
def test_an_array_is_written_as_numpy_writes_it_and_read_back(tmp_path: Path, array: np.ndarray) -> None:
    write_array(tmp_path / "ours", array)
    array.tofile(tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert np.array_equal(read_array(tmp_path / "ours", array.dtype), array.reshape(-1))


def test_a_stretch_of_an_array_is_read(tmp_path: Path) -> None:
    write_array(tmp_path / "a", np.arange(10, dtype="<u4"))
    assert read_array(tmp_path / "a", "<u4", 3, 4).tolist() == [4, 5, 6]
    assert read_array(tmp_path / "a", "<u4", start=8).tolist() == [8, 9]
    assert read_array(tmp_path / "a", "<u4", 0, 10).tolist() == []


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("length", [10, 1_000_000])
def test_a_full_disk_is_an_error_that_names_the_file(length: int) -> None:
    with pytest.raises(OSError, match="/dev/full") as caught:
        write_array(FULL, np.arange(length))
    assert caught.value.errno == errno.ENOSPC


def test_a_file_that_ends_too_soon_is_damaged(tmp_path: Path) -> None:
    write_array(tmp_path / "a", np.arange(10, dtype="<u4"))
    with pytest.raises(IntegrityError, match=r"`.*a` is damaged: it ends within the 3 numbers from 8 on"):
        read_array(tmp_path / "a", "<u4", 3, 8)
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(IntegrityError, match="its 5 bytes are no whole numbers of 4"):
        read_array(tmp_path / "a", "<u4")
