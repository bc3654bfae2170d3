"""The engine on Ray Core: a bounded number of calls in flight on nodes that see what the driver sees, and run
what it runs."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gristmill
from gristmill.files.storage import write_atomic
from gristmill.files.stores import store_of
from gristmill.pipeline.run.cluster import gate
from gristmill.pipeline.run.cluster.attempts import TaskFailure
from gristmill.pipeline.run.cluster.head import Head
from gristmill.pipeline.run.cluster.nodes import NODE_LABEL, Nodes
from gristmill.pipeline.run.cluster.phase_run import PhaseRun
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.narration.watch import Watch
from gristmill.pipeline.run.settings import EngineSettings

_LOG_BYTES = 3000
_LOG_SECONDS = 5.0


class RayEngine:
    """Tasks on a cluster; Ray itself tries nothing again, so that attempts are counted in one place.

    `out` is the output folder: a probe lies there while the engine is open, which every worker looks for by
    name before its first task.
    """

    name = "ray"

    def __init__(
        self,
        ray: Any,
        settings: EngineSettings,
        out: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
        *,
        owns: bool = True,
    ) -> None:
        self.ray, self.settings, self._owns = ray, settings, owns
        self.nodes = Nodes(ray, say)
        self.probe: tuple[Path, bytes] | None = None
        if out is not None:
            self.probe = (out / f".probe-{secrets.token_hex(6)}", secrets.token_bytes(16))
            write_atomic(*self.probe)
        self.release = {
            "package": gate.PACKAGE,
            "version": gristmill.__version__,
            "source": gate.source_digest(gate.PACKAGE),
        }
        if owns and not (settings.address or os.environ.get("RAY_ADDRESS")):
            self.release["here"] = str(Path(gristmill.__file__).resolve().parent.parent)
        ray.cloudpickle.register_pickle_by_value(gate)
        self.head = Head(*_addresses(ray), own="here" in self.release)

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Watch) -> list[TaskFailure]:
        return PhaseRun(self, folder, phase, tasks, watch).work()

    @property
    def window(self) -> int:
        """Calls in flight: the CPUs of all nodes that work, as many that wait, and two, so that an autoscaler
        sees what is wanted."""
        return self.settings.window or 2 * int(self.nodes.num_cpus() or 1) + 2

    def log_tail(self, node_id: str, path: str) -> str:
        """The end of a worker's log, read on its node; empty where that is gone."""
        if not path.startswith("/") or self.head.is_lost or not self.nodes.is_up(node_id):
            return ""
        read = self.ray.remote(gate.tail_of).options(
            num_cpus=0, max_retries=0, label_selector={NODE_LABEL: f"in({node_id})"}, name="log"
        )
        try:
            return str(self.ray.get(read.remote(path, _LOG_BYTES), timeout=_LOG_SECONDS))
        except Exception:
            return ""

    def close(self) -> None:
        self.head.close()
        if self.head.is_lost:
            return  # nobody is there to say good-bye to
        if self.probe:
            with contextlib.suppress(Exception):
                store_of(self.probe[0]).remove(self.probe[0])
        if self._owns:
            self.ray.shutdown()


def _addresses(ray: Any) -> tuple[str, None, str]:
    """Where the head listens, and the raylet that this process works through."""
    context = ray.get_runtime_context()
    own: dict[str, Any] = next((node for node in ray.nodes() if node["NodeID"] == context.get_node_id()), {})
    port = own.get("NodeManagerPort")
    return context.gcs_address, None, f"{own['NodeManagerAddress']}:{port}" if port else ""
