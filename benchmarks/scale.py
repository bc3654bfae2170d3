"""Does it scale? Throughput and peak memory at 1x, 10x, 100x input, planning and dispatching a hundred
thousand shards.

    python benchmarks/scale.py [--quick] [--json] [--save] [--only lines,archives,dispatch,planning]

`lines`: JSON lines to committed documents; `archives`: web archives to documents through an extractor. Both
run on Ray with one worker; a shard is small, so that 1x already has several. The peer of `lines` is the same
work in one plain loop that reads and writes Parquet with pyarrow and commits nothing: what the manifest, the
index sidecars, the books and the fsyncs cost on top. `dispatch`: empty tasks on Ray. `planning`: listing and
cutting inputs that are not opened.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "scale.json"
PARTS = ("lines", "archives", "planning", "dispatch")
TEXT_BYTES = 4000
FACTORS = (1, 10, 100)


def write_lines(folder: Path, num_documents: int) -> str:
    with (folder / "in.jsonl").open("w") as file:
        for number in range(num_documents):
            file.write(json.dumps({"id": str(number), "text": f"{number} {text(number)}"}) + "\n")
    return "in.jsonl"


def write_archives(folder: Path, num_pages: int, pages_per_file: int = 100) -> str:
    """Write web archives of pages that are all different, a gzip member each."""
    for first in range(0, num_pages, pages_per_file):
        with (folder / f"web-{first:08d}.warc.gz").open("wb") as file:
            for number in range(first, min(first + pages_per_file, num_pages)):
                paragraphs = "".join(f"<p>{text(number + 31 * part)}</p>" for part in range(1 + number % 5))
                page = f"<html><head><title>{number}</title></head><body><article>{paragraphs}</article>"
                page += "</body></html>"
                body = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{page}".encode()
                head = (
                    f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
                    f"WARC-Date: 2025-01-15T12:00:00Z\r\nWARC-Target-URI: http://example.org/{number}\r\n"
                    f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                file.write(gzip.compress(head.encode() + body + b"\r\n\r\n", 1))
    return "web-*.warc.gz"


def text(number: int) -> str:
    words = __doc__.split()
    return " ".join(words[(number * 7 + k * k) % len(words)] for k in range(TEXT_BYTES // 5))


def mill(folder: Path, inputs: str, shard_bytes: int, num_documents: int) -> dict[str, float]:
    """Extract on Ray with one worker, in a process of its own; return seconds, rates, and peak memory on both
    sides."""
    result = run_alone(folder, "mill", inputs, shard_bytes)
    if result["documents"] != num_documents:
        raise RuntimeError(f"{result['documents']} documents came of {num_documents}")
    return result


def run_alone(folder: Path, function: str, *arguments: object) -> dict[str, Any]:
    """Call a function of `scale_work` in a process of its own, so that its peak is nobody else's."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"}
    code = f"import json, scale_work\nprint(json.dumps(scale_work.{function}(*{arguments!r})))\n"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def plain_loop(folder: Path) -> float:
    """The peer: orjson and pyarrow in one loop; returns seconds."""
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    began, rows, writer = time.perf_counter(), [], None
    with (folder / "in.jsonl").open("rb") as file:
        for line in file:
            rows.append(orjson.loads(line))
            if len(rows) == 2048:
                writer = writer or pq.ParquetWriter(
                    folder / "plain.parquet", pa.Table.from_pylist(rows).schema, compression="zstd"
                )
                writer.write_table(pa.Table.from_pylist(rows))
                rows = []
    if rows:
        writer = writer or pq.ParquetWriter(
            folder / "plain.parquet", pa.Table.from_pylist(rows).schema, compression="zstd"
        )
        writer.write_table(pa.Table.from_pylist(rows))
    if writer:
        writer.close()
    return time.perf_counter() - began


def growth(sizes: dict[str, dict[str, float]], key: str) -> float:
    return round(sizes["100x"][key] / sizes["1x"][key], 3)


def mill_sizes(
    folder: Path, name: str, base: int, write: Callable[[Path, int], tuple[str, int]]
) -> dict[str, Any]:
    """Mill 1x, 10x and 100x as many documents; `write` returns the inputs it wrote and the size of a
    shard."""
    sizes = {}
    for factor in FACTORS:
        place = folder / f"{name}-{factor}"
        place.mkdir()
        inputs, shard_bytes = write(place, factor)
        sizes[f"{factor}x"] = mill(place, inputs, shard_bytes, base * factor)
        print(f"{name} {factor}x: {sizes[f'{factor}x']}", file=sys.stderr)
    return {
        "driver_growth_1x_to_100x": growth(sizes, "driver_peak_bytes"),
        "worker_growth_1x_to_100x": growth(sizes, "worker_peak_bytes"),
        "sizes": sizes,
    }


def lines(folder: Path, quick: bool) -> dict[str, Any]:
    base = 200 if quick else 2000

    def write(place: Path, factor: int) -> tuple[str, int]:
        return write_lines(place, base * factor), base * TEXT_BYTES // 8

    milled = mill_sizes(folder, "lines", base, write)
    mega = base * 100 * TEXT_BYTES / 1e6
    ours, peer = mega / milled["sizes"]["100x"]["work_seconds"], mega / plain_loop(folder / "lines-100")
    return {
        "unit": "MB/s of text, one worker, 100x",
        "ours": round(ours, 1),
        "peers": {"plain pyarrow loop": round(peer, 1)},
        "ratio": {"plain pyarrow loop": round(ours / peer, 3)},
        **milled,
    }


def archives(folder: Path, quick: bool) -> dict[str, Any]:
    base = 20 if quick else 200

    def write(place: Path, factor: int) -> tuple[str, int]:
        inputs = write_archives(place, base * factor, base // 4)
        return inputs, sum(path.stat().st_size for path in place.glob(inputs)) // (8 * factor)

    milled = mill_sizes(folder, "archives", base, write)
    ours = base * 100 / milled["sizes"]["100x"]["work_seconds"]
    return {"unit": "pages/s, one worker, 100x", "ours": round(ours, 1), **milled}


def dispatch(folder: Path, quick: bool) -> dict[str, Any]:
    """Give tasks that do nothing to Ray and return the driver's rate and peak memory."""
    num_shards = 200 if quick else 100_000
    return run_alone(folder, "drive", num_shards)


def planning(folder: Path, quick: bool) -> dict[str, Any]:
    """Plan a hundred thousand small inputs."""
    num_inputs = 1000 if quick else 100_000
    for number in range(num_inputs):
        place = folder / "inputs" / f"{number // 1000:03d}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{number:06d}.warc.gz").write_bytes(b"x" * (number % 7))
    return run_alone(folder, "plan", "inputs/*/*.warc.gz")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save",
        action="store_true",
        help="keep the result beside those of other benches; parts not run stay",
    )
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    options = parser.parse_args()
    functions = {"lines": lines, "archives": archives, "dispatch": dispatch, "planning": planning}
    line: dict[str, Any] = json.loads(RESULT.read_text()) if options.save and RESULT.exists() else {}
    line["what"] = "memory and speed from 1x to 100x input; a hundred thousand shards planned and dispatched"
    versions = {name: importlib.metadata.version(name) for name in ("ray", "pyarrow")} | {
        "python": platform.python_version()
    }
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            part = functions[name](Path(folder), options.quick)
        command = f"python benchmarks/scale.py --only {name}{' --quick' if options.quick else ''}"
        line[name] = {
            **part,
            "command": command,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "versions": versions,
        }
        print(f"{name}: {line[name]}", file=sys.stderr)
    if options.save:
        RESULT.write_text(json.dumps(line, indent=1) + "\n")
    print(json.dumps(line) if options.json else json.dumps(line, indent=1))


if __name__ == "__main__":
    main()
