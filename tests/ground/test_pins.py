"""What was digested is what is loaded; what carries its digest in its name is checked against it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from gristmill.errors import IntegrityError, StaleError
from gristmill.hashing import sha256_file
from gristmill.pins import check_named, check_pins, collect_pins, pin, pins_held, share_files


def test_a_file_that_changed_since_it_was_digested_is_refused(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("old")
    collect_pins()
    digest = pin(words)
    pins = collect_pins()
    assert pins == {str(words): digest} and collect_pins() == {}
    check_pins(pins)
    words.write_text("new")
    with pytest.raises(StaleError, match=r"words.txt` changed while the run was at work"):
        check_pins(pins)
    words.unlink()
    with pytest.raises(StaleError):
        check_pins(pins)


def test_a_file_that_is_changed_and_changed_back_is_noticed_even_with_its_old_time(tmp_path: Path) -> None:
    words, saved = tmp_path / "words.txt", tmp_path / "saved.txt"
    words.write_text("old")
    shutil.copy2(words, saved)
    pins = {str(words): pin(words)}
    before = check_pins(pins)
    pins_held(pins, before)
    words.write_text("new")
    shutil.copy2(saved, words)
    assert os.stat(words).st_mtime_ns == os.stat(saved).st_mtime_ns  # noqa: PTH116
    with pytest.raises(IntegrityError, match="was touched while a task used it"):
        pins_held(pins, before)


def published(folder: Path, data: bytes, suffix: str = ".idx") -> Path:
    path = folder / "raw"
    path.write_bytes(data)
    target = folder / "data" / f"index-map-00000-{sha256_file(path)[:12]}{suffix}"
    target.parent.mkdir(exist_ok=True)
    return path.replace(target)


def test_a_published_file_is_checked_against_the_digest_in_its_name(tmp_path: Path) -> None:
    path = published(tmp_path, b"abc")
    check_named(str(path))
    path.write_bytes(b"abd")
    with pytest.raises(IntegrityError, match=r"is damaged: it hashes to .*\n?"):
        check_named(str(path))
    check_named(str(tmp_path / "another.idx"))  # whose name says nothing


@dataclass(frozen=True)
class Run:
    keys: str
    size: int = 0


def test_each_file_is_checked_by_one_of_the_tasks_that_read_it(tmp_path: Path) -> None:
    paths = [str(published(tmp_path, bytes([number]))) for number in range(6)]
    table = str(published(tmp_path, b"t", ".parquet"))
    tasks = [{"path": table, "run": Run(paths[0])}, {"parts": paths[:2]}, {"part": 2}]
    shares = share_files(tasks, {"runs": paths, "bounds": None})
    assert sorted(path for share in shares for path in share) == sorted(paths)
    assert paths[1] in shares[1] and paths[0] in (*shares[0], *shares[1])
    assert share_files([], {"runs": paths}) == []
