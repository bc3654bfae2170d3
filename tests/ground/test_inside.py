"""Paths of a stranger's manifest stay inside its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.errors import IntegrityError
from gristmill.hashing import canonical_json, sha256_json
from gristmill.inside import below
from gristmill.manifest import read_manifest
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.folder import read_run
from gristmill.token_shards import read_manifest as read_shards

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
    (tmp_path / "run.json").write_text(json.dumps({"steps": [{"name": "a", "folder": name}]}))
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
    (tmp_path / "run.json").write_text(json.dumps({"steps": [], "complete": True}))
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
