"""Everything that decides bytes is in the identity: the imports of each stage, walked in a process of its
own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.pipeline.run.stage import kinds

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "reads settings; what they say is in the identity"
LOADED = "loaded by a library of the stage for a part of it that no stage calls"
NETWORK = "moves bytes that are checked where they arrive"
SHOWS = "shows things to people"
HARMLESS = {
    **dict.fromkeys(
        ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "pyyaml"), SETTINGS
    ),
    **dict.fromkeys(
        ("typing-extensions", "packaging", "setuptools", "six", "zipp", "attrs"), "types, versions"
    ),
    **dict.fromkeys(("importlib-metadata", "colorama", "google-api-core", "google-auth"), LOADED),
    **dict.fromkeys(("awkward", "awkward-cpp", "lazy-importer", "pandas", "narwhals", "joblib"), LOADED),
    **dict.fromkeys(("threadpoolctl", "defusedxml", "pytz", "cloudpickle", "dill", "psutil"), LOADED),
    **dict.fromkeys(("googleapis-common-protos", "protobuf", "msgpack", "jsonpointer", "jsonschema"), LOADED),
    **dict.fromkeys(("jsonschema-specifications", "referencing", "rfc3339-validator", "rpds-py"), LOADED),
    **dict.fromkeys(("mpmath", "sympy", "filelock", "huggingface-hub", "humanize", "pycparser"), LOADED),
    **dict.fromkeys(("fsspec", "urllib3", "certifi", "requests", "idna", "anyio", "h11"), NETWORK),
    **dict.fromkeys(("httpcore2", "httpx2", "truststore", "httpx", "httpcore", "hf-xet", "sniffio"), NETWORK),
    **dict.fromkeys(("aiohttp", "aiohappyeyeballs", "aiosignal", "frozenlist", "multidict"), NETWORK),
    **dict.fromkeys(("propcache", "yarl"), NETWORK),
    **dict.fromkeys(("rich", "tqdm", "loguru", "shellingham", "typer", "click"), SHOWS),
    "cffi": "calls C libraries, which are named themselves",
    "llvmlite": "pinned to one release by numba, which is named",
    "ray": "places tasks; what they write does not depend on where",
    "gristmill": "the project itself: a stage's version says when its bytes change",
}
# These shape bytes in the stages that use them; others load them by way of fsspec or of a library.
ELSEWHERE = {
    **dict.fromkeys(("isal", "lz4", "zstandard", "brotli", "chardet"), ("extract",)),
    **dict.fromkeys(("charset-normalizer", "python-dateutil", "babel", "tld"), ("extract",)),
    **dict.fromkeys(("regex", "nltk"), ("filter", "recut")),
    "scikit-learn": ("classify-train", "classify-score"),
    "datatrove": ("filter", "recut", "dedup-exact", "dedup-fuzzy", "dedup-pieces"),
    "xxhash": ("filter", "recut", "dedup-exact", "dedup-fuzzy", "dedup-pieces"),
    "pyarrow": tuple(name for name in kinds() if name != "train"),
    "orjson": tuple(name for name in kinds() if name != "train"),
    "numba": tuple(name for name in kinds() if name not in ("train", "adopt")),
    "scipy": tuple(name for name in kinds() if name not in ("train", "adopt")),
}


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def undeclared(stage: str) -> list[str]:
    """The distributions that a stage loads which are neither declared nor known to be harmless."""
    command = [sys.executable, "-m", "tests.support.stage_imports", stage]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    loaded = {plain(name) for name in json.loads(done.stdout.splitlines()[-1])}
    declared = {plain(name) for name in kinds()[stage].libraries}
    harmless = {*HARMLESS, *(name for name, stages in ELSEWHERE.items() if stage not in stages)}
    return sorted(loaded - declared - harmless)


@pytest.mark.parametrize(
    "stage",
    [name if name in ("extract", "mix") else pytest.param(name, marks=pytest.mark.slow) for name in kinds()],
)
def test_every_distribution_that_a_stage_imports_is_declared_or_known_to_be_harmless(stage: str) -> None:
    assert undeclared(stage) == []


@pytest.mark.parametrize(
    ("stage", "libraries"),
    [
        ("extract", {"htmldate", "courlan", "justext", "brotli", "zstandard", "numpy"}),
        ("filter", {"datatrove", "pyahocorasick", "xxhash", "fasttext-modern", "numpy"}),
        ("encode", {"tiktoken", "tokenizers", "sentencepiece", "numpy"}),
        ("dedup-fuzzy", {"numpy", "xxhash", "scipy"}),
    ],
)
def test_what_shapes_a_stage_s_bytes_is_named(stage: str, libraries: set[str]) -> None:
    assert libraries <= set(kinds()[stage].libraries)
