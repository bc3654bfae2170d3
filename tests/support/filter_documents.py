"""Documents for filter tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from gristmill.document import DOCUMENT, document_id


def documents(texts: Sequence[str | None], language: str | None = "en", **columns: Any) -> pa.Table:
    rows = len(texts)
    origin = {"file": "crawl.warc.gz", "offset": 0, "length": 1}
    values = {
        "id": [document_id("web", str(number)) for number in range(rows)],
        "url": [f"https://example.org/{number}" for number in range(rows)],
        "source": ["web"] * rows,
        "date": [None] * rows,
        "text": texts,
        "language": [language] * rows,
        "language_score": [1.0] * rows,
        "origin": [origin] * rows,
    }
    return pa.table({**values, **columns}, schema=DOCUMENT)
