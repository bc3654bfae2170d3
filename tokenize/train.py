"""Train a tokenizer on a deterministic sample that has the mixture's proportions in bytes.

sizes = {"web": sum(text_bytes(path, seed, 0.01) for path in files)}     # every file by itself
chosen = fractions(settings, sizes, {"web": 1.0})
tables = sample(path, chosen["web"], seed, 0.01)  # every file by itself, written as Parquet
train(settings, {"web": [Path("sample.parquet")]}, {"web": 10_000_000}, Path("tokenizer.model"))

The sample's words are counted first: a distinct word with its count stands for all its occurrences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import InputError
from gristmill.hashing import uniform
from gristmill.heldout import for_training
from gristmill.storage import read_tables
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.trainers import rounded, train_byte_bpe, train_sentencepiece
from gristmill.tokenize.wordcount import count_words

Sources = Mapping[str, Sequence[Path]]

_LINE_BYTES = 4096
_STRETCH_CHARS = 4096
_GENEROUS, _MARGIN_CHARS = 1.3, 16 * _STRETCH_CHARS
_MOST_WORDS = 100_000
_POINT = 0.01
_WHITE = re.compile(r"\s")
# Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = r"[\x{0E00}-\x{0EFF}\x{1000}-\x{109F}\x{1780}-\x{17FF}\x{3040}-\x{30FF}\x{3400}-\x{9FFF}]"


def text_bytes(path: Path, seed: int, excluded_fraction: float) -> int:
    """Return the bytes of text in a file that may be trained on; the held-out split may not."""
    tables = (for_training(table, seed, excluded_fraction) for table in read_tables(path))
    return sum(pc.sum(pc.binary_length(table["text"])).as_py() or 0 for table in tables)


def fractions(
    settings: TokenizerSettings, sizes: Mapping[str, int], proportions: Mapping[str, float]
) -> dict[str, float]:
    """The share of each source's documents to sample, so that its bytes have the proportion asked for.

    Raises InputError for a source that is to give text and has none.
    """
    empty = [name for name, size in sizes.items() if not size and proportions.get(name, 0.0)]
    if empty or not any(sizes.values()):
        name = empty[0] if empty else next(iter(sizes), "")
        raise InputError(
            f"the source `{name}` has no text to train a tokenizer on", hint="see what removed its documents"
        )
    shares = {name: proportions.get(name, 0.0) for name in sizes} if proportions else sizes
    total = sum(shares.values())
    wanted = min(
        settings.sample_bytes,
        *(int(size * total / shares[name]) for name, size in sizes.items() if shares[name]),
    )
    return {name: wanted * shares[name] / total / size if size else 0.0 for name, size in sizes.items()}


def sample(path: Path, fraction: float, seed: int, excluded_fraction: float) -> Iterator[pa.Table]:
    """Yield the stretches of a file's documents that are trained on: chosen by hash, so that neither files
    nor order sway the choice.

    Long documents are cut into stretches of some 4,096 characters: a source of few documents would else miss
    its share. Somewhat more than `fraction` is taken; `train` stops at the bytes that are wanted.
    """
    for table in read_tables(path):
        table = for_training(table, seed, excluded_fraction).select(["id", "text"])
        texts, ids = table["text"].combine_chunks(), table["id"].combine_chunks()
        lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
        generous = min(1.0, fraction * _GENEROUS + _MARGIN_CHARS / max(1, int(lengths.sum())))
        generous = 1.0 if fraction >= 1.0 else generous if fraction else 0.0
        for stretch in range(-(-int(lengths.max(initial=0)) // _STRETCH_CHARS)):
            rows = np.flatnonzero(lengths > stretch * _STRETCH_CHARS)
            mine = ids.take(pa.array(rows))
            rows = rows[uniform(seed, f"tokenizer.sample.{stretch}", mine) < generous]
            if len(rows):
                parts = [_stretch(texts[int(row)].as_py(), stretch) for row in rows]
                yield pa.table({"id": ids.take(pa.array(rows)), "text": pa.array(parts, pa.large_string())})


def _stretch(text: str, number: int) -> str:
    """The stretch of a text with this number; it begins and ends at white space."""
    start, stop = (_edge(text, at * _STRETCH_CHARS) for at in (number, number + 1))
    return text[start:stop]


def _edge(text: str, at: int) -> int:
    if not 0 < at < len(text):
        return min(at, len(text))
    found = _WHITE.search(text, at, at + _LINE_BYTES // 4)
    return found.start() if found else at


def wanted_bytes(chosen: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """The bytes that each source is to give to the sample."""
    return {name: round(fraction * sizes[name]) for name, fraction in chosen.items()}


def train(
    settings: TokenizerSettings, samples: Sources, wanted: Mapping[str, int], out: Path
) -> dict[str, int]:
    """Write a tokenizer trained on the wanted bytes of each source's sample; return the bytes there were.

    The same samples give the same bytes. Raises InputError when there is not enough text.
    """
    taken: dict[str, int] = dict.fromkeys(samples, 0)
    words = frequent(count_words(_texts(samples, wanted, taken)))
    train_kind = train_sentencepiece if settings.kind == "sentencepiece" else train_byte_bpe
    try:
        out.write_bytes(train_kind(settings, words))
    except RuntimeError as error:
        raise InputError(
            f"the tokenizer cannot be trained to {rounded(settings)} pieces on"
            f" {sum(taken.values()):,} bytes of text: {error}",
            hint="lower `tokenizer.vocab_size`, or give more text",
        ) from error
    return taken


def sample_misses(wanted: Mapping[str, int], taken: Mapping[str, int]) -> dict[str, list[float]]:
    """Sources whose share of the sample is off by more than a point: the share they have and should have."""
    whole, total = sum(wanted.values()) or 1, sum(taken.values()) or 1
    shares = {name: [taken[name] / total, wanted[name] / whole] for name in wanted}
    return {name: pair for name, pair in shares.items() if abs(pair[0] - pair[1]) > _POINT}


def _texts(samples: Sources, wanted: Mapping[str, int], taken: dict[str, int]) -> Iterator[pa.Array]:
    """Yield texts until each source has given what is wanted of it; the last text is cut."""
    for name, paths in samples.items():
        for table in (table for path in paths for table in read_tables(path, ["text"])):
            texts = pc.fill_null(table["text"].combine_chunks(), "").cast(pa.large_string())
            ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64))
            left = wanted.get(name, 1 << 62) - taken[name]
            whole = int(np.searchsorted(ends, left, side="right"))
            yield texts.slice(0, whole)
            taken[name] += int(ends[whole - 1]) if whole else 0
            if whole < len(texts):
                rest = left - (int(ends[whole - 1]) if whole else 0)
                cut = texts[whole].as_py().encode()[:rest].decode("utf-8", "ignore")
                taken[name] += len(cut.encode())
                yield pa.array([cut], pa.large_string())
                break


def frequent(words: pa.Table) -> pa.Table:
    """The words that are trained on: of more than `_MOST_WORDS` those that occur least are left out.

    Scripts without blanks write sentences that occur once: words with their letters always stay.
    """
    least, kept = 1, words
    unspaced = pc.match_substring_regex(words["word"].cast(pa.large_string()), _UNSPACED)
    while len(kept) > _MOST_WORDS and least < 8:
        least += 1
        kept = words.filter(pc.or_(pc.greater_equal(words["count"], least), unspaced))
    return kept
