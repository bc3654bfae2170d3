"""Which documents a run ends with: for each source, those of the last step that wrote some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gristmill.files.storage import FileEntry
from gristmill.manifest import Manifest
from gristmill.pipeline.run.folder import decides_on_documents


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files of one source in one step."""

    source: str
    step: str
    files: tuple[tuple[Path, FileEntry], ...]


def final_documents(manifests: Mapping[str, Manifest]) -> list[SourceFiles]:
    """Return, source by source, the kept documents that no later step has taken further; raises UsageError
    where these were handed on, so that no file holds them.

    A source all of whose tasks a step has lost ends there, with no file: what the step before kept was never
    decided on.
    """
    last: dict[str, str] = {}
    ended: dict[str, Manifest] = {}
    for name, manifest in manifests.items():
        here = (*lost_whole(manifest, ended), *manifest.sources("documents"))
        last |= dict.fromkeys(here, name)
        ended |= dict.fromkeys(here, manifest)
    return [
        SourceFiles(
            source,
            name,
            tuple((manifests[name].folder / entry.path, entry) for entry in manifests[name].written(source)),
        )
        for source, name in last.items()
    ]


def lost_whole(manifest: Manifest, ended: Mapping[str, Manifest]) -> list[str]:
    """The sources of which a step over documents has lost what it read, and kept nothing; `ended` says with
    which step each source ended so far."""
    inputs = {name for fact in manifest.lost for name in fact.get("inputs", ())}
    if not inputs or not decides_on_documents(manifest.step):
        return []
    kept = manifest.sources("documents")
    return [
        source
        for source, before in ended.items()
        if source not in kept
        and any(entry.source == source and Path(entry.path).name in inputs for entry in before.shards())
    ]


def outlet(manifests: Mapping[str, Manifest], kind: str) -> list[SourceFiles]:
    """Return the `removed` or `failed` files of every step and source, in the order documents met them."""
    return [
        SourceFiles(
            source,
            name,
            tuple(
                (manifest.folder / entry.path, entry)
                for entry in manifest.named(kind)
                if entry.source == source
            ),
        )
        for name, manifest in manifests.items()
        for source in manifest.sources(kind)
    ]
