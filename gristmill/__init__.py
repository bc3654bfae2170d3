"""Crawl in, trained model out: a web-scale pretraining data pipeline on Ray, with its trainer.

    import gristmill

    gristmill.extract(html, "https://example.org/a").text
    gristmill.filter_documents(texts, presets=["gopher", "c4-code"]).kept.to_pandas()
    gristmill.deduplicate(texts).kept
    done = gristmill.run("recipe.yaml", out="out/web")
    done.removed(rule="gopher.words").to_pandas()
    gristmill.TokenDataset("out/web", context=2048)

docs/python.md shows each. What a name needs is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lies.
_PLACES = {
    "Deduplicated": "gristmill.pipeline.door.texts",
    "Filtered": "gristmill.pipeline.door.texts",
    "GristmillError": "gristmill.errors",
    "OpenRun": "gristmill.pipeline.door.opened",
    "Rows": "gristmill.pipeline.door.rows",
    "TokenDataset": "gristmill.trainer.data.dataset",
    "deduplicate": "gristmill.pipeline.door.texts",
    "extract": "gristmill.pipeline.door.texts",
    "filter_documents": "gristmill.pipeline.door.texts",
    "open_run": "gristmill.pipeline.door.opened",
    "run": "gristmill.pipeline.door.running",
    "train": "gristmill.pipeline.door.running",
}
__all__ = [
    "Deduplicated", "Filtered", "GristmillError", "OpenRun", "Rows", "TokenDataset", "__version__",
    "deduplicate", "extract", "filter_documents", "open_run", "run", "train",
]  # fmt: skip

if TYPE_CHECKING:
    from gristmill.errors import GristmillError
    from gristmill.pipeline.door.opened import OpenRun, open_run
    from gristmill.pipeline.door.rows import Rows
    from gristmill.pipeline.door.running import run, train
    from gristmill.pipeline.door.texts import Deduplicated, Filtered, deduplicate, extract, filter_documents
    from gristmill.trainer.data.dataset import TokenDataset


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module `gristmill` has no attribute `{name}`")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
