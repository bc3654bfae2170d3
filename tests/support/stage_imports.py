"""What the code of a stage imports, at any depth: run as `python -m tests.support.stage_imports STAGE`.

Follows imports, also those inside functions, through gristmill's own modules, imports what they name from
outside, and prints as JSON the distributions whose modules are loaded then. Imports for the type checker are
none, and functions of declarations (pipeline/stages) plan steps, which writes no bytes.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import sys
from contextlib import suppress
from pathlib import Path

from gristmill.filters.presets import PRESETS
from gristmill.pipeline.run.stage import kinds

# What a stage starts in another process, or names as text.
_MEASURING = [
    f"gristmill.filters.published.{preset.measured_by.partition(':')[0]}" for preset in PRESETS.values()
]
STARTS = {
    "filter": _MEASURING,
    "recut": _MEASURING,
    "extract": ["gristmill.pipeline.extract.worker_main"],
    "classify-train": ["gristmill.classifiers.quality.fasttext_child"],
    "train": ["gristmill.trainer.train"],
}


def names_in(path: Path) -> set[str]:
    """Every module that a file imports, and every name it imports from one, as dotted names."""
    found, tree = set(), ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and _for_the_checker(node))]
    for node in tree.body if path.parent.name == "stages" else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _for_the_checker(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def closure(start: list[str]) -> set[str]:
    """The modules from outside that gristmill's own modules reach from these."""
    own, outside, waiting = set(), set(), list(start)
    while waiting:
        name = waiting.pop()
        if name in own:
            continue
        own.add(name)
        with suppress(ModuleNotFoundError):
            spec = importlib.util.find_spec(name)
            if spec is None or not spec.origin or not spec.origin.endswith(".py"):
                continue
            for other in names_in(Path(spec.origin)):
                if other.startswith("gristmill"):
                    waiting.append(other)
                else:
                    outside.add(other)
    return outside


def main(stage: str) -> None:
    outside = closure([kinds()[stage].work.partition(":")[0], *STARTS.get(stage, [])])
    for name in sorted(outside):
        with suppress(ImportError):  # an attribute, or a library that is not installed
            importlib.import_module(name)
    owners = importlib.metadata.packages_distributions()
    loaded = {name.partition(".")[0] for name in list(sys.modules)}
    print(json.dumps(sorted({owner for name in loaded for owner in owners.get(name, ())})))


if __name__ == "__main__":
    main(sys.argv[1])
