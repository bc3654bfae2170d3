"""Fuzz the block extractor with mutated pages: nothing may crash, take long, or give bad text.

    python benchmarks/extract_fuzz.py PAGES.warc.gz... [--minutes 60] [--seed 0] [--json]

Each case takes a real page, mutates it (cuts, swaps, repeats, unclosed raw elements, deep nesting, broken
quotes, references, bytes) and extracts it. A case fails if it raises, if its text is no UTF-8, or if it takes
more than 50 ms of CPU time per 100 KB (and 5 ms in all), confirmed three times. A crash of the interpreter
ends the run; the case under way is kept in --keep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType

from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.decoding.charset import decode_utf8

PIECES = (
    b"<script>", b"</script>", b"<style>", b"<svg>", b"</svg>", b"<template>", b"<title>", b"<textarea>",
    b"<iframe>",
    b"<!--", b"-->", b"<![CDATA[", b"<div>", b"</div>", b"<p>", b"<li>", b"<table><tr><td>", b"</table>",
        b"<a href=x>",
    b"<pre>", b"<math>", b"<select>", b"<option>", b"<x-y>", b"</x-y>", b"<br>", b"&#x10FFFF;", b"&nGt;",
    b"&", b"&#0;",
    b"&#xD800;", b"&notit;", b"<", b">", b'"', b"'", b"=", b"\0", b"\xff\xfe", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x80", b"\xc2\xa0", b"\xe3\x80\x80", b" class='", b' style="display:none', b"<time datetime=",
    b"<meta property=article:published_time content=0000-99-99>",
    b'<script type=application/ld+json>[[[[{"headline":1',
)  # fmt: skip
MS_PER_100KB = 50.0
MIN_MS = 5.0


def mutate(page: bytes, other: bytes, draw: random.Random) -> bytes:
    """Apply one to six random edits to a page."""
    for _ in range(draw.randint(1, 6)):
        at, end = sorted((draw.randrange(len(page) + 1), draw.randrange(len(page) + 1)))
        match draw.randrange(9):
            case 0:
                page = page[:at] + page[end:] if draw.random() < 0.3 else page[:at]
            case 1:
                page = page[:at] + draw.choice(PIECES) + page[at:]
            case 2:
                page = page[:at] + draw.choice(PIECES) * draw.choice((2, 50, 3000, 20_000)) + page[at:]
            case 3:
                start = draw.randrange(len(other) + 1)
                page = page[:at] + other[start : start + draw.choice((10, 500, 20_000))] + page[end:]
            case 4:
                data = bytearray(page)
                for _ in range(draw.choice((1, 20, 500)) if data else 0):
                    data[draw.randrange(len(data))] = draw.randrange(256)
                page = bytes(data)
            case 5:
                page = page[:at] + page[at : at + 300] * draw.choice((2, 30, 200)) + page[at:]
            case 6:
                page = page.replace(
                    draw.choice((b"</", b">", b'"', b"<div", b" ", b"</script")),
                    draw.choice(PIECES),
                    draw.choice((1, 30, -1)),
                )
            case 7:
                piece, closing = draw.choice(
                    (
                        (b"<div class='a b'>", b"</div>"),
                        (b"<q-z>", b"</q-z>"),
                        (b"<ul><li>", b"</ul>"),
                        (b"<b><p>", b""),
                    )
                )
                depth = draw.choice((100, 1000, 30_000))
                page = page[:at] + piece * depth + b"text " + closing * depth + page[at:]
            case 8:
                page = page[end:] + page[at:end] + page[:at]
        if len(page) > 4_000_000:
            page = page[:4_000_000]
    return page


def cpu_ms(page: bytes) -> float:
    """Return the CPU time one extraction takes."""
    started = time.process_time()
    found = extract(page, "https://example.org/a/b")
    took = (time.process_time() - started) * 1000
    found.text.encode()
    return took


def run(pages: list[bytes], minutes: float, seed: int, keep: Path) -> dict[str, object]:
    """Extract mutated pages until the time is up; returns counts and the slowest case."""
    draw = random.Random(seed)
    began = time.process_time()
    ends, num, num_bytes, slowest, failures = time.monotonic() + 60 * minutes, 0, 0, 0.0, []
    while time.monotonic() < ends:
        body = mutate(draw.choice(pages), draw.choice(pages), draw)
        keep.write_bytes(body)
        page, _ = decode_utf8(body, draw.choice((None, "utf-8", "windows-1251", "shift_jis", "iso-2022-jp")))
        size = len(page)
        try:
            took = cpu_ms(page)
            if took > max(MIN_MS, MS_PER_100KB * size / 100_000):
                took = min(took, *(cpu_ms(page) for _ in range(3)))
                if took > max(MIN_MS, MS_PER_100KB * size / 100_000):
                    failures.append(f"case {num}: {took:.1f} ms for {size} bytes")
            slowest = max(slowest, took / max(size, 10_000) * 100_000)
        except Exception as error:
            failures.append(f"case {num}: {type(error).__name__}: {error}")
        if len(failures) > 20:
            break
        num, num_bytes = num + 1, num_bytes + size
    cpu_minutes = round((time.process_time() - began) / 60, 1)
    return {"cases": num, "bytes": num_bytes, "failures": failures, "minutes": minutes,
        "cpu_minutes": cpu_minutes,
            "slowest_ms_per_100kb": round(slowest, 2)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "extract_fuzz.html")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pages = []
    for path in options.archives:
        with path.open("rb") as file:
            pages += [
                record.reader.read()
                for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True)
            ]
    extract("<p>compiled first</p>")
    result = run([page[:400_000] for page in pages], options.minutes, options.seed, options.keep)
    if options.json:
        print(json.dumps(summary(result, options.seed), indent=1))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


def summary(result: dict[str, object], seed: int) -> dict[str, object]:
    return {
        "what": f"fuzz of the block extractor with mutated real pages, seed {seed}",
        "unit": "CPU ms per 100 KB, slowest case",
        "ours": result["slowest_ms_per_100kb"],
        "peers": {},
        "ratio": {},
        **result,
        "command": shlex.join(
            [
                "python",
                "benchmarks/extract_fuzz.py",
                *(Path(part).name if "/" in part else part for part in sys.argv[1:]),
            ]
        ),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in ("numba", "numpy")},
    }


if __name__ == "__main__":
    main()
