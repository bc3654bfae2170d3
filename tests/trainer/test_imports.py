"""The trainer's modules form no circle, not even by imports inside functions."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imports() -> dict[str, set[str]]:
    """Return which modules of the trainer each of them imports, at any depth of the code."""
    names = {
        ".".join(("gristmill", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in (ROOT / "trainer").rglob("*.py")
    }
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found[name] |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
        found[name] &= names.keys()
    return found


def test_no_module_of_the_trainer_imports_itself_over_others() -> None:
    left = imports()
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert not left, f"these import each other in a circle: {sorted(left)}"


def test_settings_are_checked_without_torch() -> None:
    """A recipe's `train` section is checked by the CLI, whose start must not wait for torch."""
    code = "import sys, gristmill.trainer.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
