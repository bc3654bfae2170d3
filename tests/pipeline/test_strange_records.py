"""A run folder that somebody else wrote may be sealed and say anything: what reads it names the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import GristmillError, IntegrityError
from gristmill.files.sealed import open_sealed, understood, whole
from gristmill.manifest import read_manifest, read_record
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import read_run
from gristmill.pipeline.run.records.summary import read_summary
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.run.runner import run_plan
from tests.support.toy_stage import INLINE, QUIET, plan

VALUES = ("null", "-1", str(1 << 70), "1e400", "-0.0", '"x"', "[]", "[[]]", "{}", '{"a":1}', "true")


def spelled(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def seal(path: Path, body: str, timing: str) -> str:
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in (body, timing)]
    path.write_text(
        f'{{"body":{body},"sha256":"{digests[0]}","timing":{timing},"timing_sha256":"{digests[1]}"}}\n'
    )
    return digests[0]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a value."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def with_value(value: Any, at: tuple[Any, ...], put: str) -> str:
    """The JSON of a value with other JSON at one place; with nothing there where that is empty."""
    copied = inner = json.loads(json.dumps(value))
    for key in at[:-1]:
        inner = inner[key]
    if put:
        inner[at[-1]] = "@@"
    else:
        del inner[at[-1]]
    return spelled(copied).replace('"@@"', put)


def read(path: Path) -> None:
    """Read a file of a step as readers do."""
    if path.name == "manifest.json":
        manifest = read_manifest(path.parent)
        assert manifest.content_digest and manifest.named("number") is not None
    elif path.name.startswith("summary-"):
        digest = json.loads(path.read_text())["sha256"]
        Totals().merge(read_summary(path.parent, {"path": path.name, "sha256": digest}))
    else:
        Totals().add(read_record(path))


def test_sealed_files_that_say_anything_are_read_or_refused_by_name(tmp_path: Path) -> None:
    run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    (step,) = (tmp_path / "out" / "steps").iterdir()
    record, summary = step / "records" / "map" / "00000.json", next(step.glob("summary-*.json"))
    refused = 0
    for path in (step / "manifest.json", record, summary):
        kept = path.read_text()
        said = json.loads(kept)
        for part in ("body", "timing"):
            for at in places(said[part]):
                for put in (*VALUES, ""):
                    changed = {name: spelled(said[name]) for name in ("body", "timing")}
                    seal(path, **{**changed, part: with_value(said[part], at, put)})
                    try:
                        read(path)
                    except IntegrityError as error:
                        refused += 1
                        assert (
                            path.name in str(error)
                            or "out of it" in str(error)
                            or "names a file" in str(error)
                        )
        path.write_text(kept)
    assert refused > 500
    assert list(verify(tmp_path / "out")) == []


def test_a_run_whose_manifest_says_anything_is_verified_without_a_traceback(tmp_path: Path) -> None:
    run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    (step,) = (tmp_path / "out" / "steps").iterdir()
    said = json.loads((step / "manifest.json").read_text())
    for at in places(said["body"]):
        seal(step / "manifest.json", with_value(said["body"], at, '{"a":1}'), spelled(said["timing"]))
        with suppress(GristmillError):
            list(verify(tmp_path / "out"))


@pytest.mark.parametrize(
    "said",
    [{"plan": 1.5}, {"plan": [{}]}, {"recipe_name": 7}, {"recipe": []}, {"previous": 3}, {"steps": [1]}],
)
def test_a_run_file_that_says_anything_is_refused_by_name(tmp_path: Path, said: dict[str, Any]) -> None:
    run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    path = tmp_path / "out" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))
    with pytest.raises(IntegrityError, match=r"run\.json` is damaged"):
        read_run(tmp_path / "out")


@pytest.mark.parametrize("value", [1.0, True, "1", None, 1 << 63, float("inf"), []])
def test_only_whole_numbers_in_64_bits_are_whole(value: object) -> None:
    with pytest.raises(IntegrityError, match=r"`a\.json` does not say .* no whole number in 64 bits"):
        _read_rows(value)


def _read_rows(value: object) -> int:
    with understood("a.json"):
        return whole(value, "rows")


def test_a_body_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for body, timing in (("[]", "{}"), ("{}", "5"), ("null", "{}")):
        seal(path, body, timing)
        with pytest.raises(IntegrityError, match="must be objects"):
            open_sealed(path, path.read_bytes())
