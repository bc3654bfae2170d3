"""Train a SentencePiece BPE tokenizer on a deterministic sample that has the mixture's proportions in bytes.

sizes = {"web": sum(text_bytes(path, seed, 0.01) for path in files)}     # every file by itself
chosen = fractions(settings, sizes, {"web": 1.0})
tables = sample(path, chosen["web"], seed, 0.01)  # every file by itself, written as Parquet
train(settings, {"web": [Path("sample.parquet")]}, Path("tokenizer.model"))
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import InputError
from gristmill.hashing import uniform
from gristmill.heldout import for_training
from gristmill.storage import read_tables
from gristmill.tokenize.settings import TokenizerSettings

Sources = Mapping[str, Sequence[Path]]

# SentencePiece skips longer lines without a word; texts are cut well below its default of 4192 bytes.
_LINE_BYTES = 4096
_MULTIPLE = 64
# A small vocabulary has no room for every character of a text in many scripts: more of them are left to
# bytes.
_COVERAGES = (0.999, 0.998, 0.995, 0.99, 0.98, 0.95)
_FIXED: dict[str, Any] = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
    "max_sentence_length": 2 * _LINE_BYTES,
    "num_threads": 1,  # threads change the model's bytes
    "minloglevel": 2,
}


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
    """Yield the documents of a file that are trained on: chosen by hash, so that neither files nor order sway
    the choice."""
    for table in read_tables(path):
        table = for_training(table, seed, excluded_fraction)
        draws = uniform(seed, "tokenizer.sample", table["id"].combine_chunks())
        yield table.filter(pa.array(draws < fraction)).select(["id", "text"])


def train(settings: TokenizerSettings, samples: Sources, out: Path) -> dict[str, int]:
    """Write a `.model` file trained on all texts of the samples and return their bytes per source.

    The same samples give the same bytes. Raises InputError when there is not enough text.
    """
    import sentencepiece

    vocab = -(-settings.vocab_size // _MULTIPLE) * _MULTIPLE
    for coverage in (
        settings.character_coverage,
        *(lower for lower in _COVERAGES if lower < settings.character_coverage),
    ):
        taken: dict[str, int] = dict.fromkeys(samples, 0)
        buffer = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_lines(samples, taken),
                model_writer=buffer,
                vocab_size=vocab,
                character_coverage=coverage,
                max_sentencepiece_length=settings.max_piece_chars,
                user_defined_symbols=["\n"],
                control_symbols=list(settings.special_tokens),  # a user-defined symbol is found in text
                **_FIXED,
            )
            break
        except RuntimeError as error:
            if "smaller than required_chars" in str(error) and coverage > _COVERAGES[-1]:
                continue
            raise InputError(
                f"the tokenizer cannot be trained to {vocab} pieces on {sum(taken.values()):,} bytes of text:"
                f" {error}",
                hint="lower `tokenizer.vocab_size`, or give more text",
            ) from error
    out.write_bytes(buffer.getvalue())
    return taken


def _lines(samples: Sources, taken: dict[str, int]) -> Iterator[str]:
    """Yield texts in pieces of whole lines; the order is that of the files, which training does not depend
    on."""
    for name, paths in samples.items():
        for path in paths:
            for table in read_tables(path, ["text"]):
                for text in table["text"].to_pylist():
                    taken[name] += len((text or "").encode())
                    yield from pieces(text or "")


def pieces(text: str) -> Iterator[str]:
    """Cut a text into lines, and long lines at blanks, so that none is too long for SentencePiece."""
    for line in text.split("\n"):
        line = line.replace("\0", "")
        while len(line.encode()) > _LINE_BYTES:
            cut = line.rfind(" ", 1, _LINE_BYTES // 4)
            cut = cut if cut > 0 else _LINE_BYTES // 4
            yield line[:cut]
            line = line[cut:]
        if line:
            yield line
