"""What reading a page's opt-outs and licence marks costs, beside the extraction of its text.

    python benchmarks/statements.py CRAWL.warc.gz [--quick] [--json] [--save]

CPU seconds of one core over the pages of an archive, decoded: `pipeline/extract/statements.py`, and the
extractors that a page goes through anyway. The share is what `rights` adds to each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from gristmill.pipeline.extract.decoding.charset import decode_utf8
from gristmill.pipeline.extract.extractors import load_extractor
from gristmill.pipeline.extract.statements import of_page
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import Record
from gristmill.pipeline.sources.settings import SourceSettings

RESULT = Path(__file__).parent / "results" / "statements.json"
EXTRACTORS = ("trafilatura", "resiliparse", "blocks")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--quick", action="store_true", help="100 pages")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    arguments = parser.parse_args()
    source = SourceSettings(inputs=[str(arguments.archive)])
    records = (item for shard in plan_shards(source, 1 << 40) for item in read_records(shard, source))
    found = (item for item in records if isinstance(item, Record) and item.payload)
    chosen = islice(found, 100 if arguments.quick else 600)
    pages = [decode_utf8(item.payload or b"", item.charset)[0] for item in chosen]
    ours = seconds(of_page, pages, 5)
    peers = {}
    for name in EXTRACTORS:
        extract = load_extractor(name)
        peers[name] = seconds(lambda page, extract=extract: extract(page, None), pages, 1)  # type: ignore[misc]
    result: dict[str, Any] = {
        "what": f"opt-outs and licence marks of {len(pages)} pages of {size(pages):,.0f} bytes on average",
        "unit": "microseconds a page",
        "ours": round(1e6 * ours / len(pages), 1),
        "peers": {name: round(1e6 * spent / len(pages), 1) for name, spent in peers.items()},
        "ratio": {name: round(ours / spent, 4) for name, spent in peers.items()},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in ("trafilatura", "resiliparse")},
    }
    result["command"] = f"python benchmarks/statements.py CRAWL.warc.gz ({len(pages)} real pages)"
    if arguments.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def size(pages: list[bytes]) -> float:
    return sum(map(len, pages)) / len(pages)


def seconds(read: Callable[[bytes], object], pages: list[bytes], times: int) -> float:
    """CPU seconds for all pages, of several rounds the best."""
    read(pages[0])
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        for page in pages:
            read(page)
        best = min(best, time.process_time() - began)
    return best


if __name__ == "__main__":
    main()
