"""Which files a path, a glob or a folder names: none is left out without a word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import fsspec.implementations.local
import pytest

from gristmill.errors import GristmillError, InputError, UsageError
from gristmill.pipeline.sources import listing
from gristmill.pipeline.sources.path_list import place_from
from gristmill.pipeline.sources.plan import list_inputs, plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import InputShard
from tests.support.archives import source_of, whole


def names(pattern: Path | str, **settings: Any) -> list[str]:
    return [file.path.rpartition("/")[2] for file in list_inputs(source_of(pattern, **settings))]


def refused(pattern: Path | str, kind: type[GristmillError] = InputError, **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        list_inputs(source_of(pattern, **settings))
    return str(caught.value)


def lay(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text('{"text": "x"}\n')


def test_a_glob_matches_what_the_shells_does(tmp_path: Path) -> None:
    import glob

    lay(tmp_path, "a.jsonl", "b.jsonl", "c.txt", ".hidden.jsonl", "s1/a.jsonl", "s1/t/d.jsonl", ".h/e.jsonl")
    lay(tmp_path, "[x].jsonl")
    patterns = ["*.jsonl", "[ab].jsonl", "?.*", "*/*.jsonl", "**/*.jsonl", "s1/**/*", "**", ".*.jsonl"]
    for pattern in [*patterns, "[[]x].jsonl", "*/a.jsonl", "[!ab]*"]:
        found = glob.glob(f"{tmp_path}/{pattern}", recursive=True)  # noqa: PTH207
        wanted = {path for path in found if Path(path).is_file()}
        assert {file.path for file in listing.match_files(f"{tmp_path}/{pattern}")} == wanted, pattern


@pytest.mark.parametrize("pattern", ["*/*.jsonl", "**/*.jsonl", ""])
def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    lay(tmp_path, "s1/a.jsonl", "s2/a.jsonl")
    real = os.listdir

    def listdir(path: str) -> list[str]:
        if path.endswith("s2"):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    message = refused(f"{tmp_path}/{pattern}")
    assert "a folder of inputs cannot be listed: Input/output error" in message
    assert str(tmp_path / "s2") in message


class Locked(fsspec.implementations.local.LocalFileSystem):  # type: ignore[misc]
    """A mounted server one of whose folders refuses."""

    protocol = "locked"

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        if path.rstrip("/").endswith("s2"):
            raise PermissionError(13, "Permission denied")
        return super().ls(path, detail=detail, **options)


def test_a_remote_folder_that_may_not_be_listed_is_an_error(tmp_path: Path) -> None:
    fsspec.register_implementation("locked", Locked, clobber=True)
    lay(tmp_path, "s1/a.jsonl", "s2/a.jsonl")
    assert names(f"locked://{tmp_path}/s1/*.jsonl") == ["a.jsonl"]
    assert "PermissionError" in refused(f"locked://{tmp_path}/*/*.jsonl")


@pytest.mark.parametrize("pattern", ["*.jsonl", "gone.jsonl", "**/*"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, pattern: str) -> None:
    lay(tmp_path, "a.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("nothing.jsonl")
    message = refused(tmp_path / pattern)
    assert "a link that leads nowhere: to `nothing.jsonl`" in message
    assert "gone.jsonl" in message


def test_a_link_to_nowhere_among_the_folders_of_a_glob_is_named(tmp_path: Path) -> None:
    lay(tmp_path, "s1/a.jsonl")
    (tmp_path / "s2").symlink_to("unmounted")
    assert "s2" in refused(tmp_path / "*/*.jsonl")


def test_a_name_that_is_no_utf8_is_an_error_that_spells_it(tmp_path: Path) -> None:
    descriptor = os.open(os.fsencode(tmp_path) + b"/caf\xe9.jsonl", os.O_CREAT | os.O_WRONLY)
    os.close(descriptor)
    message = refused(tmp_path / "*.jsonl")
    assert "the name of an input is not UTF-8" in message
    assert "caf\\xe9.jsonl" in message


def test_a_pipe_among_the_matches_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "a.jsonl")
    os.mkfifo(tmp_path / "b.jsonl")
    assert "an input is a pipe, socket or device" in refused(tmp_path / "*.jsonl", UsageError)


def test_folders_linked_in_a_circle_are_listed_once(tmp_path: Path) -> None:
    lay(tmp_path, "s/a.jsonl")
    (tmp_path / "s" / "up").symlink_to(tmp_path)
    assert names(f"{tmp_path}/**/*.jsonl") == ["a.jsonl"]


def test_a_folder_with_shards_is_an_input(tmp_path: Path) -> None:
    lay(tmp_path / "data", "b.jsonl", "deep/a.jsonl.gz", "README.md", "dataset_info.json", "_SUCCESS")
    lay(tmp_path / "data", ".cache/x.jsonl", "b.jsonl.md5")
    assert names(tmp_path / "data") == ["b.jsonl", "a.jsonl.gz"]
    assert [shard.format for shard in plan_shards(source_of(f"{tmp_path}/data/"), 1 << 20)] == ["jsonl"]


def test_a_remote_folder_with_shards_is_an_input() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b.jsonl", "deep/a.jsonl", "README.md", "_tmp/c.jsonl"):
        memory.pipe(f"/set/{name}", b'{"text": "x"}\n')
    assert names("memory://set") == ["b.jsonl", "a.jsonl"]
    memory.rm("/set", recursive=True)


def test_a_folder_whose_data_cannot_be_told_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "a/x.jsonl", "a/notes.txt", "b/x.unknown", "c/README.md")
    assert "formats jsonl, text" in refused(tmp_path / "a", UsageError)
    assert "cannot tell the format" in refused(tmp_path / "b", UsageError)
    assert "a folder without inputs" in refused(tmp_path / "c", UsageError)
    assert names(tmp_path / "b", format="jsonl") == ["x.unknown"]


@pytest.mark.parametrize("line", ["/etc/passwd", "../b.jsonl", "file:///etc/passwd", "s3://mine/b.jsonl"])
def test_a_line_of_a_list_that_leads_out_of_the_prefix_is_refused(tmp_path: Path, line: str) -> None:
    lay(tmp_path, "in/a.jsonl", "b.jsonl")
    (tmp_path / "list.txt").write_text(f"a.jsonl\n{line}\n")
    message = refused(f"@{tmp_path / 'list.txt'}", UsageError, prefix=str(tmp_path / "in"))
    assert f"a list of inputs names `{line}`, which does not lie below the prefix" in message
    (tmp_path / "list.txt").write_text(f"a.jsonl\n{tmp_path}/in/a.jsonl\n")
    assert names(f"@{tmp_path / 'list.txt'}", prefix=str(tmp_path / "in")) == ["a.jsonl"]


@pytest.mark.parametrize("line", ["/etc/passwd", "../b.jsonl", "file:///etc/passwd", "local:///etc/passwd"])
def test_a_list_on_another_machine_names_no_file_of_this_one(line: str) -> None:
    assert place_from("list.txt", "", line) == line  # the user's own may
    with pytest.raises(ValueError, match="a place that a file of another machine may not name"):
        place_from("https://a.example/list.txt", "https://a.example/", line)
    assert place_from("https://a.example/l", "https://a.example/", "b.gz") == "https://a.example/b.gz"
    assert place_from("file:///x/list.txt", "file:///x/", "/x/a.gz") == "/x/a.gz"  # which is of this one


@pytest.mark.parametrize(
    "line", ["simplecache::file:///etc/passwd", "zip://a::/etc/x", "zip://a::local:///x"]
)
def test_a_chain_of_places_with_a_local_one_in_it_is_local(line: str) -> None:
    with pytest.raises(ValueError, match="a place that a file of another machine may not name"):
        place_from("https://a.example/list.txt", "https://a.example/", line)
    assert place_from("s3://a/l", "s3://a/", "simplecache::s3://b/c") == "simplecache::s3://b/c"


def test_a_pipe_in_the_place_of_an_input_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "some words"}\n')
    planned = whole(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="it is a pipe, socket, device or folder") as told:
        list(read_records(InputShard("jsonl", (planned,)), source_of(path)))
    assert str(path) in str(told.value)
