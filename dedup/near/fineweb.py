"""Shingles as FineWeb made them: datatrove's text simplification and n-gram strings, hashed one by one in
Python.

This is the slow, compatible way: from the shingle strings on, signatures are bit-equal to datatrove's. Its
words come from spaCy (`fineweb_language: eng`, which datatrove's extras install); without a language the
simplified text is split at blanks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import xxhash

from gristmill.dedup.near.minhash import Bounds
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import Numbers
from gristmill.errors import UsageError


def shingle_strings(settings: FuzzySettings, texts: Iterable[str | None]) -> tuple[Numbers, Bounds]:
    """Return the 64-bit hashes of every text's n-gram strings; a text of fewer than n words has none, as in
    datatrove."""
    from datatrove.utils.text import ngrams, simplify_text

    words, hash64 = _words(settings.fineweb_language), _HASHES[settings.fineweb_hash]
    shingles: list[int] = []
    bounds = [0]
    for text in texts:
        shingles += [
            hash64(" ".join(gram)) for gram in ngrams(words(simplify_text(text or "")), settings.ngram)
        ]
        bounds.append(len(shingles))
    return np.array(shingles, np.uint64), np.array(bounds, np.int64)


def _sha1_64(text: str) -> int:
    return int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest()[:8], "little")


def _xxh64(text: str) -> int:
    return xxhash.xxh64_intdigest(text.encode())


_HASHES = {"sha1": _sha1_64, "xxhash": _xxh64}


@lru_cache(maxsize=4)
def _words(language: str | None) -> Callable[[str], list[str]]:
    if language is None:
        return str.split
    try:
        from datatrove.utils.word_tokenizers import load_word_tokenizer

        tokenizer = load_word_tokenizer(language)
        tokenizer.word_tokenize("probe")
    except Exception as error:
        raise UsageError(
            f"datatrove's word tokenizer for `{language}` is not usable: {error}",
            hint=(
                "install its dependencies (datatrove[processing], multilingual) or leave"
                " `fineweb_language` out"
            ),
        ) from error
    return tokenizer.word_tokenize  # type: ignore[no-any-return]
