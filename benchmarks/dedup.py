"""Deduplication: signatures against datatrove, datasketch and rensa; clustering of millions of made
documents; real text.

    python benchmarks/dedup.py [texts.jsonl.gz ...] [--only signatures,clustering] [--peers PYTHON]
    [--millions 1 10 50] [--documents 10000000 1000000000] [--save]

Without texts, the documentation of Python's own modules is used. Peers run in this process's turn, one sample
of texts each way, in the interpreter named by --peers (one that has datatrove, spacy, datasketch and rensa;
those it lacks are left out). All speeds are MB of UTF-8 text per CPU second of one core. Clustering needs 330
bytes of disk per document and cleans up. `--save` writes what was measured to results/dedup.json, and leaves
there what was not.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import multiprocessing
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.dedup.near.cluster import cluster_bands, merge_forests, merge_tree, write_components
from gristmill.dedup.near.fuzzy import map_signatures
from gristmill.dedup.near.minhash import band_keys, signatures
from gristmill.dedup.near.shingles import shingle_texts
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import sort_pairs
from gristmill.dedup.sorted.runs import key_range, num_parts, write_run
from gristmill.hashing import sha256_file

SETTINGS = FuzzySettings()
SHARD_DOCUMENTS = 500_000
RESULTS = Path(__file__).parent / "results" / "dedup.json"
PARTS = ("signatures", "clustering", "scale")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--only", default="signatures,clustering")
    parser.add_argument("--quick", action="store_true", help="little text, 100,000 documents")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write results/dedup.json")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--millions", type=float, nargs="*", default=[1.0])
    parser.add_argument(
        "--documents", type=int, nargs="*", default=[], help="cluster so many, see dedup_scale"
    )
    parser.add_argument("--memory-bytes", type=int, default=SETTINGS.memory_bytes)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    parts: dict[str, Any] = {}
    if arguments.documents:
        from dedup_scale import bench_scale

        parts["scale"] = []
        for count in arguments.documents:
            row = bench_scale(count, arguments.workers, arguments.scratch, arguments.memory_bytes)
            report(json.dumps(row))
            parts["scale"].append(row)
            if arguments.save:
                save(parts)
        arguments.only = ""
    if "signatures" in arguments.only:
        parts["signatures"] = signatures_row(arguments.texts, arguments.peers, 2 if arguments.quick else 5)
    if "clustering" in arguments.only:
        parts["clustering"] = []
        for millions in [0.1] if arguments.quick else arguments.millions:
            row = bench_clustering(int(millions * 1e6), arguments.workers, arguments.scratch)
            report(
                "  ".join(
                    f"{name} {value:,}" if isinstance(value, (int, float)) else f"{name} {value}"
                    for name, value in row.items()
                )
            )
            parts["clustering"].append(row)
            if arguments.save:  # the next size may take long
                save(parts)
    if arguments.save:
        save(parts)
    if arguments.json:
        print(json.dumps(described(parts)))


def described(parts: dict[str, Any]) -> dict[str, Any]:
    """Each part with the command, machine and versions it was measured with."""
    with_ = {
        "command": " ".join(
            [
                "python benchmarks/dedup.py",
                *(Path(word).name if "/" in word else word for word in sys.argv[1:]),
            ]
        ),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("numba", "numpy", "pyarrow")},
    }
    return {name: {"rows": value, **with_} for name, value in parts.items()}


def save(parts: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(
        json.dumps({**{name: kept[name] for name in PARTS if name in kept}, **described(parts)}, indent=1)
        + "\n"
    )


def signatures_row(paths: list[Path], python: str, rounds: int) -> dict[str, Any]:
    """Measure signatures beside the peers, and a whole map task, over the texts of files."""
    texts = list(read_texts(paths))
    speeds, sampled = bench_signatures(texts, python, rounds)
    row: dict[str, Any] = {
        "what": f"raw text to band keys, K = {SETTINGS.num_hashes}, MB/s of one core",
        "texts": {
            "files": [path.name for path in paths],
            "number": len(texts),
            "mb": round(sum(map(num_bytes, texts)) / 1e6, 1),
        },
        "peers_read": sampled,
        **compared(*speeds["whole"]),
        "signature_alone": {
            "what": f"word 5-grams (ours: their hashes) to signatures, K = {SETTINGS.num_hashes}",
            **compared(*speeds["signature"]),
        },
        "parquet_to_sorted_band_keys": round(bench_map(texts), 2),
    }
    for title, part in (("from raw text", row), ("signature alone", row["signature_alone"])):
        report(f"{title}: {part['ours']:.1f} MB/s")
        for name, ratio in part["ratio"].items():
            report(f"  {name}: {part['peers'][name]:.2f} MB/s, ours is {ratio:.1f} times as fast")
    report(f"a shard of Parquet to sorted band keys on disk: {row['parquet_to_sorted_band_keys']:.1f} MB/s")
    return row


def compared(ours: float, peers: dict[str, float]) -> dict[str, Any]:
    return {
        "ours": round(ours, 2),
        "peers": {name: round(speed, 3) for name, speed in peers.items()},
        "ratio": {name: round(ours / speed, 1) for name, speed in peers.items()},
    }


def num_bytes(text: str) -> int:
    return len(text.encode())


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def read_texts(paths: list[Path]) -> Iterator[str]:
    """Yield the texts of JSON lines, or what documentation this Python carries."""
    for path in paths:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from filter(None, (json.loads(line).get("text") for line in file))
    if not paths:
        from pydoc_data.topics import topics

        yield from topics.values()
        yield from (
            path.read_text("utf-8", "replace") for path in sorted(Path(os.__file__).parent.glob("*.py"))
        )


def ours_on(batch: pa.ChunkedArray) -> None:
    shingles, bounds = shingle_texts(SETTINGS, batch)
    band_keys(SETTINGS, signatures(SETTINGS, shingles, bounds), np.zeros(len(batch), np.uint64))


def bench_signatures(
    texts: list[str], python: str, rounds: int
) -> tuple[dict[str, tuple[float, dict[str, float]]], str]:
    """Return MB/s of ours and of each peer, from raw text and for the signature alone, and what the peers
    read.

    Rounds of ours and of the peers' process alternate, over the same texts; the median of each counts. The
    peers are slow: they get some 3 MB spread evenly over all texts, and stop after four seconds each.
    """
    size = sum(map(num_bytes, texts))
    sample = texts[:: max(1, size // 3_000_000)]
    batches = [
        pa.chunked_array([pa.array(texts[start : start + 1024], pa.large_string())])
        for start in range(0, len(texts), 1024)
    ]
    ours: dict[str, list[float]] = {"whole": [], "signature": []}
    peers: dict[str, dict[str, list[float]]] = {"whole": {}, "signature": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(sample))
        ours_on(batches[0])
        for _ in range(rounds):
            ours["whole"].append(size / 1e6 / cpu_seconds(lambda: list(map(ours_on, batches))))
            given = [shingle_texts(SETTINGS, batch) for batch in batches]
            work = functools.partial(signed, given)
            ours["signature"].append(size / 1e6 / cpu_seconds(work))
            run = subprocess.run(
                [python, Path(__file__).with_name("dedup_peers.py"), path], capture_output=True, text=True
            )
            if run.returncode:
                report(run.stderr)
            for part, speeds in json.loads(run.stdout or "{}").items():
                for name, speed in speeds.items():
                    peers[part].setdefault(name, []).append(speed)
    read = f"{len(sample)} of the texts, {sum(map(num_bytes, sample)) / 1e6:.1f} MB"
    found = {
        part: (
            float(np.median(ours[part])),
            {name: float(np.median(speeds)) for name, speeds in peers[part].items()},
        )
        for part in ours
    }
    return found, read


def signed(given: list[Any]) -> None:
    for shingles, bounds in given:
        signatures(SETTINGS, shingles, bounds)


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def bench_map(texts: list[str]) -> float:
    """Return MB/s of a whole map task: read Parquet, shingle, sign, sort, write."""
    import pyarrow.parquet as pq

    from gristmill.document import DOCUMENT, document_id

    count = len(texts)
    ids = [document_id("bench", str(number)) for number in range(count)]
    empty = {name: [None] * count for name in ("url", "date", "language", "language_score")}
    origin = [{"file": "bench", "offset": 0, "length": 0}] * count
    table = pa.table(
        {"id": ids, "source": ["bench"] * count, "text": texts, "origin": origin, **empty}
    ).select(DOCUMENT.names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.parquet"
        pq.write_table(table.cast(DOCUMENT), path, row_group_size=2048, compression="zstd")
        began = time.process_time()
        map_signatures(SETTINGS, path, 0, Path(folder) / "bands")
        return sum(map(num_bytes, texts)) / 1e6 / (time.process_time() - began)


def made_shard(folder: Path, shard: int, count: int, total: int) -> float:
    """Write the band keys of made documents and return the CPU seconds of sorting and writing.

    A fifth of all lies in clusters of 2, 4, ... 1,024 members, which share half their bands and cross shards;
    one in a hundred is the same boilerplate page.
    """
    generator = np.random.default_rng(shard)
    keys = generator.integers(0, 1 << 64, (count, SETTINGS.bands), dtype=np.uint64)
    size = 2 ** generator.integers(1, 11, count)
    cluster = (generator.random(count) * 0.02 * total / size).astype(np.uint64) * np.uint64(
        2048
    ) + size.astype(np.uint64)
    shared = (cluster[:, None] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.arange(
        SETTINGS.bands, dtype=np.uint64
    )
    for shift in (31, 29):
        shared = (shared ^ (shared >> np.uint64(shift))) * np.uint64(0xBF58476D1CE4E5B9)
    kind = generator.random(count)
    alike = (kind < 0.2)[:, None] & (generator.random(keys.shape) < 0.5)
    keys[alike] = shared[alike]
    keys[kind > 0.99] = np.random.default_rng(0).integers(0, 1 << 64, SETTINGS.bands, dtype=np.uint64)
    rows = np.repeat(np.arange(count, dtype=np.uint64), SETTINGS.bands)
    began = time.process_time()
    key, row = sort_pairs(keys.ravel(), rows)
    first_row = np.array([shard * SHARD_DOCUMENTS], np.uint64)
    write_run(
        folder / f"{shard:04d}.bands", {"key": key, "row": row.astype(np.uint32), "first_row": first_row}
    )
    return time.process_time() - began


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cluster_part(folder: Path, bands: list[Path], part: int, parts: int) -> tuple[float, int]:
    began = time.process_time()
    cluster_bands(bands, *key_range(part, parts), folder / f"0-{part}.run")
    (folder / f"0-{part}.0").rename(folder / f"0-{part}.forest")
    return time.process_time() - began, peak()


def merge_group(
    folder: Path, level: int, number: int, group: list[int], last: bool
) -> tuple[float, int, dict[str, int]]:
    """Merge forests as the step's task does; the last one is completed to components."""
    began = time.process_time()
    forest = folder / f"{level}-{number}.forest"
    counts = merge_forests([folder / f"{level - 1}-{leaf}.forest" for leaf in group], forest)
    if last:
        counts = write_components(forest, folder / "components", SETTINGS.group_documents)
    return time.process_time() - began, peak(), counts


def bench_clustering(count: int, workers: int, scratch: Path | None) -> dict[str, Any]:
    """Cluster made documents, every task in a pool's process; return CPU and wall seconds, peak memory, and
    what was found."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        sizes = [min(SHARD_DOCUMENTS, count - start) for start in range(0, count, SHARD_DOCUMENTS)]
        processes = multiprocessing.get_context("spawn")
        with processes.Pool(workers) as pool:
            sorting = sum(
                pool.starmap(
                    made_shard, [(folder, shard, size, count) for shard, size in enumerate(sizes)], 1
                )
            )
        bands = sorted(folder.glob("*.bands"))
        parts = num_parts(count * SETTINGS.bands, SETTINGS.part_records)
        merged = []
        began = time.perf_counter()
        with processes.Pool(workers) as pool:
            clustered = pool.starmap(cluster_part, [(folder, bands, part, parts) for part in range(parts)], 1)
            for level, groups in enumerate(merge_tree(parts), start=1):
                last = len(groups) == 1
                merged += pool.starmap(
                    merge_group,
                    [(folder, level, number, group, last) for number, group in enumerate(groups)],
                    1,
                )
        wall = time.perf_counter() - began
        seconds = [sorting, sum(row[0] for row in clustered), sum(row[0] for row in merged)]
        return {
            "documents": count,
            "workers": workers,
            "parts": parts,
            **{
                f"{name}_cpu_s": round(value, 1)
                for name, value in zip(("sort", "cluster", "merge"), seconds, strict=True)
            },
            "cpu_us_per_document": round(sum(seconds) / count * 1e6, 2),
            "cluster_and_merge_wall_s": round(wall, 1),
            "cluster_task_peak_mb": round(max(row[1] for row in clustered) / 1e6),
            "merge_task_peak_mb": round(max(row[1] for row in merged) / 1e6),
            "driver_peak_mb": round(peak() / 1e6),
            "components": merged[-1][2]["components"],
            "clustered": merged[-1][2]["documents"],
            "digest": sha256_file(folder / "components")[:12],
        }
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
