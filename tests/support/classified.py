"""Two kinds of text that any Python holds: prose of the language reference, and source code."""

from __future__ import annotations

import json
import pydoc_data.topics
from pathlib import Path

import pyarrow as pa

from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter

TEXTS = [text for _, text in sorted(pydoc_data.topics.topics.items())]
CODE = [path.read_text("utf-8") for path in sorted(Path(json.__file__).parent.parent.glob("*.py"))[:60]]


def write_documents(path: Path, source: str, texts: list[str]) -> Path:
    """Write texts as documents of one source."""
    rows = [
        {
            "id": document_id(source, str(n)),
            "source": source,
            "text": text,
            "origin": {"file": "f", "offset": n, "length": 1},
        }
        for n, text in enumerate(texts)
    ]
    with ParquetWriter(path, DOCUMENT) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=DOCUMENT))
    return path
