"""What the benches of filters share: real texts as documents, and what a result says of the machine and the
command."""

from __future__ import annotations

import gzip
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from gristmill.document import DOCUMENT, document_id


def read_texts(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        with gzip.open(path, "rt") as file:
            for line in file:
                row = json.loads(line)
                text = row.get("text") or row.get("gold_text")
                if text:
                    yield text.encode("utf-8", "replace").decode()
    if not paths:
        import pydoc_data.topics

        yield from pydoc_data.topics.topics.values()


def documents(texts: list[str]) -> pa.Table:
    rows = len(texts)
    origin = {"file": "bench", "offset": 0, "length": 0}
    return pa.table(
        {
            "id": [document_id("bench", str(number)) for number in range(rows)],
            "url": [None] * rows,
            "source": ["bench"] * rows,
            "date": [None] * rows,
            "text": texts,
            "language": [None] * rows,
            "language_score": [None] * rows,
            "origin": [origin] * rows,
        },
        schema=DOCUMENT,
    )


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"one core of {os.cpu_count()}, {model}, {memory:.0f} GiB"


def plain_argument(argument: str) -> str:
    """Name a file without the folders of this machine, an interpreter as the help does."""
    name = Path(argument).name
    return "PYTHON" if name.startswith("python") else name
