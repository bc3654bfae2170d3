"""Every argument of a job arrives as it was said; no secret goes on its command line, or into what is
shown."""

from __future__ import annotations

import json
import runpy
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.errors import UsageError
from gristmill.pipeline import cli
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.called import without_secrets
from gristmill.pipeline.run.cluster.submit import ENTRY, job_command, submit_job
from gristmill.pipeline.sources.record import InputRange
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.redact import holds_secret, public_url

SAID = [
    r"extract.block_urls=[\.pdf$]",
    "name=a;touch pwned",
    "name=$(touch pwned)x",
    "name=`touch pwned`",
    "filter.rules=[{function: 'my rules.py:f', max: 0.3}]",
    "sources.web.inputs=https://h/x?a=1&b=2",
    'a={"b c": "d\\" e"}',
    "ends=in a\\",
    'x=\\"',
    "",
]


def arrived(overrides: list[str], folder: Path) -> list[str]:
    """What the program is given by a job whose command line was joined and split again, as Ray's client and a
    shell do; its releases join in two ways."""
    command = job_command("r.yaml", "http://x:1", folder, "/data/my out", overrides, wait=True)
    entry = command[command.index("--") + 1 :]
    lines = (subprocess.list2cmdline(entry), shlex.join(entry))
    assert all(shlex.split(line) == ["python", ENTRY] for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [ENTRY])
        patch.setattr(cli, "main", lambda: None)
        runpy.run_path(str(folder / ENTRY))
        return sys.argv[1:]


def expected(overrides: list[str]) -> list[str]:
    sets = [part for override in overrides for part in ("--set", override)]
    return ["run", "r.yaml", "--out", "/data/my out", "--engine", "ray", "--address", "auto", *sets]


def test_every_argument_arrives_as_it_was_said(tmp_path: Path) -> None:
    assert arrived(SAID, tmp_path) == expected(SAID)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=12))
def test_any_text_arrives_as_it_was_said(overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert arrived(overrides, Path(folder)) == expected(overrides)


SIGNED = "https://b.example/a.warc.gz?part=1&X-Amz-Signature=abcdef0123&X-Amz-Expires=60"


@pytest.mark.parametrize(
    "said",
    [
        "output.storage_options.secret=hunter2hunter2",
        "output={storage_options: {secret: hunter2hunter2}}",
        "sources.a={inputs: s3://b/x, storage_options: {secret: hunter2hunter2}}",
        f"sources.a.inputs={SIGNED}",
    ],
)
def test_secrets_are_refused_on_a_job_s_command_line(tmp_path: Path, said: str) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    with pytest.raises(UsageError, match="command line is shown to all"):
        submit_job(recipe, "http://127.0.0.1:1", "/data/out", [said], wait=True)


def test_no_secret_of_an_override_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nsources: {a: {inputs: a.jsonl}}\n")
    for said in (
        "output={storage_options: {secret: hunter2hunter2}, unknown: 1}",
        "output={storage_options: hunter2hunter2}",
        "sources.a={storage_options: {secret: hunter2hunter2}, inputs: 3}",
        f"sources.a.format={SIGNED}",
    ):
        with pytest.raises(SystemExit):
            main(["plan", str(recipe), "--set", said])
        out, err = capfd.readouterr()
        assert err.startswith("error:") and "hunter2" not in out + err and "abcdef0123" not in out + err
        shown = " ".join(without_secrets(["run", "r.yaml", "--set", said, f"--set={said}"]))
        assert "hunter2" not in shown and "abcdef0123" not in shown


@pytest.mark.parametrize(
    "said",
    [
        "https://h.example/x?part=1&auth=hunter2",
        "https://h.example/x?part=1&q-ak=hunter2&q-signature=hunter2",  # Tencent's store
        "https://h.example/x?part=1&hdnea=exp=1~hmac=hunter2",  # Akamai's edge
        "https://h.example/x?part=1&verify=1-hunter2",  # Cloudflare's
        "https://h.example/x?part=1&security-token=hunter2",
        "https://h.example/x?part=1&X%2DAmz%2DSignature=hunter2",
        "https://h.example/x;jsessionid=hunter2?part=1",
        "https://h.example/x?part=1#access_token=hunter2",
        "https://h.example/x?part=1&key=hunter2",
        "https://h.example/x?part=1&KEY=AIza.hunter2-0123456789abcdef",
        "https://h.example/x?part=1&amp;sig=hunter2",
        "https://h.example/x?part=1%26sig%3Dhunter2",
        "https://h.example/x?part=1&a=b%2526sig%253Dhunter2",
        "https://h.example/x?part=1&%73ig=hunter2&%2573ig=hunter2",
        "https://h.example/x?part=1&to=https%3A%2F%2Fi.example%2Fy%3Fa%3D1%26sig%3Dhunter2",
        "https://h.example/x?part=1&to=https%3A%2F%2Fme%3Ahunter2%40i.example%2Fy",
        "https://h.example/x%3Fsig%3Dhunter2?part=1",
        "https://h.example/x%253Fa%253D1%2526X-Amz-Signature%253Dhunter2?part=1",
    ],
)
def test_signatures_are_struck_out_in_every_shape(said: str) -> None:
    shown = public_url(f"cannot read {said} or https://h.example/y?part=1#top")
    assert "hunter2" not in shown
    assert shown.startswith("cannot read https://h.example/x") and "part=1" in shown
    assert shown.endswith(" or https://h.example/y?part=1#top")
    assert holds_secret({"inputs": [said]})


def test_a_path_that_a_client_names_alone_is_struck_out_and_a_key_that_is_a_file_stays() -> None:
    error = "Max retries exceeded with url: /b/a.jsonl?part=1&X-Amz-Signature=hunter2 (Caused by ..."
    assert public_url(error) == error.replace("X-Amz-Signature=hunter2", "***")
    for plain in (
        "https://h/get?key=part/00001.jsonl.gz", "https://h/get?key=part%2F1.parquet&v=2",
        "https://h/a%20b%26c?x=%2541", "https://h/?monkey=1", "what is /a/b?c=1 and /d?",
    ):  # fmt: skip
        assert public_url(plain) == plain


def test_what_had_to_be_asked_again_is_listed_without_a_signature() -> None:
    from gristmill.files import remote

    def failing(timeout: Any) -> None:
        raise OSError("broke off")

    remote.take_retries()
    with pytest.raises(remote.GaveUp):
        remote.patiently(failing, f"{SIGNED}@0", remote.Access(attempts=2), None)
    assert "abcdef0123" not in str(remote.take_retries())


def test_a_signature_is_in_no_dump_and_no_origin_and_two_of_them_are_one_input() -> None:
    other = SIGNED.replace("abcdef0123", "9876543210").replace("Expires=60", "Expires=90")
    assert public_url(SIGNED) == public_url(other) == "https://b.example/a.warc.gz?part=1&***"
    assert InputRange(SIGNED, 1, "", 0, 1).shown == public_url(SIGNED)
    dumped = json.dumps(SourceSettings(inputs=[SIGNED]).model_dump(mode="json"))
    assert "abcdef0123" not in dumped and "part=1" in dumped
    assert public_url("https://h/x?a=1&b=2 and s3://b/k?x") == "https://h/x?a=1&b=2 and s3://b/k?x"
    assert public_url("https://user:word@h/x") == "https://***@h/x"
    assert holds_secret({"a": [{"storage_options": {"k": 1}}]}) and not holds_secret({"storage_options": {}})
