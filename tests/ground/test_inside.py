"""Paths of a stranger's manifest stay inside its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import GristmillError, IntegrityError
from gristmill.files.inside import below
from gristmill.hashing import canonical_json, sha256_file, sha256_json
from gristmill.manifest import read_manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.folder import read_run
from gristmill.token_shards import read_manifest as read_shards
from gristmill.tokenize.encoding.ending import from_configuration
from gristmill.trainer.checkpoints.checkpoint import Meta
from gristmill.trainer.checkpoints.hf import read_config
from gristmill.trainer.checkpoints.tensors import read_table
from gristmill.trainer.data.shards import ShardSet

OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "a\\b", "x\x1b[2J", "a\nb", "a" * 5000]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_its_folder_is_refused_and_spelled_out(tmp_path: Path, name: str) -> None:
    assert below(tmp_path, "data/a.parquet") == tmp_path / "data" / "a.parquet"
    with pytest.raises(IntegrityError) as caught:
        below(tmp_path, name)
    assert "\x1b" not in str(caught.value)
    entry = {"kind": "documents", "path": name, "sha256": "0", "bytes": 1, "rows": 1, "source": "a"}
    body = {"format": 1, "step": "extract/a", "identity": "0", "ingredients": {}, "files": [entry]}
    body |= {"records": [], "books": None, "extra": {}}
    raw = canonical_json({"body": body, "sha256": sha256_json(body), "timing": {}})
    (tmp_path / "manifest.json").write_bytes(raw)
    with pytest.raises(IntegrityError, match="no path inside it"):
        read_manifest(tmp_path)
    (tmp_path / "run.json").write_text(
        json.dumps({"recipe_name": "one", "steps": [{"name": "a", "folder": name}]})
    )
    with pytest.raises(IntegrityError, match="no path inside it"):
        read_run(tmp_path)
    for shards, tokenizer in (([{"name": name}], "tokenizer.model"), ([], name)):
        (tmp_path / "manifest.json").write_text(
            json.dumps({"shards": shards, "sources": [], "dtype": "uint16", "tokenizer": tokenizer})
        )
        with pytest.raises(IntegrityError, match="no path inside it"):
            read_shards(tmp_path)


def test_verbs_spell_out_what_lies_in_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "steps" / "x\x1b[2Jy-0000").mkdir(parents=True)
    (tmp_path / "run.json").write_text(json.dumps({"recipe_name": "one", "steps": [], "complete": True}))
    for verb in (["gc", "--dry-run"], ["verify"], ["status"]):
        with pytest.raises(SystemExit):
            main([verb[0], str(tmp_path), *verb[1:]])
    said = capsys.readouterr()
    assert "x\\x1b[2Jy-0000" in said.out and "\x1b" not in said.out + said.err


@pytest.mark.parametrize("verb", ["info", "verify", "export"])
def test_a_shard_manifest_that_lacks_a_key_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    body = {"shards": [], "sources": [], "dtype": "uint16", "split": "train", "kind": "mixed", "vocab": 9}
    (tmp_path / "manifest.json").write_text(json.dumps({**body, "eos_id": 0}))
    more = ["--out", str(tmp_path / "e")] if verb == "export" else []
    with pytest.raises(SystemExit) as ended:
        main(["shards", verb, str(tmp_path), *more])
    assert ended.value.code == 1 and "the shard manifest lacks `tokenizer" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


NO_OBJECTS = {
    "nested": b"[" * 200_000,
    "nested object": b'{"a":' * 200_000,
    "a list": b"[1]",
    "a number": b"1e999",
    "a long number": b"1" * 5000,
    "no UTF-8": b'{"steps": "\xff"}',
    "null": b"null",
    "cut": b'{"steps": [',
    "nothing": b"",
}


def opened(name: str, folder: Path) -> Any:
    """Open what a stranger's file stands in."""
    if name == "run.json":
        return read_run(folder)
    if name == "manifest.json":
        return read_shards(folder)
    if name == "tensors.json":
        return read_table(folder)
    if name == "checkpoint.json":
        return Meta.read(folder)
    if name == "config.json":
        return read_config(folder)
    return from_configuration(folder / "tokenizer.json", {}, {"a": 1})


@pytest.mark.parametrize("content", NO_OBJECTS)
@pytest.mark.parametrize(
    "name",
    ["run.json", "manifest.json", "tensors.json", "checkpoint.json", "config.json", "tokenizer_config.json"],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(NO_OBJECTS[content])
    with pytest.raises(GristmillError):
        opened(name, tmp_path)
    if name == "manifest.json":
        with pytest.raises(GristmillError):
            ShardSet(tmp_path)


@pytest.mark.parametrize(
    "run",
    [{}, {"steps": 5}, {"steps": [5]}, {"steps": [{"name": "a"}]}, {"steps": [{"name": 1, "folder": "a"}]}],
)
def test_a_run_file_without_what_is_asked_of_it_is_damaged(tmp_path: Path, run: Any) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(IntegrityError, match="is damaged"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "dtype", ["O", "|O8", "object", "S0", "V4", "i8,f4", "float32", "U1", 5, None, ["O"]]
)
def test_a_shard_is_never_mapped_as_objects(tmp_path: Path, dtype: Any) -> None:
    """A file of objects is one of pointers, which whoever reads an element follows."""
    shard = {"name": "00000", "tokens": 1, "docs": 1, "bytes": 1}
    body = {
        "shards": [shard],
        "sources": [{"name": "a", "tokens": 1}],
        "kind": "mixed",
        "vocab": 9,
        "eos_id": 0,
    }
    (tmp_path / "manifest.json").write_text(json.dumps({**body, "dtype": dtype}))
    (tmp_path / "00000.bin").write_bytes(b"\x41" * 8)
    for open_ in (read_shards, ShardSet):
        with pytest.raises(GristmillError, match="dtype must be uint16 or uint32"):
            open_(tmp_path)


def test_what_a_model_writes_is_harmless_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipeline.verbs.tokens.trained_models.trained", lambda path: path)
    monkeypatch.setattr(
        "gristmill.trainer.evaluation.generate.complete", lambda *_: ["\x1b]0;title\x07\u202eb\n"]
    )
    for more, said in (((), "a\\x1b]0;title\\x07\\u202eb\n"), (("--json",), '"text":"\\u001b]0;title')):
        with pytest.raises(SystemExit):
            main(["generate", str(tmp_path), "a", *more])
        found = capsys.readouterr().out
        assert said in found and "\x1b" not in found


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_in_a_strangers_folder_is_refused_before_it_is_read(
    tmp_path: Path, kind: str
) -> None:
    """A read of one would wait for ever, of the other never end."""
    for name, read in (
        ("manifest.json", lambda: read_manifest(tmp_path)),
        ("run.json", lambda: read_run(tmp_path)),
        ("data.parquet", lambda: sha256_file(tmp_path / "data.parquet")),
    ):
        if kind == "pipe":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(IntegrityError, match="is a pipe, socket or device"):
            read()
