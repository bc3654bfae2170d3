"""The house stands as drawn: parts at the root, one link each, nothing that shadows the standard library."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("pipeline", "filters", "dedup", "classifiers", "tokenize", "trainer")
HIDDEN = [
    "datasketch", "datatrove", "fastwarc", "fsspec", "numba", "orjson", "pyarrow", "pydantic", "ray",
    "resiliparse", "rich", "safetensors", "scipy", "sentencepiece",
]  # fmt: skip
HIDDEN += ["sklearn", "tokenizers", "trafilatura", "transformers", "typer", "yaml"]
FLOOR = {"errors", "hashing", "document", "files", "manifest", "ledger", "index", "text"}
FLOOR |= {
    "overrides", "urls", "yaml12",
    "token_shards", "tokenizer_files", "literals", "pins",
    "cards", "damage", "fasttext_file", "redact", "facts", "splitmix", "arrays", "entries",
}  # fmt: skip


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def imported(path: Path) -> set[str]:
    """Every module a file imports, at any depth of the code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_each_part_is_a_folder_with_one_relative_link_and_no_init() -> None:
    links = {path.name: str(path.readlink()) for path in (ROOT / "gristmill").iterdir() if path.is_symlink()}
    assert links == {part: f"../{part}" for part in PARTS}
    for part in PARTS:
        assert (ROOT / part).is_dir()
        assert not list((ROOT / part).rglob("__init__.py")), f"{part}/ must not become a package of its own"


def test_the_standard_librarys_tokenize_is_found_at_the_root() -> None:
    code = (
        "import tokenize, inspect; tokenize.open; inspect.signature(len); import gristmill.tokenize.settings"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("part", [part for part in PARTS if part != "pipeline"])
def test_a_part_imports_no_other_part(part: str) -> None:
    others = tuple(f"gristmill.{other}." for other in PARTS if other != part)
    for path in modules(ROOT / part):
        wrong = sorted(name for name in imported(path) if f"{name}.".startswith(others))
        assert not wrong, (
            f"{path.relative_to(ROOT)} imports {wrong}: parts stand side by side,"
            " only pipeline/ sees them all"
        )


def test_the_ground_floor_imports_nothing_from_above() -> None:
    door = ROOT / "gristmill" / "__init__.py"  # it names what lies above, and imports it when asked
    for path in [
        *(ROOT / "gristmill").glob("*.py"),
        *modules(ROOT / "gristmill" / "text"),
        *modules(ROOT / "gristmill" / "files"),
    ]:
        if path == door:
            continue
        above = sorted(
            name
            for name in imported(path)
            if name.startswith("gristmill.") and name.split(".")[1] not in FLOOR
        )
        assert not above, f"{path.relative_to(ROOT)} imports {above}"


def test_only_the_engine_imports_ray() -> None:
    users = [
        path.relative_to(ROOT).as_posix()
        for part in PARTS
        for path in modules(ROOT / part)
        if _uses(path, "ray")
    ]
    assert users == ["pipeline/run/engine.py"]


def test_the_trainer_starts_with_torch_and_numpy_alone() -> None:
    """Import every module of the trainer with all other third-party packages hidden."""
    names = [
        ".".join(("gristmill", *path.relative_to(ROOT).with_suffix("").parts))
        for path in modules(ROOT / "trainer")
    ]
    code = (
        "import sys, importlib, torch, numpy\n"
        # None there makes an import fail as if the package were absent
        f"sys.modules.update(dict.fromkeys({HIDDEN!r}))\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_every_part(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), "."],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = tmp_path.glob("gristmill-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    missing = [f"gristmill/{p.relative_to(ROOT).as_posix()}" for part in PARTS for p in modules(ROOT / part)]
    assert not [name for name in missing if name not in packed]


def _uses(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in imported(path))
