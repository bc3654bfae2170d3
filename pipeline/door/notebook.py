"""Progress in a notebook: one line of the cell's output that is redrawn, and notes below each other."""

from __future__ import annotations

import sys
from typing import Any

from gristmill.pipeline.run.narration.progress import Progress


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: IPython is loaded and has one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookProgress(Progress):
    """Narrate into the output of the cell that runs."""

    def __init__(self) -> None:
        super().__init__()
        from IPython.display import display

        self.live = True
        self._line = display({"text/plain": ""}, raw=True, display_id=True)

    def _draw(self, line: str) -> None:
        self._line.update(_plain(line), raw=True)

    def _print(self, line: str) -> None:
        self._draw("")
        print(line)


def _plain(line: str) -> dict[str, Any]:
    return {"text/plain": line}
