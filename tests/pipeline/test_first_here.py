"""Small phases stay in this process while Ray's start would take longer than they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipeline.run import engines, first_here
from gristmill.pipeline.run.engine import RayEngine
from gristmill.pipeline.run.first_here import SMALL_BYTES, FirstHere, is_small
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.sources.record import InputRange, InputShard


def work() -> None: ...


def tasks(num: int, **arguments: Any) -> list[Task]:
    return [Task(f"{number:05d}", work, dict(arguments)) for number in range(num)]


def phase_of(some: Sequence[Task], **said: Any) -> Phase:
    return Phase("map", some, **said)


def shard(num_bytes: int, path: str = "/in/a.warc.gz") -> InputShard:
    return InputShard("warc", (InputRange(path, num_bytes, "1", 0, num_bytes),))


def test_what_a_phase_reads_tells_whether_it_is_small(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"x" * 1000)

    def small(num: int, common: Any = None, **arguments: Any) -> bool:
        some = tasks(num, **arguments)
        return is_small(phase_of(some, common=common or {}), some)

    assert small(2, path=str(file))
    assert small(2, path=file, name="a/b that is no file")
    assert small(2, shard=shard(SMALL_BYTES // 2))
    assert not small(3, shard=shard(SMALL_BYTES // 2))
    assert not small(2, shard=shard(10, "s3://bucket/a.warc.gz"))
    assert not small(2, path="s3://bucket/a.parquet")
    assert not small(2, path=str(tmp_path))  # a folder: nobody knows
    assert not small(2, number=5)
    assert small(2, {"words": [str(file)]}, number=5)
    assert not small(65, path=str(file))
    for text in ("a/" + "b" * 5000, "a/\0b", "a/\ud800"):  # a prompt, say: no name of a file can be so
        assert small(2, path=str(file), prompt=text)
        assert not small(2, prompt=text)
    some = tasks(2, path=str(file))
    assert not is_small(phase_of(some, num_gpus=1), some)
    assert not is_small(phase_of(some, saves=True), some)


class Noted:
    """An engine that notes which tasks it was given, each of which takes `seconds` of the clock."""

    name = "inline"

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds, self.keys = clock, seconds, list[str]()

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Any) -> list[Any]:
        self.keys += [task.key for task in tasks]
        self.clock[0] += self.seconds * len(tasks)
        return [f"lost {task.key}" for task in tasks]

    def close(self) -> None: ...


@pytest.mark.parametrize(("seconds", "here"), [(0.1, 8), (1.0, 8), (2.0, 1), (60.0, 1)])
def test_tasks_go_to_ray_once_what_is_left_is_worth_its_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float, here: int
) -> None:
    clock = [0.0]
    monkeypatch.setattr(first_here.time, "monotonic", lambda: clock[0])
    first, many = Noted(clock, seconds), Noted(clock, seconds)
    some = tasks(8)
    found: Any = FirstHere(first, lambda: many, 2).run(tmp_path, phase_of(some), some, None)  # type: ignore[arg-type]
    assert (len(first.keys), len(many.keys)) == (here, 8 - here)
    assert found == [f"lost {task.key}" for task in some]


def test_one_long_task_that_is_left_is_not_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [0.0]
    monkeypatch.setattr(first_here.time, "monotonic", lambda: clock[0])
    first = Noted(clock, 100.0)
    some = tasks(2)
    FirstHere(first, lambda: pytest.fail("Ray was started"), 2).run(tmp_path, phase_of(some), some, None)  # type: ignore[arg-type]
    assert len(first.keys) == 2


def test_a_small_phase_starts_no_ray_and_uses_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = count()

    @contextmanager
    def started(settings: EngineSettings, **facts: object) -> Iterator[RayEngine]:
        next(starts)
        yield object.__new__(RayEngine)

    monkeypatch.setattr(engines, "open_engine", started)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "a").write_bytes(b"x")
    small, large = tasks(2, path=str(tmp_path / "a")), tasks(2, shard=shard(SMALL_BYTES))
    for kind, address in (("ray", None), ("auto", "auto")):
        with engines.opened(EngineSettings(kind=kind, address=address), tmp_path, print) as held:
            assert isinstance(held.for_phase(phase_of(small), small), RayEngine)
    before = next(starts)
    with engines.opened(EngineSettings(workers=2), tmp_path, print) as held:
        assert isinstance(held.for_phase(phase_of(small), small), FirstHere)
        assert next(starts) == before + 1
        assert isinstance(held.for_phase(phase_of(large), large), RayEngine)
        assert isinstance(held.for_phase(phase_of(small), small), RayEngine)
