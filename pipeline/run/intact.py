"""Whether the files of a finished step are there, before another step is begun that reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gristmill.damage import mending
from gristmill.errors import IntegrityError
from gristmill.files.location import RemotePath
from gristmill.files.storage import FileEntry
from gristmill.hashing import sha256_file
from gristmill.manifest import MANIFEST, Manifest
from gristmill.pipeline.run.step import identity

_OUTLETS = ("removed", "failed")  # kept for people, read by no step


def check_intact(manifests: Mapping[str, Manifest], checked: set[Path]) -> None:
    """Raise IntegrityError where a file of these steps is missing, has another size or, of a model, tokenizer
    or shard, another digest.

    `checked` holds the folders that were looked at in this run. Other files say by their pages' checksums, or
    by the digest in their names, that they are damaged: when they are read.
    """
    for name, manifest in manifests.items():
        if manifest.folder in checked:
            continue
        checked.add(manifest.folder)
        for path, problem in _off(manifest):
            raise IntegrityError(
                f"the finished step `{name}` is not whole: `{path}` {problem}",
                hint=mending(manifest.folder),
            )


def check_identity(name: str, manifest: Manifest, key: str) -> None:
    """Raise IntegrityError where the manifest in a step's folder is of another step, or of other ingredients
    than its identity says."""
    if manifest.identity == key and identity(manifest.ingredients) == key:
        return
    raise IntegrityError(
        f"the finished step `{name}` is not what its folder says: the manifest is of identity"
        f" {manifest.identity[:12]}..., made from ingredients of {identity(manifest.ingredients)[:12]}...",
        where=str(manifest.folder / MANIFEST),
        hint=mending(manifest.folder),
    )


def _off(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    entries = [entry for entry in manifest.files if entry.kind.partition("-")[0] not in _OUTLETS]
    sizes = _remote_sizes(manifest.folder) if isinstance(manifest.folder, RemotePath) else None
    for entry in entries:
        path = manifest.folder / entry.path
        size = _size(path) if sizes is None else sizes.get(str(path))
        if size is None:
            yield path, "is missing"
        elif size != entry.bytes:
            yield path, f"has {size:,} bytes, its manifest says {entry.bytes:,}"
        elif sizes is None and _is_fixed(entry) and sha256_file(path) != entry.sha256:
            yield path, "is damaged: it does not hash to what its manifest says"


def _is_fixed(entry: FileEntry) -> bool:
    """Whether a file has a name that others look for, and so none that carries its digest."""
    return not entry.path.startswith("data/")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remote_sizes(folder: RemotePath) -> dict[str, int]:
    return {url: info.size for url, info in folder.store.walk(folder).items()}
