"""A run whose output lies in an object store: the same bytes as on a disk, whatever the network does on the
way."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gristmill.errors import GristmillError, StorageRefused
from gristmill.files import location
from gristmill.files.location import RemotePath, use_storage
from gristmill.files.remote import Access
from gristmill.files.remote_store import StorageSettings
from gristmill.files.stores import store_of
from gristmill.hashing import sha256_file
from gristmill.manifest import MANIFEST, Manifest, read_manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.collect import collect
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from tests.support import object_store
from tests.support.counting_store import CountingStore, counting_store
from tests.support.faulty_proxy import FAULTS, FaultyProxy
from tests.support.small_recipe import write_recipe
from tests.support.toy_stage import INLINE, QUIET, plan

SECRET = "hunter2hunter2"

pytestmark = pytest.mark.filterwarnings("default")  # of the server and its client


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from object_store.serve("mill")


def reached(url: str, root: str, cache: Path, seconds: float = 20.0, attempts: int = 8) -> RemotePath:
    options = {**object_store.options(url), "secret": SECRET}
    use_storage(root, StorageSettings(Access(options, attempts, seconds), str(cache)))
    return RemotePath(root)


class TwoOfFour:
    """Chooses two requests in a row of every four: the first may be made again by HTTP itself, on a new
    connection."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, command: str, headers: object) -> bool:
        with self.lock:
            self.count += 1
            return self.count % 4 in (2, 3)


class FromThe:
    """Chooses the N-th request and all after it."""

    def __init__(self, nth: int) -> None:
        self.nth, self.count = nth, 0

    def __call__(self, command: str, headers: object) -> bool:
        self.count += 1
        return self.count >= self.nth


def retries_in(manifest: Manifest) -> int:
    return sum(record.timing.get("retries", 0) for record in manifest.read_records())


def test_a_run_in_an_object_store_is_the_run_on_a_disk(server: str, tmp_path: Path) -> None:
    local = run_plan(plan(), tmp_path / "local", INLINE, QUIET).manifests["toy/a"]
    out = reached(server, "s3://mill/plain", tmp_path / "cache")
    result = run_plan(plan(), out, INLINE, QUIET)
    assert result.manifests["toy/a"].content_digest == local.content_digest
    assert result.manifests["toy/a"].identity == local.identity
    assert list(verify(out)) == []
    assert run_plan(plan(), out, INLINE, QUIET).reused == ["toy/a"]
    assert retries_in(result.manifests["toy/a"]) == 0
    assert not (out / ".lock").exists()


def test_a_store_that_lets_nothing_be_deleted_is_told_before_the_first_step(tmp_path: Path) -> None:
    with counting_store() as store:

        def denied(**_: object) -> dict[str, object]:
            raise PermissionError("Access Denied")

        store._delete_object = denied  # type: ignore[method-assign]
        out = reached("http://unused", "s3://mill/denied", tmp_path / "cache")
        with pytest.raises(StorageRefused, match="Access Denied") as caught:
            run_plan(plan(), out, INLINE, QUIET)
        assert "rights to put, get, list and delete" in str(caught.value)
        assert not [key for key in store.objects if "/records/" in key]


def test_what_a_store_lets_nobody_delete_below_steps_is_left_to_gc_counted_and_said(tmp_path: Path) -> None:
    """A bucket's policy that lets objects be deleted at the top only, as retention rules do: the run goes on
    to the same bytes."""
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"id": f"{n}", "text": f"Number {n // 2} of the mill."}) for n in range(40))
    )
    source = {"a": {"inputs": [str(tmp_path / "a.jsonl")]}}
    made = build_plan(
        make_recipe({"name": "r", "sources": source, "shard_bytes": 500, "dedup": {"exact": {}}})
    )
    local = run_plan(made, tmp_path / "local", INLINE, QUIET).manifests
    said = io.StringIO()
    with counting_store() as store:
        delete = store._delete_object, store._delete_objects

        def one(Key: str, **asked: object) -> dict[str, object]:
            if "/steps/" in Key:
                raise PermissionError("Access Denied")
            return delete[0](Key=Key, **asked)

        def many(Delete: dict[str, list[dict[str, str]]], **_: object) -> dict[str, object]:
            errors = [
                {"Code": "AccessDenied", "Message": "Access Denied", **key} for key in Delete["Objects"]
            ]
            return {"Errors": errors}

        store._delete_object, store._delete_objects = one, many  # type: ignore[method-assign]
        out = reached("http://unused", "s3://mill/kept", tmp_path / "cache")
        result = run_plan(made, out, INLINE, Progress(stream=said))
        assert {name: one.content_digest for name, one in result.manifests.items()} == {
            name: one.content_digest for name, one in local.items()
        }
        assert run_plan(made, out, INLINE, QUIET).reused == list(local)
        (told,) = [line for line in said.getvalue().splitlines() if "nothing needs" in line]
        assert "dedup-exact: up to" in told and "Access Denied" in told and "`gristmill gc`" in told
        left = collect(out, dry_run=True)
        assert len(left) == int(told.partition("up to ")[2].split()[0]) > 1
        store._delete_object, store._delete_objects = delete  # type: ignore[method-assign]
        collect(out)
        assert collect(out, dry_run=True) == [] and list(verify(out)) == []


def mill(folder: Path, store: CountingStore, *inputs: str, out: str = "out") -> int:
    """Extract inputs of a store with the access that a recipe says; returns the exit code."""
    for key in ("in/a.jsonl", "in/b.jsonl", "in/a.jsonl/deeper.jsonl"):
        rows = (json.dumps({"id": f"{key}-{n}", "text": f"Number {n} of {key}."}) for n in range(5))
        store.objects[key] = "\n".join(rows).encode()
    access = {"endpoint_url": "http://unused", "key": "k", "secret": "s", "skip_instance_cache": True}
    recipe = {
        "name": "r",
        "sources": {"a": {"inputs": list(inputs), "storage_options": access}},
        "engine": {"kind": "inline", "retry_seconds": 0.01},
        "output": {"storage_options": access, "cache": str(folder / "cache")},
    }
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit) as ended:
        main(("run", str(folder / "r.yaml"), "--out", out, "--quiet"))
        raise SystemExit(0)
    return int(ended.value.code or 0)


def test_a_folder_of_a_store_is_read_in_place_with_its_sources_access(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with counting_store() as store:
        assert mill(tmp_path, store, "s3://mill/in", out=str(out)) == 0
    (manifest,) = finished_steps(out).values()
    assert manifest.books and manifest.books.items_out["kept"] == 15


def test_an_object_that_changes_while_it_is_read_fails_its_task_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with counting_store() as store:
        real = store._get_object

        def changing(Key: str, **asked: Any) -> dict[str, Any]:
            found = real(Key=Key, **asked)
            if Key == "in/a.jsonl":
                store.objects[Key] = store.objects[Key].replace(b"Number", b"number")
            return found

        store._get_object = changing  # type: ignore[method-assign]
        assert mill(tmp_path, store, "s3://mill/in/*.jsonl", out=str(tmp_path / "out")) == 1
    assert "changed since the run was planned: as many bytes, with another ETag" in capsys.readouterr().err
    (quarantined,) = tmp_path.glob("out/steps/*/quarantine/*.txt")
    assert quarantined.read_text().startswith("task 00000 of phase extract, 1 attempts")


def test_requests_of_a_stage_grow_with_its_shards_and_no_faster(tmp_path: Path) -> None:
    asked = []
    for shards in (25, 50, 100):
        with counting_store() as store:
            out = reached("http://unused", f"s3://mill/count-{shards}", tmp_path / f"cache-{shards}")
            run_plan(plan(numbers=tuple(range(shards)), seconds=0.0), out, INLINE, QUIET)
            made = store.take()
            assert list(verify(out)) == []
            run_plan(plan(numbers=tuple(range(shards)), seconds=0.0), out, INLINE, QUIET)
        asked.append(made)
        assert made["head_object"] <= 10, "a HEAD for each shard"
        assert made["list_objects_v2"] <= 20
    grown = [sum(later.values()) - sum(before.values()) for before, later in pairwise(asked)]
    assert grown[0] == pytest.approx(25 * 3, abs=5)  # a file and its record put, the record read
    assert grown[1] == pytest.approx(50 * 3, abs=5)


def test_gc_ends_uploads_that_nobody_will_finish_and_removes_what_no_manifest_names(
    server: str, tmp_path: Path
) -> None:
    out = reached(server, "s3://mill/gc", tmp_path / "cache")
    folder = run_plan(plan(), out, INLINE, QUIET).manifests["toy/a"].folder
    client, key = object_store.client(server), str(folder / "data/lost.bin").removeprefix("s3://mill/")
    begun = client.create_multipart_upload(Bucket="mill", Key=key)
    client.upload_part(Bucket="mill", Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * 1000)
    client.create_multipart_upload(Bucket="mill", Key="gc-of-another/x")
    client.put_object(Bucket="mill", Key=key, Body=b"never named")
    assert [item.bytes for item in collect(out, dry_run=True)] == [11, 1000]
    collect(out)
    left = client.list_multipart_uploads(Bucket="mill").get("Uploads", [])
    assert [upload["Key"] for upload in left] == ["gc-of-another/x"]
    assert not (folder / "data/lost.bin").exists()
    assert collect(out) == []
    assert list(verify(out)) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_an_object_store_is_survived_and_listed(
    server: str, tmp_path: Path, fault: str
) -> None:
    local = run_plan(plan(), tmp_path / "local", INLINE, QUIET).manifests["toy/a"]
    with FaultyProxy(server, fault, period=10**9, spoiled=TwoOfFour()) as proxy:
        seconds = 2.0 if "hang" in fault or "drip" in fault else 20.0
        out = reached(proxy.url, f"s3://mill/{fault.replace(' ', '-')}", tmp_path / "cache", seconds)
        made = run_plan(plan(), out, INLINE, QUIET).manifests["toy/a"]
        assert made.content_digest == local.content_digest
        assert list(verify(out)) == []
        assert proxy.num_faults > 10
        retried = [retry for record in made.read_records() for retry in record.timing.get("retried", ())]
        assert retried
        assert all(retry["where"].startswith(str(out)) and retry["error"] for retry in retried)
    assert (
        object_store.client(server).list_multipart_uploads(Bucket="mill", Prefix=out.name).get("Uploads", [])
        == []
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_of_many_parts_arrives_whole_or_not_at_all(
    server: str, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.files.s3_uploads.PART_BYTES", 5 << 20)
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * (50 << 10))
    digest = sha256_file(path)
    with FaultyProxy(server, fault, period=10**9, spoiled=TwoOfFour()) as proxy:
        out = reached(proxy.url, f"s3://mill/large-{fault.replace(' ', '-')}", tmp_path / "cache", 5.0)
        store_of(out).place(path, out / "large.bin", digest)
        assert proxy.num_faults
        direct = reached(server, str(out), tmp_path / "other cache")
        assert sha256_file(direct / "large.bin") == digest
    assert (
        object_store.client(server).list_multipart_uploads(Bucket="mill", Prefix=out.name).get("Uploads", [])
        == []
    )


@pytest.mark.slow
def test_a_store_that_dies_at_any_request_leaves_a_run_that_resumes_to_the_same_result(
    server: str, tmp_path: Path
) -> None:
    expected = run_plan(plan(numbers=(1, 2)), tmp_path / "local", INLINE, QUIET).manifests["toy/a"]
    once = EngineSettings(kind="inline", retries=0, retry_seconds=0)
    for nth in range(1, 200):
        root = f"s3://mill/dies-{nth}"
        dying = FromThe(nth)
        with FaultyProxy(server, "reset", period=10**9, spoiled=dying) as proxy:
            out = reached(proxy.url, root, tmp_path / f"cache-{nth}", attempts=1)
            try:
                run_plan(plan(numbers=(1, 2)), out, once, QUIET)
                came_through = True
            except GristmillError as error:
                came_through = not str(error)
        out = reached(server, root, tmp_path / "another machine")
        for path in out.glob(f"steps/*/{MANIFEST}"):
            manifest = read_manifest(path.parent)
            assert all(
                (manifest.folder / entry.path).stat().st_size == entry.bytes for entry in manifest.files
            )
        healed = run_plan(plan(numbers=(1, 2)), out, INLINE, QUIET).manifests["toy/a"]
        assert healed.content_digest == expected.content_digest
        assert list(verify(out)) == []
        if came_through:
            assert nth > 20, "the faults did not reach the run"
            return
    pytest.fail("the run never came to an end without a fault")


@pytest.mark.slow
def test_workers_on_ray_put_the_same_bytes(server: str, tmp_path: Path) -> None:
    local = run_plan(plan(), tmp_path / "local", INLINE, QUIET).manifests["toy/a"]
    out = reached(server, "s3://mill/ray", tmp_path / "cache")
    made = run_plan(plan(), out, EngineSettings(kind="ray", workers=2), QUIET).manifests["toy/a"]
    assert made.content_digest == local.content_digest


TRAIN = {
    "model": {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32},
    "batch": 4, "steps": 4, "ephemeral_every": 2, "eval_tokens": 200,
}  # fmt: skip


@pytest.mark.slow
def test_every_stage_and_every_verb_works_in_an_object_store(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gristmill.pipeline.cli import app, register

    options = {**object_store.options(server), "secret": SECRET}
    monkeypatch.setattr(
        location, "_settings", dict(location._settings)
    )  # `--storage-option` holds for a process
    write_recipe(tmp_path, output={"storage_options": options, "cache": str(tmp_path / "cache")}, train=TRAIN)
    monkeypatch.chdir(tmp_path)
    register()

    def verb(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            app(args=list(arguments))
        assert (ended.value.code or 0) == code
        return capsys.readouterr().out

    out = "s3://mill/whole"
    verb("run", "recipe.yaml", "--out", "local", "--engine", "inline", "-q")
    verb("run", "recipe.yaml", "--out", out, "--engine", "inline", "-q")
    local, remote = finished_steps(tmp_path / "local"), finished_steps(RemotePath(out))
    assert list(local) == list(remote)
    for name in set(local) - {"train"}:  # whose summary holds seconds
        assert remote[name].content_digest == local[name].content_digest
    assert (RemotePath(out) / "report.html").exists()
    run = remote["train"].folder / "train/run"
    assert "loss" in (run / "log.jsonl").read_text()

    use_storage(
        out, StorageSettings(Access(options), str(tmp_path / "another machine"))
    )  # as another user would reach it
    assert "all is well" in verb("verify", out)
    assert verb("status", out, "--json").count('"done"') == len(local)
    assert "stale" not in verb("plan", "recipe.yaml", "--out", out)
    assert verb("export", out) == verb("export", "local")
    assert verb("why", out, "http://docs.example/if/0") == verb(
        "why", "local", "http://docs.example/if/0"
    ).replace("local", out)
    assert verb("trace", out, "00000:100", "--json") == verb("trace", "local", "00000:100", "--json")
    assert verb("inspect", out, "--removed", "--json") == verb("inspect", "local", "--removed", "--json")
    verb("compare", "local", out)
    verb("report", out, "--to", str(tmp_path / "report.html"))
    access = [word for name, value in options.items() for word in ("--storage-option", f"{name}={value}")]
    verb(
        *access,
        "recut",
        out,
        "--set",
        "gopher.words.min=10",
        "--out",
        "s3://mill/recut",
        "-q",
        "--engine",
        "inline",
    )
    verb(
        *access, "filter", out, "--preset", "gopher", "--out", "s3://mill/adopted", "-q", "--engine", "inline"
    )
    assert "0 bytes freed" in _err(capsys, "gc", out)
    for key, data in _objects(server):
        assert SECRET.encode() not in data, key


def _err(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    from gristmill.pipeline.cli import app

    with pytest.raises(SystemExit):
        app(args=list(arguments))
    return capsys.readouterr().err


def _objects(server: str) -> Iterator[tuple[str, bytes]]:
    client = object_store.client(server)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="mill"):
        for item in page.get("Contents", ()):
            body = io.BytesIO()
            client.download_fileobj("mill", item["Key"], body)
            yield item["Key"], body.getvalue()


def test_a_bucket_that_is_not_there_is_said_before_anything_is_run(server: str, tmp_path: Path) -> None:
    out = reached(server, "s3://no-such-bucket/run", tmp_path / "cache")
    with pytest.raises(StorageRefused, match=r"bucket does not exist") as caught:
        run_plan(plan(), out, INLINE, QUIET)
    assert caught.value.hint == "create the bucket, or name the one that was meant"


class FailsOnce:
    """Answers the N-th request of a store with an error; "not there" is one of reads alone."""

    def __init__(self, store: CountingStore, nth: int, error: Exception) -> None:
        self.nth, self.error, self.count, self.has_failed = nth, error, 0, False
        self._answer = store.answer
        store.answer = self  # type: ignore[method-assign, assignment]

    def __call__(self, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        reads = kind in ("get_object", "head_object")
        if self.count > self.nth >= 0 and (reads or not isinstance(self.error, FileNotFoundError)):
            self.has_failed, self.nth = True, -1
            raise self.error
        return self._answer(kind, asked)


ERRORS = {
    "AccessDenied": PermissionError("Access Denied"),
    "gone": FileNotFoundError("The specified key does not exist"),
    "InternalError": OSError(5, "We encountered an internal error"),
}


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("error", list(ERRORS))
def test_whichever_request_fails_the_end_is_the_same_bytes_or_says_of_what(
    tmp_path: Path, error: str, every: int
) -> None:
    """The N-th request of a run, for every N, is answered with an error that is final; the next run goes on
    from there."""
    toy = plan(numbers=(1, 2))
    expected = run_plan(toy, tmp_path / "local", INLINE, QUIET).manifests["toy/a"].content_digest
    once = EngineSettings(kind="inline", retries=0, retry_seconds=0, record_seconds=0)
    ends = set()
    for nth in range(every // 2, 500, every):
        with counting_store() as store:
            out = reached("http://unused", f"s3://mill/{nth}", tmp_path / f"cache-{nth}", attempts=1)
            faulty = FailsOnce(store, nth, ERRORS[error])
            try:
                made = run_plan(toy, out, once, QUIET).manifests["toy/a"]
                assert made.content_digest == expected
                ends.add("came through")
            except GristmillError as raised:
                assert "s3://mill/" in str(raised) or raised.where or "quarantine" in str(raised), raised
                ends.add("said")
            faulty.nth = -1
            healed = run_plan(toy, out, INLINE, QUIET).manifests["toy/a"]
            assert healed.content_digest == expected and list(verify(out)) == []
        if not faulty.has_failed:
            break
    assert nth > 20 and ends == {"came through", "said"}
