"""Text that any Python holds, as documents."""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.training.train import fractions, sample_words, text_bytes, train
from gristmill.tokenize.training.wordcount import add_counts

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
    sizes = {path: text_bytes(path, 1, 0.0) for paths in sources.values() for path in paths}
    by_source = {name: sum(sizes[path] for path in paths) for name, paths in sources.items()}
    chosen = fractions(settings, by_source, proportions)
    counted, taken = [], dict.fromkeys(sources, 0)
    for name, paths in sources.items():
        for path in paths:
            words, num_bytes = sample_words(path, chosen[name], sizes[path], 1, 0.0)
            counted.append(words)
            taken[name] += num_bytes
    train(settings, add_counts(counted), out)
    return taken
