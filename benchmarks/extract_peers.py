"""datatrove from archive to filtered text, run by `extract.py` in an interpreter that has it with its readers
and spaCy.

    python benchmarks/extract_peers.py ARCHIVE LIMIT

Prints one JSON object {seconds, kept}: CPU seconds of this process and its sandbox, after a first page that
pays for imports.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter
from datatrove.pipeline.readers import WarcReader


def cpu_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def run(archive: Path, limit: int) -> int:
    """Read, extract and filter with datatrove's defaults; returns the number of documents kept."""
    data = WarcReader(str(archive.parent), glob_pattern=archive.name, limit=limit).run()
    for step in (Trafilatura(timeout=10), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()):
        data = step.run(data)
    return sum(1 for _ in data)


def main() -> None:
    archive, limit = Path(sys.argv[1]), int(sys.argv[2])
    run(archive, 2)
    started = cpu_seconds()
    kept = run(archive, limit)
    print(json.dumps({"seconds": cpu_seconds() - started, "kept": kept}))


if __name__ == "__main__":
    main()
