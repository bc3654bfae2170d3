"""Indexes of earlier runs: finding them, checking that they fit, and writing the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.dedup import index
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.errors import StaleError, UsageError
from gristmill.facts import Counts
from gristmill.files.disk import copy_file
from gristmill.files.location import location
from gristmill.files.storage import FileEntry
from gristmill.hashing import sha256_json
from gristmill.manifest import MANIFEST, Manifest, TaskRecord, find_manifest, put_manifest, read_manifest
from gristmill.pipeline.phases.dedup.samples import Members
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.job import Attempt, Job, Phase, Task
from gristmill.pipeline.stages.dedup import FuzzySlice, IndexFacts


@dataclass(frozen=True, slots=True)
class Indexed(Counts):
    """A shard's survivors and their band keys."""

    documents: int = 0
    band_keys: int = 0


@dataclass(frozen=True, slots=True)
class OldShard:
    """The index of one shard of an earlier run, its rows numbered after all of this run's."""

    bands: str
    members: str
    first_row: int
    num_keys: int
    num_rows: int
    names: str | None  # absent in an index that an earlier release wrote
    corpus: str


def indexes(settings: FuzzySettings) -> list[Manifest]:
    """Find the steps whose indexes a run compares against: those named and, first, those that they compared
    against.

    Raises UsageError where there is none or where it was made with other shingles.
    """
    found: dict[Path, Manifest] = {}
    for folder in settings.against:
        for manifest in _indexed(location(folder)):
            stated = manifest.stated(IndexFacts)
            made = {**settings.shingling, **stated.index}
            if made != settings.shingling:
                other = ", ".join(
                    f"{name} {made[name]}" for name in made if made[name] != settings.shingling[name]
                )
                raise UsageError(
                    f"the index in `{folder}` cannot be compared with: it was made with {other}",
                    hint="use the same settings, or deduplicate its documents again",
                )
            earlier = settings.model_copy(update={"against": tuple(stated.against)})
            found |= {old.folder.resolve(): old for old in indexes(earlier)}
            found[manifest.folder.resolve()] = manifest
    return list(found.values())


def _indexed(folder: Path) -> Iterator[Manifest]:
    published = sorted(folder.glob(f"indexes/*/{MANIFEST}"))
    if (folder / MANIFEST).exists():
        manifests = [read_manifest(folder)]
    elif published:
        manifests = [read_manifest(path.parent) for path in published]
    else:
        manifests = list(finished_steps(folder).values())
    found = [manifest for manifest in manifests if "index" in manifest.extra]
    if not found:
        raise UsageError(
            f"`{folder}` holds no index of a deduplication",
            hint="run the earlier deduplication with `--index` (`fuzzy.index: true`)",
        )
    yield from found


def planned_indexes(settings: FuzzySettings) -> list[tuple[str, str]]:
    """The steps whose indexes a run compares against as a plan carries them: their folders and digests."""
    return [(str(manifest.folder), manifest.content_digest) for manifest in indexes(settings)]


def index_digest(planned: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What a step that compares against indexes depends on besides its settings."""
    return {"against": sha256_json([digest for _, digest in planned])} if planned else {}


def _as_planned(folder: str, digest: str) -> Manifest:
    """Open an index that was planned with; raises StaleError for another one in its place."""
    manifest = find_manifest(location(folder))
    if manifest is None or manifest.content_digest != digest:
        raise StaleError(
            f"the index in `{folder}` is not the one that the run was planned with",
            hint="run again: what depends on it is planned anew, all else is reused",
        )
    return manifest


def old_shards(planned: Sequence[tuple[str, str]], first_row: int) -> list[OldShard]:
    """The shards of the indexes that a run was planned with, whatever has come to their folders since."""
    shards = []
    for manifest in (_as_planned(*each) for each in planned):
        named: list[FileEntry | None] = [*manifest.named("index-names")]
        files = zip(
            manifest.named("index-bands"),
            manifest.named("index-members"),
            named or [None] * len(manifest.named("index-bands")),
            strict=True,
        )
        for bands, members, names in files:
            paths = [
                str((manifest.folder / entry.path).resolve()) if entry else None
                for entry in (bands, members, names)
            ]
            place = (first_row, bands.rows, members.rows)
            shards.append(OldShard(str(paths[0]), str(paths[1]), *place, paths[2], corpus_of(manifest)))
            first_row += members.rows
    return shards


def corpus_of(manifest: Manifest) -> str:
    """Name the corpus that an index is of: as published, else the output folder of its run."""
    return manifest.stated(IndexFacts).corpus or manifest.folder.resolve().parent.parent.name


def publish_index(out: str, target: Path, corpus: str | None = None) -> int:
    """Copy the indexes of a run, and of those that it compared against, without any text; return their
    bytes."""
    found = indexes_of(out)
    size = 0
    for number, manifest in enumerate(found):
        folder = target / "indexes" / f"{number:03d}"
        entries = [entry for entry in manifest.files if entry.kind.startswith("index-")]
        for entry in entries:
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            copy_file(manifest.folder / entry.path, folder / entry.path)
            size += entry.bytes
        last = number == len(found) - 1
        name = corpus if corpus and last else corpus_of(manifest)
        extra = IndexFacts(manifest.stated(IndexFacts).index, [], name).as_json()
        ingredients = {"published": manifest.identity}
        put_manifest(
            Manifest(folder, manifest.step, manifest.identity, ingredients, entries, [], None, extra)
        )
    return size


def indexes_of(folder: str) -> list[Manifest]:
    """The indexes in a folder, each as it was made, after those that it compared against."""
    found: dict[Path, Manifest] = {}
    for manifest in _indexed(location(folder)):
        for earlier in manifest.stated(IndexFacts).against:
            found |= {old.folder.resolve(): old for old in indexes_of(earlier)}
        found[manifest.folder.resolve()] = manifest
    return list(found.values())


def gather_phase(old: Sequence[OldShard], components: list[str]) -> Phase:
    arguments = [{"shard": shard, "components": components} for shard in old]
    return Phase(
        "gather-old", [Task(f"{number:05d}", gather_old, each) for number, each in enumerate(arguments)]
    )


def gather_old(task: Attempt[FuzzySlice], shard: OldShard, components: list[str]) -> None:
    out = task.scratch / "members.run"
    paths = [Path(path) for path in components]
    found = index.gather_index(Path(shard.members), shard.first_row, shard.num_rows, paths, out)
    members = Members(**found)
    task.record.state(members)
    task.publish(out, "members", members.members)


def index_phase(job: Job[FuzzySlice], applied: Sequence[TaskRecord]) -> Phase:
    tasks = []
    for number, record in enumerate(applied):
        (documents,), (decisions,) = record.named("documents"), record.named("decisions")
        paths = {"documents": str(job.folder / documents.path), "decisions": str(job.folder / decisions.path)}
        tasks.append(Task(f"{number:05d}", index_file, paths))
    return Phase("index", tasks)


def index_file(task: Attempt[FuzzySlice], documents: str, decisions: str) -> None:
    bands, members = task.scratch / "bands.run", task.scratch / "members.run"
    names = task.scratch / "names.parquet"
    places = (Path(documents), Path(decisions), bands, members, names)
    indexed = Indexed(**index.index_shard(task.settings.fuzzy, *places))
    task.record.state(indexed)
    task.publish(names, "index-names", indexed.documents)
    task.publish(bands, "index-bands", indexed.band_keys)
    task.publish(members, "index-members", indexed.documents)
