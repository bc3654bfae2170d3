"""Score texts: by a trained model, or by what costs seconds, an n-gram model and a compressor.

Each gives bits for every document, so that all are compared in bits per byte by the same statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

from gristmill.classifiers.ngram import kneser_ney
from gristmill.classifiers.ngram.perplexity import NgramModel
from gristmill.classifiers.settings import NgramSettings
from gristmill.facts import Facts
from gristmill.files.storage import ParquetWriter
from gristmill.pipeline.proof.comparing import Floats
from gristmill.pipeline.proof.likeness import likeness, taught
from gristmill.pipeline.proof.texts import Amount, Text, heldout_texts, shard_texts, sizes, target_texts
from gristmill.pipeline.run.job import Attempt
from gristmill.text.cores import cores_of
from gristmill.trainer.evaluation.evaluate import token_scores
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.evaluation.tokenizer import load_tokenizer

PROXIES = ("n-gram", "compression", "classifier")
NGRAM = NgramSettings(order=3, min_count=1, smoothing="kneser_ney")  # small texts: longer ones are unseen
SPELLING_BITS = 4.1  # per byte of a word never seen: the entropy of single English letters (Shannon 1951)
_DICTIONARY_BYTES = 1 << 20
_LEVEL = 9
_DOCUMENTS = pa.schema([pa.field("id", pa.binary(16)), pa.field("text", pa.large_string())])


@dataclass(frozen=True, slots=True)
class Scored(Facts):
    """Of one target: keys of its texts, their bytes, and bits of each; `measures` has other means' bits."""

    target: str = ""
    keys: list[str] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged(Facts):
    """What one model, or one proxy's sample, came to on all targets; for proxies `measure` is by name, and
    `leaked` are the texts of targets that the variant trains on, word for word."""

    targets: list[dict[str, Any]] = field(default_factory=list)
    measures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)


def score_model(
    task: Attempt[Any],
    run: str,
    device: str,
    heldout: str,
    targets: Mapping[str, Sequence[str]],
    documents: int,
    bytes: int,
) -> None:
    """Score the newest checkpoint of a run on targets by path and on what its variant holds out; `device` as
    the training's."""
    model, meta = load_model(Path(run), device)
    tokenizer = load_tokenizer(Path(run))
    rows = []
    for name, texts in _all_texts(tokenizer, heldout, targets, Amount(documents, bytes), task.seed):
        ids = [[meta.eos_id, *tokenizer.encode(text)] for _, text in texts]
        found = token_scores(model, ids, [1] * len(ids))
        bits = [math.fsum(nats for nats, _ in scores) / math.log(2) for scores in found]
        rows.append(_row(name, texts, bits))
    task.record.state(Judged(targets=rows))


def score_proxies(
    task: Attempt[Any],
    shards: str,
    reference: str,
    heldout: str,
    targets: Mapping[str, Sequence[str]],
    tokens: int,
    draw: int,
    documents: int,
    bytes: int,
) -> None:
    """Count an n-gram model, and fill a compressor's dictionary, with a draw of a variant's training text of
    so many tokens; score all targets with both. Targets by path teach a classifier beside the reference's
    text, which scores the draw."""
    tokenizer = load_tokenizer(Path(shards))
    texts = _drawn(shards, tokenizer, tokens, draw)
    model = ngram_model(texts, task.scratch)
    judged = [*_all_texts(tokenizer, heldout, targets, Amount(documents, bytes), task.seed)]
    measures: dict[str, list[dict[str, Any]]] = {"n-gram": [], "compression": []}
    compressor = _compressor(texts)
    for name, chosen in judged:
        measures["n-gram"].append(_row(name, chosen, ngram_bits(model, chosen).tolist()))
        measures["compression"].append(
            _row(name, chosen, [_compressed(compressor, text) for _, text in chosen])
        )
    recipe = texts if reference == shards else _drawn(reference, tokenizer, tokens, draw)
    measures["classifier"] = [
        _classified(name, chosen, recipe, texts, bytes) for name, chosen in judged if name in targets
    ]
    task.record.state(Judged(measures=measures))


def find_leaks(
    task: Attempt[Any], shards: str, targets: Mapping[str, Sequence[str]], documents: int, bytes: int
) -> None:
    """Find the texts of targets that are among a variant's training documents, from their beginning."""
    amount = Amount(documents, bytes)
    wanted = {
        text[:_HEAD]: key
        for paths in targets.values()
        for key, text in target_texts(paths, amount, task.seed)
    }
    tokenizer = load_tokenizer(Path(shards))
    there = {text[:_HEAD] for _, text, _ in shard_texts(Path(shards), tokenizer)}
    task.record.state(Judged(leaked=sorted(key for head, key in wanted.items() if head in there)))


_HEAD = 200  # characters: a text cut elsewhere is found, too


def ngram_model(texts: Sequence[str], folder: Path) -> NgramModel:
    """Count a Kneser-Ney model of some texts, whole in memory."""
    with ParquetWriter(folder / "counted.parquet", _DOCUMENTS) as writer:
        ids = [number.to_bytes(16, "little") for number in range(len(texts))]
        writer.write(pa.table({"id": ids, "text": list(texts)}, schema=_DOCUMENTS))
    counted = kneser_ney.count_file(NGRAM, writer.path, folder, 0, 0.0)
    stats, joined = folder / "stats.run", folder / "joined.run"
    kneser_ney.emit(counted.runs, 0, 1, NGRAM.order, stats)
    facts = kneser_ney.join(NGRAM, [stats], 0, 1, joined)
    kneser_ney.write_table(NGRAM, [joined], folder / "model", counted.num_words, counted.languages, facts)
    return NgramModel(folder / "model")


def ngram_bits(model: NgramModel, texts: Sequence[Text]) -> Floats:
    """Bits of each text; a word never seen costs its spelling besides."""
    table = pa.table({"text": pa.array([text for _, text in texts], pa.large_string())})
    bits, words = model.score(table)
    hashes, rows = cores_of(table["text"])
    unseen = ~model.knows(hashes)
    counts = np.concatenate(([0], np.cumsum(unseen)))
    per_text = counts[rows[1:]] - counts[rows[:-1]]
    mean_bytes = sizes(texts) / np.maximum(words, 1)
    return np.asarray(bits + per_text * mean_bytes * SPELLING_BITS)


def _all_texts(
    tokenizer: Any, heldout: str, targets: Mapping[str, Sequence[str]], amount: Amount, seed: int
) -> Iterator[tuple[str, list[Text]]]:
    for name, paths in targets.items():
        yield name, target_texts(paths, amount, seed)
    if heldout:
        yield from heldout_texts(Path(heldout), tokenizer, amount).items()


def _row(name: str, texts: Sequence[Text], bits: Sequence[float]) -> dict[str, Any]:
    lengths = [int(size) for size in sizes(texts)]
    return Scored(name, [key for key, _ in texts], lengths, [round(value, 6) for value in bits]).as_json()


def _classified(
    name: str, chosen: Sequence[Text], recipe: Sequence[str], texts: Sequence[str], num_bytes: int
) -> dict[str, Any]:
    """Bits a document, by fold; a target or recipe of too few documents has no fold."""
    model = taught(chosen, recipe, num_bytes)
    found = likeness(model, texts, num_bytes) if model is not None else {}
    bits = [round(value, 6) for value in found.values()]
    return Scored(name, list(found), [1] * len(found), bits).as_json()


def _drawn(shards: str, tokenizer: Any, tokens: int, draw: int) -> list[str]:
    """Draw documents up to so many tokens; once all are taken they come again, as in training."""
    texts: list[str] = []
    left, turn = tokens, 0
    while left > 0:
        before = left
        for _, text, length in shard_texts(Path(shards), tokenizer, order=draw + 7919 * turn):
            texts.append(text)
            left -= length
            if left <= 0:
                break
        if left == before:  # shards without text
            break
        turn += 1
    return texts


def _compressor(texts: Sequence[str]) -> zstandard.ZstdCompressor:
    raw = "\n".join(texts).encode("utf-8", "surrogatepass")
    dictionary = zstandard.ZstdCompressionDict(
        raw[:_DICTIONARY_BYTES], dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )
    dictionary.precompute_compress(level=_LEVEL)
    return zstandard.ZstdCompressor(level=_LEVEL, dict_data=dictionary, write_content_size=False)


def _compressed(compressor: zstandard.ZstdCompressor, text: str) -> float:
    return 8.0 * len(compressor.compress(text.encode("utf-8", "surrogatepass")))
