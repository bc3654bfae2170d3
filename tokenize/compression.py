"""What a tokenizer makes of a corpus: bytes per token by source, pieces never used, the longest tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.storage import read_tables
from gristmill.tokenize.encoder import Encoder
from gristmill.tokenize.tokenizers import Tokenizer

_SAMPLE_BYTES, _ALL_BYTES = 2_000_000, 8_000_000
_LONGEST = 50


def tokenizer_report(tokenizer: Tokenizer, sources: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Encode the first couple of megabytes of each source, eight of all together, and count; `unused` is over
    those samples."""
    used = np.zeros(tokenizer.vocab_size, np.int64)
    used[tokenizer.eos_id] = 1
    by_source = {}
    encoder = Encoder(tokenizer)
    for name, paths in sources.items():
        texts = pa.array(_texts(paths, min(_SAMPLE_BYTES, _ALL_BYTES // len(sources))), pa.large_string())
        found = encoder.encode(texts)
        used += np.bincount(found.tokens, minlength=len(used))
        num_bytes, num_tokens = pc.sum(pc.binary_length(texts)).as_py() or 0, len(found.tokens) + len(texts)
        by_source[name] = {
            "bytes": num_bytes,
            "tokens": num_tokens,
            "bytes_per_token": num_bytes / num_tokens if num_tokens else None,
        }
    pieces = sorted(
        (tokenizer.piece(id) for id in range(tokenizer.vocab_size)), key=lambda piece: (-len(piece), piece)
    )
    return {"sources": by_source, "unused": int((used == 0).sum()), "longest": pieces[:_LONGEST]}


def _texts(paths: Sequence[Path], left: int) -> list[str]:
    texts: list[str] = []
    for path in paths:
        for table in read_tables(path, ["text"]):
            for text in table["text"].to_pylist():
                texts.append((text or "")[:left])
                left -= len(texts[-1].encode())
                if left <= 0:
                    return texts
    return texts
