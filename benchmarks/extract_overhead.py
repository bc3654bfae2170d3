"""What reading, gating, decoding, language and the killable process cost on top of the extractor itself.

    python benchmarks/extract_overhead.py [crawl-0000.warc.gz ...] [--quick] [--json] [--extractor
    trafilatura]

Three ways over the same pages, in turn, archive by archive, all in CPU seconds of every process involved: the
bare extractor on decoded pages in memory; the whole extraction of gristmill from archive to Arrow tables; and
datatrove's WarcReader with the same extractor in its sandbox (it asks for `faust-cchardet` and
`python-magic`; left out where they are not installed). Without archives, pages of the quickstart are taken.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import json
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from gristmill.pipeline.extract.decoding.charset import decode_utf8
from gristmill.pipeline.extract.decoding.content import decode_content
from gristmill.pipeline.extract.extraction import Extraction
from gristmill.pipeline.extract.extractors import load_extractor
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import Record
from gristmill.pipeline.sources.settings import SourceSettings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", nargs="*")
    parser.add_argument("--extractor", default="trafilatura")
    parser.add_argument("--quick", action="store_true", help="60 pages of each archive")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    limit = 60 if arguments.quick else None
    totals = {"bare": 0.0, "ours": 0.0, "datatrove": 0.0}
    num_pages = 0
    archives = arguments.archives or quickstart_archives(Path(tempfile.mkdtemp(prefix="gristmill-bench-")))
    for archive in archives:
        source = SourceSettings(inputs=[archive], limit=limit)
        pages = decoded_pages(source)
        num_pages += len(pages)
        # Imports and first calls are nobody's page time: a worker keeps its extractor's process from task to
        # task.
        run_bare(arguments.extractor, pages[:5])
        run_ours(arguments.extractor, source.model_copy(update={"limit": 5}))
        gc.collect()
        # as the extractor's process does: else the bare run pays for what this script holds in memory
        gc.freeze()
        totals["bare"] += cpu_seconds(lambda: run_bare(arguments.extractor, pages))  # noqa: B023 - called at once
        totals["ours"] += cpu_seconds(lambda: run_ours(arguments.extractor, source))  # noqa: B023
        if arguments.extractor == "trafilatura" and all(map(importlib.util.find_spec, ("cchardet", "magic"))):
            totals["datatrove"] += cpu_seconds(lambda: run_datatrove(archive, limit))  # noqa: B023
        print(
            f"{archive}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in totals.items()),
            file=sys.stderr,
        )
    report(arguments, num_pages, totals)


def report(arguments: argparse.Namespace, num_pages: int, totals: dict[str, float]) -> None:
    rates = {name: num_pages / seconds for name, seconds in totals.items() if seconds}
    overhead = totals["ours"] / totals["bare"] - 1
    alone = f"{num_pages} pages; {arguments.extractor} alone {rates['bare']:.1f} pages/s"
    print(f"{alone}, gristmill {rates['ours']:.1f} ({overhead:+.1%})")
    if "datatrove" in rates:
        print(f"datatrove {rates['datatrove']:.1f} pages/s ({totals['datatrove'] / totals['bare'] - 1:+.1%})")
    if arguments.json:
        peers = {f"{arguments.extractor} alone": rates["bare"]} | {
            name: rates[name] for name in ("datatrove",) if name in rates
        }
        print(json.dumps(summary(arguments.extractor, rates["ours"], peers, num_pages, overhead)))


def summary(
    extractor: str, ours: float, peers: dict[str, float], num_pages: int, overhead: float
) -> dict[str, Any]:
    return {
        "what": f"archive to documents with {extractor}",
        "unit": "pages per CPU second",
        "ours": round(ours, 2),
        "peers": {name: round(value, 2) for name, value in peers.items()},
        "ratio": {name: round(ours / value, 3) for name, value in peers.items()},
        "pages": num_pages,
        "overhead_fraction": round(overhead, 4),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in ("trafilatura", "resiliparse", "datatrove", "pycld2")},
        "command": shlex.join(
            [
                "python",
                "benchmarks/extract_overhead.py",
                *("/".join(Path(part).parts[-2:]) for part in sys.argv[1:]),
            ]
        ),
    }


def quickstart_archives(folder: Path) -> list[str]:
    from gristmill.pipeline.demo.corpus import build_corpus

    build_corpus(folder, seed=1)
    return sorted(map(str, folder.rglob("*.warc.gz")))[:1]


def cpu_seconds(work: Callable[[], object]) -> float:
    def now() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
        return (
            time.process_time()
            + ended.ru_utime
            + ended.ru_stime
            + sum(times.user + times.system for times in running)
        )

    before = now()
    work()
    return now() - before


def decoded_pages(source: SourceSettings) -> list[tuple[bytes, str | None]]:
    pages = []
    for shard in plan_shards(source, 1 << 40):
        for item in read_records(shard, source):
            if isinstance(item, Record) and item.payload and item.status in (200, None):
                body = decode_content(item.payload, item.content_encoding, 20_000_000).body
                pages.append((decode_utf8(body, item.charset)[0], item.url))
    return pages


def run_bare(extractor: str, pages: list[tuple[bytes, str | None]]) -> None:
    extract = load_extractor(extractor)
    for html, url in pages:
        extract(html, url)


def run_ours(extractor: str, source: SourceSettings) -> None:
    for shard in plan_shards(source, 1 << 40):
        for _ in Extraction(shard, "web", source, ExtractSettings(extractor=extractor)):
            pass


def run_datatrove(archive: str, limit: int | None) -> None:
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    path = Path(archive)
    reader = WarcReader(str(path.parent), glob_pattern=path.name, limit=limit or -1)
    extractor = Trafilatura(favour_precision=False, deduplicate=False, timeout=10)
    with contextlib.redirect_stderr(None):
        for _ in extractor.run(reader.run()):
            pass


if __name__ == "__main__":
    main()
