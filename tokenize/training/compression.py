"""What a tokenizer makes of a corpus: bytes per token by source, pieces never used, the longest tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.files.storage import read_tables
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer

_SAMPLE_BYTES, _ALL_BYTES = 2_000_000, 8_000_000
_LONGEST = 50


def compress(
    encoder: Encoder, paths: Sequence[Path], num_sources: int
) -> tuple[dict[str, Any], npt.NDArray[np.int64]]:
    """Encode the first couple of megabytes of a source, eight of all together: bytes and tokens, and how
    often each piece was used."""
    left = min(_SAMPLE_BYTES, _ALL_BYTES // num_sources)
    texts = pa.array(_texts(paths, left), pa.large_string())
    encoder.begin()
    found = encoder.encode(texts)
    num_bytes, num_tokens = pc.sum(pc.binary_length(texts)).as_py() or 0, len(found.tokens) + len(texts)
    used = np.bincount(found.tokens, minlength=encoder.tokenizer.vocab_size)
    counted = {
        "bytes": num_bytes,
        "tokens": num_tokens,
        "bytes_per_token": num_bytes / num_tokens if num_tokens else None,
    }
    return counted, used.astype(np.int64)


def tokenizer_report(
    tokenizer: Tokenizer, by_source: Mapping[str, Mapping[str, Any]], used: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """What `compress` found of each source; `unused` is over their samples."""
    unused = used == 0
    unused[tokenizer.eos_id] = False
    pieces = list(map(tokenizer.piece, range(tokenizer.vocab_size)))
    least = sorted(map(len, pieces), reverse=True)[:_LONGEST][-1]
    longest = sorted((p for p in pieces if len(p) >= least), key=lambda piece: (-len(piece), piece))
    return {"sources": dict(by_source), "unused": int(unused.sum()), "longest": longest[:_LONGEST]}


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
