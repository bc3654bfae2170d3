"""What a filter worker takes in memory: one file of documents and many times as many; documents of 200 MB.

    python benchmarks/filters_size.py texts.jsonl.gz [--times 1 5 25] [--quick] [--json] [--save]

Each row is a process of its own that runs the task of the filter stage over one Parquet file: texts repeated
so many times, or one document of running text, of a single word, of empty lines, or of the same word again
and again. Peaks are of the whole process, interpreter and libraries included; `idle` is what they take before
the first document.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filters_texts import documents, machine, plain_argument, read_texts

from gristmill.document import DOCUMENT
from gristmill.files.storage import ParquetWriter

RESULT = Path(__file__).parent / "results" / "filters_size.json"
PRESETS = ("gopher", "gopher-repetition", "c4-code", "fineweb")
SENTENCE = "This is a line of a page about nothing much, and it ends here.\n"
HUGE = {
    "running text": SENTENCE,
    "one word": "x",
    "empty lines": "\n",
    "one word again and again": "word ",
    "Han": "\u6c34",
}

WORKER = """
import json, sys, time
from pathlib import Path
from gristmill.filters.settings import FilterSettings
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.filter import filter_file
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.stages.filter import FilterSlice
def peak():  # ru_maxrss would begin with what the parent took
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 // 1_000_000
path, folder, presets = sys.argv[1], Path(sys.argv[2]), tuple(sys.argv[3].split(","))
scratch = folder / "scratch"
scratch.mkdir(parents=True)
idle, start = peak(), time.process_time()
piece = FilterSlice(source="bench", filter=FilterSettings(presets=presets), keep_removed="text")
filter_file(Attempt(folder, scratch, TaskRecord("filter", "00000"), piece, 1), path)
print(json.dumps({"idle_mb": idle, "peak_mb": peak(), "cpu_seconds": round(time.process_time() - start, 1)}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--times", type=int, nargs="*", default=[1, 5, 25])
    parser.add_argument("--quick", action="store_true", help="a document of 20 MB instead of 200")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save", action="store_true", help="keep the result in benchmarks/results/filters_size.json"
    )
    arguments = parser.parse_args()
    texts = list(read_texts(arguments.texts))
    size = 20_000_000 if arguments.quick else 200_000_000
    rows: dict[str, Any] = {f"{times} x {len(texts):,} texts": run(texts, times) for times in arguments.times}
    for name, piece in HUGE.items():
        rows[f"{size // 1_000_000} MB of {name}"] = run([piece * (size // len(piece.encode()))], 1)
    result = {
        "what": f"peak memory of a filter worker, {', '.join(PRESETS)}",
        "rows": rows,
        "machine": machine(),
        "versions": (
            {name: version(name) for name in ("numba", "numpy", "pyarrow")}
            | {"python": platform.python_version()}
        ),
        "command": " ".join(["python", "benchmarks/filters_size.py", *map(plain_argument, sys.argv[1:])]),
    }
    if arguments.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))


def run(texts: list[str], times: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.parquet"
        with ParquetWriter(path, DOCUMENT) as writer:
            for _ in range(times):
                writer.write(documents(texts))
        command = [sys.executable, "-c", WORKER, str(path), str(Path(folder) / "step"), ",".join(PRESETS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    row["text_mb"] = times * sum(len(text.encode()) for text in texts) // 1_000_000
    print(f"{times} x {len(texts):,} texts, {row['text_mb']:,} MB: {json.dumps(row)}", file=sys.stderr)
    return row


if __name__ == "__main__":
    main()
