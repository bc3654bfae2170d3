"""Text that any Python holds, as documents."""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gristmill.document import DOCUMENT, document_id
from gristmill.storage import ParquetWriter
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.train import fractions, sample, text_bytes, train, wanted_bytes

TEXTS = [text for _, text in sorted(pydoc_data.topics.topics.items())]


def write_documents(path: Path, source: str, texts: list[str | None], **columns: list[float]) -> Path:
    """Write texts as documents of one source, with numeric pass-through columns."""
    rows = [
        {
            "id": document_id(source, str(n)),
            "source": source,
            "text": text,
            "origin": {"file": "f", "offset": n, "length": 1},
        }
        for n, text in enumerate(texts)
    ]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.float64()))
    with ParquetWriter(path, table.schema) as writer:
        writer.write(table)
    return path


def train_tokenizer(
    settings: TokenizerSettings,
    sources: Mapping[str, Sequence[Path]],
    proportions: Mapping[str, float],
    out: Path,
) -> dict[str, int]:
    """Measure, sample and train, as the stage does in phases; return the bytes taken per source."""
    sizes = {name: sum(text_bytes(path, 1, 0.0) for path in paths) for name, paths in sources.items()}
    chosen = fractions(settings, sizes, proportions)
    samples: dict[str, list[Path]] = {name: [] for name in sources}
    for name, paths in sources.items():
        for number, path in enumerate(paths):
            tables = list(sample(path, chosen[name], 1, 0.0))
            if tables:
                place = out.with_name(f"sample-{name}-{number}.parquet")
                with ParquetWriter(place, tables[0].schema) as writer:
                    for table in tables:
                        writer.write(table)
                samples[name].append(place)
    return train(settings, samples, wanted_bytes(chosen, sizes), out)
