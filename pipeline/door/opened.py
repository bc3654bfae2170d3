"""A run in Python: its steps and funnel, its documents as Arrow, and the life of any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import UsageError
from gristmill.files.location import location
from gristmill.manifest import Manifest
from gristmill.pipeline.door.rows import Rows
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.records.final import SourceFiles, final_documents, outlet

if TYPE_CHECKING:
    from gristmill.pipeline.look.document.life import Life
    from gristmill.pipeline.look.document.tracing import Traced
    from gristmill.pipeline.look.funnel import Funnel
    from gristmill.pipeline.look.reading import RunView
    from gristmill.trainer.data.shards import ShardSet


def open_run(path: str | Path) -> OpenRun:
    """Open a run's output folder, finished or not; raises UsageError where there is none."""
    return OpenRun(location(str(path)))


class OpenRun:
    """A run's output, read when asked: every call sees what is finished by then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        finished_steps(path)  # says at once where there is no run

    @property
    def manifests(self) -> Mapping[str, Manifest]:
        """The manifests of finished steps, by name, in the order they ran."""
        return finished_steps(self.path)

    @property
    def view(self) -> RunView:
        """The run as reports see it: state, steps with their totals, problems."""
        from gristmill.pipeline.look.reading import read_view

        return read_view(self.path)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """A row per step: name, state, documents in and out, seconds."""
        from gristmill.pipeline.look.live import read_status

        return list(read_status(self.path)["steps"])

    @property
    def funnel(self) -> Funnel:
        """What entered, and what was left after every stage, over all sources."""
        from gristmill.pipeline.look.funnel import build_funnel

        return build_funnel(self.view)

    def documents(self, source: str | None = None) -> Rows:
        """The documents that the run ends with, of one source or all."""
        return self._rows(final_documents(self.manifests), source)

    def removed(self, source: str | None = None, *, rule: str | None = None, step: str | None = None) -> Rows:
        """Documents that were removed, with rule, value and bound; by one rule or in one step, if named."""
        parts = [part for part in outlet(self.manifests, "removed") if step in (None, part.step)]
        return self._rows(parts, source, _with_rule(rule) if rule else None)

    def failed(self, source: str | None = None) -> Rows:
        """Records that could not be turned into documents, with error, file and offset."""
        return self._rows(outlet(self.manifests, "failed"), source)

    def cells(self) -> pa.Table:
        """Topic by quality: a row for each source, topic and bucket, with documents, bytes, tokens where they
        are encoded, and the weight and tokens `taken` where a mixture weighs cells."""
        from gristmill.pipeline.look.cells import CELL_ROWS, cell_rows

        return pa.Table.from_pylist(cell_rows(self.manifests), schema=CELL_ROWS)

    def decisions(self, step: str) -> Rows:
        """What a step decided: a row for every document that came to it."""
        manifest = self._step(step)
        if not manifest.named("decisions"):
            with_some = [name for name, other in self.manifests.items() if other.named("decisions")]
            raise UsageError(
                f"the step `{step}` keeps no decisions", hint=f"these do: {', '.join(with_some)}"
            )
        return Rows(manifest.paths("decisions"))

    def why(self, asked: str) -> Life:
        """The life of a document named by id, URL or a piece of its text, step by step."""
        from gristmill.pipeline.look.document.life import look_up

        return look_up(self.path, asked)

    def trace(self, token: str, split: str = "train") -> Traced:
        """From a token, `SHARD:NUMBER` such as 00000:1234, back to its document and record."""
        from gristmill.pipeline.look.document.tracing import trace_token

        return trace_token(self.path, split, token)

    def shards(self, split: str = "train") -> ShardSet:
        """The token shards of a split, memory-mapped."""
        from gristmill.pipeline.look.document.tracing import shard_folder
        from gristmill.trainer.data.shards import ShardSet

        return ShardSet(shard_folder(self.path, split))

    def _step(self, name: str) -> Manifest:
        if name not in self.manifests:
            raise UsageError(
                f"the run has no finished step `{name}`", hint=f"it has {', '.join(self.manifests)}"
            )
        return self.manifests[name]

    def _rows(self, parts: Sequence[SourceFiles], source: str | None, keep: Any = None) -> Rows:
        known = {part.source for part in final_documents(self.manifests)} | {part.source for part in parts}
        if source is not None and source not in known:
            raise UsageError(f"the run has no source `{source}`", hint=f"it has {', '.join(sorted(known))}")
        files = [path for part in parts if source in (None, part.source) for path, _ in part.files]
        return Rows(files, keep=keep)

    def __repr__(self) -> str:
        return f"OpenRun({str(self.path)!r}, {len(self.manifests)} steps finished)"


def _with_rule(rule: str) -> Any:
    def keep(table: pa.Table) -> pa.Table:
        lists = table.column("rules").combine_chunks()
        named = pc.equal(pc.list_flatten(lists), rule)
        rows = pc.filter(pc.list_parent_indices(lists), pc.fill_null(named, False))
        return table.take(pc.unique(rows))

    return keep
