"""Topic by quality: what each cell of a run holds, and how often the mixture takes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.cells import Cells
from gristmill.errors import UsageError
from gristmill.manifest import Manifest
from gristmill.pipeline.look.printing.figures import count, short
from gristmill.pipeline.look.printing.tables import print_table
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.stages.quality import QualityFacts
from gristmill.pipeline.stages.tokenizer import EncodeFacts
from gristmill.pipeline.stages.topics import TopicsFacts, TopicsTrainFacts

CELL_ROWS = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("topic", pa.string()),
        pa.field("bucket", pa.int64()),
        pa.field("documents", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("tokens", pa.int64()),
        pa.field("weight", pa.float64()),
        pa.field("taken", pa.int64()),
    ]
)
PARTS = 5  # of the buckets, side by side on a terminal


def cell_rows(manifests: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """A row for each source, topic and bucket: documents and bytes as ranked; tokens where they are encoded,
    and what the mixture takes, else null."""
    encoded = dict(_stated(manifests, "encode", EncodeFacts))
    mixed = [manifest.stated(MixFacts) for manifest in _of(manifests, "mix")]
    taken = mixed[-1].cells if mixed else {}
    rows = []
    for source, cells in _ranked(manifests):
        tokens = encoded[source].cells or {} if source in encoded else {}
        for topic, buckets in cells.items():
            for bucket, (documents, num_bytes) in buckets.items():
                own = taken.get(source, {}).get(topic, {}).get(bucket, {})
                rows.append(
                    {
                        "source": source,
                        "topic": topic,
                        "bucket": int(bucket),
                        "documents": documents,
                        "bytes": num_bytes,
                        "tokens": tokens.get(topic, {}).get(bucket, [0, None])[1],
                        "weight": own.get("weight"),
                        "taken": own.get("taken"),
                    }
                )
    return rows


def _ranked(manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, Cells]]:
    """Each source's cells: those of its last ranking, or its topics alone where nothing ranks it."""
    found: dict[str, Cells] = {}
    for source, topics in _stated(manifests, "topics", TopicsFacts):
        found[source] = {name: {"0": counts} for name, counts in topics.topics.items()}
    for source, quality in _stated(manifests, "quality", QualityFacts):
        found[source] = quality.cells
    yield from found.items()


def _of(manifests: Mapping[str, Manifest], stage: str) -> list[Manifest]:
    return [manifest for manifest in manifests.values() if manifest.ingredients["stage"] == stage]


def _stated(manifests: Mapping[str, Manifest], stage: str, kind: Any) -> Iterator[tuple[str, Any]]:
    for manifest in _of(manifests, stage):
        yield manifest.step.partition("/")[2], manifest.stated(kind)


def print_topics(out: Path) -> None:
    """Print the topics that a run learned, with their telling words, then its cells."""
    manifests = finished_steps(out)
    for manifest in _of(manifests, "topics-train"):
        facts = manifest.stated(TopicsTrainFacts)
        steady = (
            "" if facts.stability is None else f"; halves of them agree by {facts.stability:.2f} and more"
        )
        print(f"\n{len(facts.topics)} topics of {facts.documents:,} documents{steady}:")
        rows = [[topic["name"], f"{topic['share']:.1%}", " ".join(topic["words"])] for topic in facts.topics]
        print_table(["topic", "share", "telling words"], rows, right=(1,))
    print_cells(out)


def print_cells(out: Path) -> None:
    """Print topic by quality, a table for each source: documents, text or tokens, and these by fifths of the
    buckets from the lowest; with a mixture, how often each fifth is taken."""
    rows = cell_rows(finished_steps(out))
    if not rows:
        raise UsageError(
            f"`{out}` has no cells: neither topics nor quality buckets",
            hint="a recipe gets them by its sections `topics` and `quality`",
        )
    for source in dict.fromkeys(row["source"] for row in rows):
        mine = [row for row in rows if row["source"] == source]
        unit = "bytes" if any(row["tokens"] is None for row in mine) else "tokens"
        print()
        head = [source, "documents", unit, *part_names(mine)]
        print_table(head, list(_lines(mine, unit)), right=range(1, len(head)))
        if any(row["taken"] is not None for row in mine):
            print()
            head = [f"{source}, times taken", "all", *part_names(mine)]
            print_table(head, list(_lines_taken(mine)), right=range(1, len(head)))


def part_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fifths of the buckets by the buckets in them; nothing where there is one bucket."""
    return [f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts_of(rows)]


def parts_of(rows: Sequence[Mapping[str, Any]]) -> list[range]:
    number = 1 + max(row["bucket"] for row in rows)
    if number == 1:
        return []
    edges = [number * part // PARTS for part in range(PARTS + 1)] if number > PARTS else range(number + 1)
    return [range(first, last) for first, last in itertools.pairwise(edges)]


def topics_in(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Rows by topic, that of most bytes first; all of them at the end where there are several."""
    names = sorted(
        {row["topic"] for row in rows},
        key=lambda name: (-sum(row["bytes"] for row in rows if row["topic"] == name), name),
    )
    found = [(name or "all", [row for row in rows if row["topic"] == name]) for name in names]
    return [*found, ("all", list(rows))] if len(names) > 1 else found


def _lines(rows: Sequence[Mapping[str, Any]], unit: str) -> Iterator[list[str]]:
    for name, own in topics_in(rows):
        parts = [sum(row[unit] for row in own if row["bucket"] in part) for part in parts_of(rows)]
        documents, size = (sum(row[what] for row in own) for what in ("documents", unit))
        yield [name, count(documents), short(size), *(short(part) if part else "" for part in parts)]


def _lines_taken(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, own in topics_in(rows):
        parts = [times([row for row in own if row["bucket"] in part]) for part in parts_of(rows)]
        yield [name, times(own), *parts]


def times(rows: Sequence[Mapping[str, Any]]) -> str:
    """How often tokens of some cells are taken, on average."""
    held = sum(row["tokens"] or 0 for row in rows)
    return f"{sum(row['taken'] or 0 for row in rows) / held:.2f}" if held else ""
