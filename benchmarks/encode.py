"""Encoding from Parquet to tokens, beside bare sentencepiece and tokenizers; shuffle and write of many
documents.

    python benchmarks/encode.py [--texts FOLDER] [--quick] [--json]
    python benchmarks/encode.py --train [--texts FOLDER] [--megabytes 100]
    python benchmarks/encode.py --memory --json
    python benchmarks/encode.py --places --json

(Not `tokenize.py`: run as a script from its folder, that name would stand before the standard library's
module.) Ours and each library alternate over the same text on one core and are timed in CPU seconds; ours
reads Parquet, checks its sample by the library, writes payload and index, and shuffles them into shards with
their digests and manifest; the library encodes texts in memory. The ids are compared. The shuffle is timed on
synthetic documents of 64 tokens, 10 million of them (100,000 with --quick), in one process. `--train` times
the training of both kinds of tokenizer, and what tokenizers does itself. `--memory` gives the peak of a
process of its own that encodes, or mixes, once, ten times and a hundred times as much. `--places` simulates
the shuffle of 1 and 10 G tokens: where each document goes, file by file, without its tokens.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import pydoc_data.topics
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter
from gristmill.token_shards import MANIFEST, token_dtype
from gristmill.tokenize.encoding.encode import INDEX, encode
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer, tokenizer_sha256
from gristmill.tokenize.mixing import gather, mix
from gristmill.tokenize.mixing.gates import SIZES_SHAPE, gates_of
from gristmill.tokenize.mixing.places import Take, order_of, shard_of
from gristmill.tokenize.settings import MixSettings, TokenizerSettings
from gristmill.tokenize.shards import manifest_body
from gristmill.tokenize.training import train
from gristmill.tokenize.training.wordcount import count_words

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when the first tokenizer is used
ROUNDS = 3
SCALES = (1, 10, 100)
GROUP_COPIES = 26  # fills a row group with the documentation's topics: what a task holds at once, from 1x on
PEERS = ("sentencepiece", "tokenizers", "gigatoken", "pyarrow", "numpy")


def topics() -> list[str]:
    return [text for _, text in sorted(pydoc_data.topics.topics.items())]


def documents(folder: Path, copies: int) -> tuple[Path, int]:
    texts = topics() * copies
    return write_texts(folder, texts), sum(len(text.encode()) for text in texts)


def write_texts(folder: Path, texts: list[str]) -> Path:
    rows = [
        {
            "id": document_id("d", str(n)),
            "source": "d",
            "text": text,
            "origin": {"file": "f", "offset": n, "length": 1},
        }
        for n, text in enumerate(texts)
    ]
    with ParquetWriter(folder / "documents.parquet", DOCUMENT) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=DOCUMENT))
    return writer.path


def real_texts(folder: str, megabytes: float) -> list[str]:
    """Texts of gzipped JSON lines with a field `text`, from each file an equal part of so many megabytes."""
    files = sorted(Path(folder).rglob("*.jsonl.gz"))
    texts = []
    for path in files:
        left = megabytes * 1e6 / len(files)
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                texts.append(str(json.loads(line)["text"])[:100_000].encode("utf-8", "replace").decode())
                left -= len(texts[-1].encode())
                if left <= 0:
                    break
    return texts


def words_of(path: Path) -> pa.Table:
    """The words of a file of documents, counted."""
    words, _ = train.sample_words(path, 1.0, train.text_bytes(path, 1, 0.0), 1, 0.0)
    return words.cast(train.WORDS)


def training(folder: Path, texts: list[str]) -> dict[str, Any]:
    """CPU seconds, after reading, of training to 32,000 pieces twice, whose bytes must be the same; and of
    tokenizers' own trainer of byte-level BPE on one thread."""
    import tokenizers

    found: dict[str, Any] = {}
    for kind in ("sentencepiece", "byte-bpe"):
        files = []
        for run in range(2):
            begun = time.process_time()
            words = count_words([pa.array(texts, pa.large_string())])
            counted = time.process_time()
            files.append(folder / f"{kind}-{run}")
            train.train(TokenizerSettings(vocab_size=32_000, kind=kind), words, files[-1])
            found[kind] = {"counting": counted - begun, "learning": time.process_time() - counted}
        assert files[0].read_bytes() == files[1].read_bytes(), "other bytes"
    own = tokenizers.Tokenizer(tokenizers.models.BPE())
    own.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=32_000, initial_alphabet=alphabet, show_progress=False
    )
    begun = time.process_time()
    own.train_from_iterator(texts, trainer)
    return {**found, "tokenizers": time.process_time() - begun}


def encoding(folder: Path, texts: list[str], rounds: int) -> dict[str, float]:
    """MB/s of CPU time: ours from Parquet to committed shards with nothing remembered, and the libraries
    alone on texts in memory."""
    path = write_texts(folder, texts)
    num_bytes = sum(len(text.encode()) for text in texts)
    found = {}
    vocab_size = 32_000 if num_bytes > 2_000_000 else 2_000
    for kind, name, peer in (
        ("sentencepiece", "tokenizer.model", "sentencepiece"),
        ("byte-bpe", "tokenizer.json", "tokenizers"),
    ):
        train.train(TokenizerSettings(vocab_size=vocab_size, kind=kind), words_of(path), folder / name)
        tokenizer = open_tokenizer(folder / name)
        encoder = Encoder(tokenizer)
        assert not encoder.why, encoder.why
        seconds: dict[str, list[float]] = {"ours": [], peer: []}
        for _ in range(rounds):
            encoder._fast.renew()  # type: ignore[union-attr]  # words of the round before are forgotten
            begun = time.process_time()
            encode(encoder, path, folder / "t.bin", folder / "i.parquet")
            shards(folder, tokenizer)
            seconds["ours"].append(time.process_time() - begun)
            begun = time.process_time()
            expected = tokenizer.encode_batch(texts)
            seconds[peer].append(time.process_time() - begun)
        ids = [id for own in expected for id in (*own, tokenizer.eos_id)]
        assert np.array_equal(np.fromfile(folder / "t.bin", "<u2"), np.array(ids, "<u2")), "other ids"
        speeds = {key: num_bytes / statistics.median(values) / 1e6 for key, values in seconds.items()}
        found |= {f"ours_{peer}": speeds["ours"], peer: speeds[peer]}
    return found


def shards(folder: Path, tokenizer: Tokenizer) -> None:
    """Mix the encoded file into shards and write their manifest; every digest is taken, as when committed."""
    settings = MixSettings(method="natural", heldout_fraction=0.0)
    index, out, dtype = folder / "i.parquet", folder / "committed", token_dtype(tokenizer.vocab_size).str
    out.mkdir(exist_ok=True)
    size = mix.measure(index, settings, 1, folder / "sizes").training
    gates = gates_of(np.fromfile(folder / "sizes", "<u8").reshape(SIZES_SHAPE), size.tokens / size.docs)
    mix.levels(index, settings, "d", 1, gates, folder / "levels")
    bound = mix.find_bound([folder / "levels"], size.tokens, size.tokens, weighted=False, split=True)
    copies = mix.most_copies(settings, "d", bound)
    count = max(1, -(-size.tokens // settings.shard_tokens))
    take = Take(
        "d", 0, "train", 0, count, bound.level, copies, tuple(gates), bound.cut_level, bound.cut_tokens
    )
    mix.assign(folder / "t.bin", index, dtype, settings, take, 1, folder / "part", tokenizer.eos_id)
    entries = []
    for number in range(count):
        part = gather.MapOutput(folder / "part", number)
        entry = gather.write_shard([part], out / f"{number:05d}", dtype, 1)
        entries.append({key: value for key, value in entry.items() if key != "per_source"})
    shutil.copyfile(tokenizer.file, out / tokenizer.file.name)
    body = manifest_body(
        kind="mixed", vocab=tokenizer.vocab_size, dtype=dtype, eos_id=tokenizer.eos_id, split="train",
        tokenizer_file=tokenizer.file.name, tokenizer_sha256=tokenizer_sha256(tokenizer),
        reading=tokenizer.reading.as_json(), sources=[{"name": "d", **asdict(size)}], shards=entries,
    )  # fmt: skip
    (out / MANIFEST).write_bytes(body)
    assert sum(entry["tokens"] for entry in entries) == size.tokens


def shuffling(
    folder: Path,
    num_documents: int,
    tokens_each: int = 64,
    per_file: int = 500_000,
    shard_tokens: int = 1 << 26,
) -> dict[str, float]:
    """Assign and write synthetic documents, one file after another, then one shard after another."""
    settings = MixSettings(method="natural", heldout_fraction=0.0, shard_tokens=shard_tokens)
    total = num_documents * tokens_each
    take = Take("s", 0, "train", 0, max(1, -(-total // settings.shard_tokens)), (1 << 54) - 1, 1)
    parts = []
    wall = cpu = 0.0
    for number, start in enumerate(range(0, num_documents, per_file)):
        count = min(per_file, num_documents - start)
        payload, index = folder / "p.bin", folder / "p.parquet"
        np.full(count * tokens_each, number, "<u2").tofile(payload)
        ids = np.arange(start, start + count, dtype="<u8").repeat(2).tobytes()
        column = pa.Array.from_buffers(pa.binary(16), count, [None, pa.py_buffer(ids)])
        sizes = pa.array(np.full(count, tokens_each, "u4"))
        with ParquetWriter(index, INDEX) as writer:
            writer.write(pa.table({"id": column, "unit": column, "tokens": sizes, "bytes": sizes}, INDEX))
        parts.append(folder / f"part-{number}")
        begun = time.perf_counter(), time.process_time()
        mix.assign(payload, index, "<u2", settings, take, 1, parts[-1])
        wall, cpu = wall + time.perf_counter() - begun[0], cpu + time.process_time() - begun[1]
    begun = time.perf_counter(), time.process_time()
    out = folder / "shards"
    out.mkdir(exist_ok=True)
    for shard in range(take.num_shards):
        gather.write_shard([gather.MapOutput(part, shard) for part in parts], out / f"{shard:05d}", "<u2", 1)
    wall, cpu = wall + time.perf_counter() - begun[0], cpu + time.process_time() - begun[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "documents": num_documents,
        "tokens": total,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_bytes": peak,
    }


def places(tokens: int, per_file: int = 250_000, shard_tokens: int = 1 << 26) -> dict[str, Any]:
    """Place documents of all sizes (log-normal, some longer than a shard) until there are so many tokens.

    Each file is seen once and forgotten. `shard_over_mean` is the largest shard, without the documents that
    are longer than one; `seam` is how far the share of the first half of the files is from a half in any
    shard.
    """
    count = -(-tokens // shard_tokens)
    held, first, docs, longest, total = np.zeros(count), np.zeros(count), 0, 0, 0
    rng = np.random.default_rng(5)
    begun = time.process_time()
    while total < tokens:
        sizes = np.minimum(rng.lognormal(5.5, 1.5, per_file), 1e8).astype(np.int64) + 2
        sizes[:1] = shard_tokens * 2 if docs % (40 * per_file) == 0 else sizes[:1]
        column = pa.Array.from_buffers(
            pa.binary(16), per_file, [None, pa.py_buffer(rng.bytes(16 * per_file))]
        )
        shard = shard_of(order_of(column, 1, 7), 0, count)
        short = np.where(sizes > shard_tokens, 0, sizes)
        held += np.bincount(shard, short, count)
        first += np.bincount(shard, short, count) if total < tokens / 2 else 0
        docs, longest, total = docs + per_file, max(longest, int(sizes.max())), total + int(sizes.sum())
    seam = abs(first / held - first.sum() / held.sum()).max()
    return {
        "tokens": total, "documents": docs, "shards": count,
        "longest_document_over_shard": longest / shard_tokens,
        "shard_over_mean": float(held.max() / held.mean()), "seam": float(seam),
        "cpu_seconds": time.process_time() - begun, "peak_bytes": own_peak(),
    }  # fmt: skip


def peak_of(what: str, scale: int, folder: Path) -> int:
    """Peak bytes of a new process that encodes one file of `scale` times the text, or mixes `scale` files."""
    command = [sys.executable, __file__, "--measure", what, "--scale", str(scale), "--folder", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(what: str, scale: int, folder: Path) -> int:
    if what == "places":
        print(json.dumps(places(scale * 1_000_000_000)))
        raise SystemExit
    if what == "mix":
        shuffling(folder, 20_000 * scale, per_file=20_000, shard_tokens=1 << 20)
        return own_peak()
    encode(
        Encoder(open_tokenizer(folder / "tokenizer.model")),
        folder / f"{scale}.parquet",
        folder / "t.bin",
        folder / "i.parquet",
    )
    return own_peak()


def own_peak() -> int:
    """Peak bytes of this process since it was started; `ru_maxrss` would begin with that of the process it
    was forked from."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]


def memory(folder: Path) -> dict[str, dict[str, int]]:
    """Peak bytes by scale; inputs of encoding are written before, by this process."""
    words = words_of(documents(folder, 1)[0])
    train.train(TokenizerSettings(vocab_size=8000), words, folder / "tokenizer.model")
    for scale in SCALES:
        documents(folder, GROUP_COPIES * scale)[0].rename(folder / f"{scale}.parquet")
    found = {}
    for what in ("encode", "mix"):
        found[what] = {f"{scale}x": peak_of(what, scale, folder) for scale in SCALES}
        shutil.rmtree(folder / "shards", ignore_errors=True)
    return found


def made_on() -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in PEERS}
    return {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "versions": versions}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--measure", "--scale", "--folder"):  # how this script calls itself
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--texts", help="a folder of .jsonl.gz with a field `text`; else the documentation")
    parser.add_argument("--megabytes", type=float, help="of --texts; 10, or 2 with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--places", action="store_true")
    parser.add_argument("--train", action="store_true", help="train tokenizers on the texts")
    options = parser.parse_args()
    if options.measure:
        print(measure(options.measure, int(options.scale), Path(options.folder)))
        return
    folder = Path(tempfile.mkdtemp())
    if options.places:
        command = [sys.executable, __file__, "--measure", "places", "--folder", "-", "--scale"]
        runs = [
            subprocess.run([*command, n], check=True, capture_output=True, text=True) for n in ("1", "10")
        ]
        found = {run.args[-1] + " G": json.loads(run.stdout) for run in runs}
        print(json.dumps({"what": "places of a shuffle, simulated", "ours": found, **made_on()}))
        return
    if options.memory:
        peaks = memory(folder)
        shutil.rmtree(folder)
        print(
            json.dumps({"what": "peak memory by scale of input", "unit": "bytes", "ours": peaks, **made_on()})
        )
        return
    if options.train:
        texts = real_texts(options.texts, options.megabytes or 100) if options.texts else topics()
        seconds = training(folder, texts)
        shutil.rmtree(folder)
        size = sum(len(text.encode()) for text in texts) / 1e6
        result = {"what": "train a tokenizer of 32,000 pieces", "unit": "CPU seconds, after reading"}
        print(json.dumps({**result, "ours": seconds, "megabytes": size, **made_on()}))
        return
    try:
        shuffle = shuffling(folder, 100_000 if options.quick else 10_000_000)
        shutil.rmtree(folder / "shards")
        texts = (
            real_texts(options.texts, options.megabytes or (2 if options.quick else 10))
            if options.texts
            else topics()
        )
        speeds = encoding(folder, texts, 1 if options.quick else ROUNDS)
    finally:
        shutil.rmtree(folder)
    peers = {name: speeds[name] for name in ("sentencepiece", "tokenizers")}
    ratio = {name: speeds[f"ours_{name}"] / peers[name] for name in peers}
    result: dict[str, Any] = {
        "what": "encode documents from Parquet to committed shards", "unit": "MB/s of CPU time, one core",
        "ours": {name: speeds[f"ours_{name}"] for name in peers},
        "peers": peers, "ratio": ratio, "megabytes": sum(len(text.encode()) for text in texts) / 1e6,
        "shuffle": shuffle,
        **made_on(),
    }  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return
    for name, value in speeds.items():
        print(f"{name:20} {value:8.2f} MB/s")
    print(
        f"shuffle and write of {shuffle['documents']:,} documents: {shuffle['wall_seconds']:.1f} s "
        f"({shuffle['cpu_seconds']:.1f} s of CPU), peak {shuffle['peak_bytes'] / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
