"""Tokenizers side by side on the same documents: bytes per token by source, tokens per word by language,
pieces never used, the longest pieces, and what does not come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.training.losses import losses

_LONGEST = 20
_CHECKED = 64


def side_by_side(tokenizers: Sequence[Tokenizer], sources: Mapping[str, pa.Table]) -> list[dict[str, Any]]:
    """Measure each tokenizer on tables with the columns `text` and `language`, by source.

    A word is a run without white space: fertility, tokens per word, says little of languages without blanks.
    """
    return [_measured(tokenizer, sources) for tokenizer in tokenizers]


def _measured(tokenizer: Tokenizer, sources: Mapping[str, pa.Table]) -> dict[str, Any]:
    encoder = Encoder(tokenizer)
    used = np.zeros(tokenizer.vocab_size, np.int64)
    by_source: dict[str, Any] = {}
    by_language: dict[str, list[int]] = {}
    lost: dict[str, int] = {}
    for name, table in sources.items():
        texts = pc.fill_null(table["text"].combine_chunks(), "").cast(pa.large_string())
        found = encoder.encode(texts)
        used += np.bincount(found.tokens, minlength=len(used))
        num_bytes = int(pc.sum(pc.binary_length(texts)).as_py() or 0)
        by_source[name] = {
            "bytes": num_bytes,
            "tokens": len(found.tokens),
            "bytes_per_token": num_bytes / max(1, len(found.tokens)),
        }
        words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))).to_pylist()
        languages = table["language"].to_pylist()
        for language, count, tokens in zip(languages, words, found.lengths.tolist(), strict=True):
            sums = by_language.setdefault(language or "unknown", [0, 0])
            sums[0] += count
            sums[1] += tokens
        sampled = texts.slice(0, _CHECKED).to_pylist()
        for kind, number in losses(tokenizer, sampled, encoder.examine(sampled)).items():
            lost[kind] = lost.get(kind, 0) + number
    pieces = sorted(map(tokenizer.piece, range(tokenizer.vocab_size)), key=lambda piece: (-len(piece), piece))
    return {
        "vocab": tokenizer.vocab_size,
        "eos": tokenizer.ending.token,
        "sources": by_source,
        "fertility": {
            language: tokens / words for language, (words, tokens) in sorted(by_language.items()) if words
        },
        "unused": int((used == 0).sum()),
        "longest": pieces[:_LONGEST],
        "losses": lost,
        **encoder.facts,
    }
