"""Train a tokenizer on a deterministic sample that has the mixture's proportions in bytes.

sizes = {path: text_bytes(path, seed, 0.01) for path in files}          # every file by itself
chosen = fractions(settings, {"web": sum(sizes.values())}, {"web": 1.0})
words, taken = sample_words(path, chosen["web"], sizes[path], seed, 0.01)  # every file by itself
train(settings, add_counts(all words), Path("tokenizer.model"))

The sample's words are counted file by file: a distinct word with its count stands for all its occurrences,
and what goes from the files to the one task that trains is counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import InputError
from gristmill.files.parquet import parquet_schema
from gristmill.files.storage import read_tables
from gristmill.hashing import uniform
from gristmill.heldout import UNIT_COLUMN, for_training
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.training.trainers import rounded, train_byte_bpe, train_sentencepiece
from gristmill.tokenize.training.wordcount import count_words

WORDS = pa.schema([pa.field("word", pa.large_binary()), pa.field("count", pa.int64())])

_LINE_BYTES = 4096
_STRETCH_CHARS = 4096
_GENEROUS, _MARGIN_CHARS = 1.3, 16 * _STRETCH_CHARS
_MOST_WORDS, _WORDS_PER_PIECE = 100_000, 4
_POINT = 0.01
_WHITE = re.compile(r"\s")
# Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = r"[\x{0E00}-\x{0EFF}\x{1000}-\x{109F}\x{1780}-\x{17FF}\x{3040}-\x{30FF}\x{3400}-\x{9FFF}]"


def text_bytes(path: Path, seed: int, excluded_fraction: float) -> int:
    """Return the bytes of text in a file that may be trained on; the held-out split may not."""
    tables = _for_training(path, seed, excluded_fraction)
    return sum(pc.sum(pc.binary_length(table["text"])).as_py() or 0 for table in tables)


def _for_training(path: Path, seed: int, excluded_fraction: float) -> Iterator[pa.Table]:
    """Ids and texts of the documents that may be trained on."""
    unit = [UNIT_COLUMN] if UNIT_COLUMN in parquet_schema(path).names and excluded_fraction else []
    for table in read_tables(path, ["id", "text", *unit]):
        yield for_training(table, seed, excluded_fraction).select(["id", "text"])


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
    its share. Somewhat more than `fraction` is taken; `sample_words` stops at the bytes that are wanted.
    """
    if not fraction:
        return
    if fraction * _GENEROUS >= 1.0:
        yield from _for_training(path, seed, excluded_fraction)
        return
    for table in _for_training(path, seed, excluded_fraction):
        texts, ids = table["text"].combine_chunks(), table["id"].combine_chunks()
        lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
        generous = fraction * _GENEROUS + _MARGIN_CHARS / max(1, int(lengths.sum()))
        if generous >= 1.0:
            yield table
            continue
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


def sample_words(
    path: Path, fraction: float, size: int, seed: int, excluded_fraction: float
) -> tuple[pa.Table, int]:
    """Count the words of a file's sample, which ends at `fraction` of its `size` in bytes; return them with
    the bytes there were."""
    wanted, taken = round(fraction * size), 0

    def texts() -> Iterator[pa.Array]:
        nonlocal taken
        for table in sample(path, fraction, seed, excluded_fraction):
            array = pc.fill_null(table["text"].combine_chunks(), "").cast(pa.large_string())
            kept = _first_bytes(array, wanted - taken)
            taken += int(pc.sum(pc.binary_length(kept)).as_py() or 0)
            yield kept
            if taken >= wanted:
                return

    return count_words(texts()), taken


def _first_bytes(texts: pa.Array, num_bytes: int) -> pa.Array:
    """So many bytes of texts; the last one is cut between characters."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64))
    whole = int(np.searchsorted(ends, num_bytes, side="right"))
    if whole == len(texts):
        return texts
    rest = num_bytes - (int(ends[whole - 1]) if whole else 0)
    cut = texts[whole].as_py().encode()[:rest].decode("utf-8", "ignore")
    return pa.concat_arrays([texts.slice(0, whole), pa.array([cut], texts.type)])


def train(settings: TokenizerSettings, words: pa.Table, out: Path) -> None:
    """Write a tokenizer trained on counted words; the same words give the same bytes, whatever their order.

    Raises InputError when there is not enough text.
    """
    train_kind = train_sentencepiece if settings.kind == "sentencepiece" else train_byte_bpe
    try:
        out.write_bytes(train_kind(settings, frequent(words, settings.vocab_size)))
    except ValueError as error:
        raise InputError(
            f"the tokenizer cannot be trained to {rounded(settings)} pieces on {len(words):,} distinct"
            f" words: {error}",
            hint="lower `tokenizer.vocab_size`, or give more text",
        ) from error


def sample_misses(wanted: Mapping[str, int], taken: Mapping[str, int]) -> dict[str, list[float]]:
    """Sources whose share of the sample is off by more than a point: the share they have and should have."""
    whole, total = sum(wanted.values()) or 1, sum(taken.values()) or 1
    shares = {name: [taken[name] / total, wanted[name] / whole] for name in wanted}
    return {name: pair for name, pair in shares.items() if abs(pair[0] - pair[1]) > _POINT}


def frequent(words: pa.Table, vocab_size: int) -> pa.Table:
    """The words that are trained on: at most `_MOST_WORDS`, or four a piece if that is more; those that occur
    least are left out.

    Scripts without blanks write sentences that occur once: words with their letters always stay.
    """
    most = max(_MOST_WORDS, _WORDS_PER_PIECE * vocab_size)
    if len(words) <= most:
        return words
    counts = words["count"].to_numpy()
    least = int(np.partition(counts, len(counts) - most - 1)[len(counts) - most - 1]) + 1
    unspaced = pc.match_substring_regex(words["word"].cast(pa.large_string()), _UNSPACED)
    return words.filter(pc.or_(pc.greater_equal(words["count"], least), unspaced))
