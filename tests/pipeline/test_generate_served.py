"""The quickstart's own model, exported, behind `transformers serve`: a synthetic source from seed to page.

Runs where `transformers serve` can: with fastapi, uvicorn and openai installed (`pip install
'transformers[serving]'`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.generate import GenerateFacts
from tests.pipeline.test_generate import recipe, rows, run, seeds
from tests.support.model_server import ROOT

NEEDS = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
NUM = 12


def gristmill(*arguments: object) -> None:
    command = [sys.executable, "-m", "gristmill.pipeline.cli", *map(str, arguments)]
    subprocess.run(
        command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )


@contextlib.contextmanager
def served(model: Path, folder: Path) -> Iterator[str]:
    """`transformers serve` with a model of ours, while the block runs; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", start, "serve", str(model), "--port", str(port), "--device", "cpu"]
    with (folder / "serve.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, (folder / "serve.txt").read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            time.sleep(0.5)
        yield f"{url}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(bool(NEEDS), reason=f"`transformers serve` lacks {', '.join(NEEDS)}")
def test_the_quickstart_s_own_model_writes_a_source(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    gristmill("demo", "--out", demo, "--engine", "inline", "--quiet")
    gristmill("export-hf", demo / "run", tmp_path / "model")
    own = {
        "server": {"model": str(tmp_path / "model"), "api": "completions", "in_flight": 4},
        # So small a model goes on in blank lines unless it is given a beginning that it knows.
        "templates": ["continued"],
        "prompts": {"continued": "{text}\n\nThe function returns"},
        "sampling": {"max_tokens": 48},
        "passage_characters": 100,
        "checks": {"truncated": "keep", "min_words": 1},
    }
    with served(tmp_path / "model", tmp_path) as url:
        run(recipe(seeds(tmp_path, NUM), url, own), tmp_path / "out")
    manifest = finished_steps(tmp_path / "out")["generate/books"]
    facts = manifest.stated(GenerateFacts)
    assert manifest.books
    assert facts.requests == manifest.books.items_in == NUM
    assert NUM < facts.tokens_out <= NUM * 48
    assert facts.tokens_in > NUM * 20
    assert manifest.books.items_out["kept"] > 0
    made = rows(tmp_path / "out")[0]
    life = look_up(tmp_path / "out", made["id"].hex())
    assert life.seed
    assert life.seed.url == made["seed_url"]
    assert not list(verify(tmp_path / "out"))
    print(json.dumps({"seed": made["seed_url"], "text": made["text"]}))
