"""Main text: how good and how fast, beside trafilatura and resiliparse, and from archive to filtered text
beside datatrove.

    python benchmarks/extract.py pages/*.warc.gz --gold pages/gold.jsonl.gz [--heavy heavy/*.warc.gz]
        [--unseen] [--only pages,heavy,killable,archive_to_filtered_text,quality] [--quick] [--json] [--save]
        [--peers PYTHON]

Quality is F1 of word 4-gram multisets against full gold (macro over pages) and F1 over all snippets, with 95
% intervals by bootstrap over registered domains. The shipped model has seen its training pages: unless
`--unseen` says that these are others, our scores come from models that saw no page of the same domain (five
fits: minutes). Speed is pages per CPU second, a hundred pages a turn: ours with charset decoding and output,
the peers on decoded pages. `--peers` names an interpreter that has datatrove as its readers and filters want
it (`pip install datatrove faust-cchardet python-magic warcio trafilatura spacy nltk`). The whole takes a
quarter of an hour; `--only` runs some parts, and `--save` leaves those not run as they were.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pictures
import psutil
from fastwarc.warc import ArchiveIterator, WarcRecordType

from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.training.cross_validation import PageScore, cross_validate, judge
from gristmill.pipeline.extract.blocks.training.page import LabelledPage, read_pages
from gristmill.pipeline.extract.blocks.training.summary import gain_interval, interval, mean_score
from gristmill.pipeline.extract.child import Child
from gristmill.pipeline.extract.decoding.charset import decode, decode_utf8
from gristmill.pipeline.extract.frames import Page
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.text.detection import detect

PRESETS = ("gopher", "c4-code", "fineweb")
Way = Callable[[str, str], str]
RESULT = Path(__file__).parent / "results" / "extract.json"
_TURN = 100  # pages
_WAYS: dict[str, Literal["blocks", "auto"]] = {"gristmill": "blocks", "gristmill auto": "auto"}


def ours(html: str | bytes, url: str) -> str:
    return extract(html, url, BlocksSettings(metadata=False)).text


def trafilatura(html: str, url: str) -> str:
    from trafilatura import extract as extract_main

    return extract_main(html, url=url) or ""


def trafilatura_fast(html: str, url: str) -> str:
    from trafilatura import extract as extract_main

    return extract_main(html, url=url, fast=True) or ""


def resiliparse(html: str, url: str) -> str:
    """With the settings of its authors' evaluation (web-content-extraction-benchmark, extractors.py)."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    said = {"list_bullets": False, "comments": False, "links": False, "alt_texts": False}
    return extract_plain_text(HTMLTree.parse(html), preserve_formatting=True, main_content=True, **said) or ""


PEERS: dict[str, Way] = {
    "trafilatura": trafilatura,
    "trafilatura, fast": trafilatura_fast,
    "resiliparse": resiliparse,
}


def quality(pages: Sequence[LabelledPage], unseen: bool) -> dict[str, list[PageScore]]:
    """Score every way on every page with gold."""
    scores: dict[str, list[PageScore]] = {name: [] for name in PEERS}
    for page in pages:
        html = page.html.tobytes().decode()
        for name, way in PEERS.items():
            scores[name].append(judge(page, way(html, page.url)))
    if unseen:
        scores["blocks"] = [judge(page, ours(page.html.tobytes().decode(), page.url)) for page in pages]
    else:
        scores["blocks"] = cross_validate(pages, say=lambda line: print(line, file=sys.stderr)).scores
    return scores


def summarise_quality(scores: dict[str, list[PageScore]]) -> dict[str, Any]:
    """Return and print the mean scores of each way by kind of gold, with intervals, and our gain over each
    peer."""
    found: dict[str, Any] = {}
    for kind in ("full", "snippets"):
        rows = [i for i, one in enumerate(scores["blocks"]) if one.page.kind == kind]
        for name in scores if rows else ():
            own = [scores[name][i] for i in rows]
            row: dict[str, Any] = {
                "pages": len(rows),
                "f1": round(mean_score(own), 4),
                "f1_interval": interval(own),
            }
            if kind == "full":
                row |= {"precision": round(float(np.mean([one.precision for one in own])), 4)}
                row |= {"recall": round(float(np.mean([one.recall for one in own])), 4)}
            if name != "blocks":
                row["gain_of_blocks_interval"] = gain_interval([scores["blocks"][i] for i in rows], own)
            found.setdefault(kind, {})[name] = row
            print(f"{kind:9} {name:12} " + ", ".join(f"{key} {value}" for key, value in row.items()))
        if rows:
            found[kind]["by_language"] = by_language(scores, rows)
    return found


def by_language(scores: dict[str, list[PageScore]], rows: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return the number of pages and the mean scores of each way in each language of some rows."""
    languages = sorted({scores["blocks"][i].page.language for i in rows})
    of = {
        language: [i for i in rows if scores["blocks"][i].page.language == language] for language in languages
    }
    return {
        language: (
            {"pages": len(own)}
            | {name: round(mean_score([scores[name][i] for i in own]), 4) for name in scores}
        )
        for language, own in of.items()
    }


def responses(archives: Sequence[Path], limit: int | None) -> list[tuple[str, str | None, bytes]]:
    """Read (URL, charset of the header, body) of up to `limit` pages an archive."""
    found = []
    for path in archives:
        with path.open("rb") as file:
            for number, record in enumerate(
                ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True)
            ):
                if number == limit:
                    break
                found.append(
                    (record.headers.get("WARC-Target-URI") or "", record.http_charset, record.reader.read())
                )
    return found


def speed(pages: Sequence[tuple[str, str | None, bytes]]) -> dict[str, float]:
    """Return pages per CPU second of each way, in turns of some pages as a worker has them in a row; ours
    with decoding."""
    seconds = dict.fromkeys(("blocks", *PEERS), 0.0)
    for way in (ours, *PEERS.values()):
        way("<p>imports and compilation are nobody's page time</p>", "https://example.org/")
    for first in range(0, len(pages), _TURN):
        turn = pages[first : first + _TURN]
        started = time.process_time()
        for url, charset, body in turn:
            ours(decode_utf8(body, charset)[0], url)
        seconds["blocks"] += time.process_time() - started
        texts = [(decode(body, charset)[0], url) for url, charset, body in turn]
        for name, way in PEERS.items():
            started = time.process_time()
            for html, url in texts:
                way(html, url)
            seconds[name] += time.process_time() - started
    return {name: round(len(pages) / spent, 1) for name, spent in seconds.items()}


def in_process_and_in_child(pages: Sequence[tuple[str, str | None, bytes]]) -> dict[str, float]:
    """Return pages per CPU second of bytes to text and language in this process, and through the killable
    one, in turns."""
    seconds = {"in_process": 0.0, "in_child": 0.0}

    def here(turn: Sequence[Page]) -> int:
        return sum(len(detect(ours(decode_utf8(page.payload, page.charset)[0], page.url))) for page in turn)

    with Child(ExtractSettings(extractor="blocks")) as child:
        ways = {"in_process": here, "in_child": lambda turn: len(list(child.extract(turn)))}
        batch = [Page(url, "text/html", charset or "", "", body) for url, charset, body in pages]
        for first in range(0, len(batch), _TURN):
            for name, way in ways.items():
                if first == 0:
                    way(batch[:3])
                seconds[name] += cpu_seconds(functools.partial(way, batch[first : first + _TURN]))[0]
    rates = {name: round(len(pages) / spent, 1) for name, spent in seconds.items()}
    print(", ".join(f"{name} {rate}" for name, rate in rates.items()))
    return rates


def cpu_seconds(work: Callable[[], int]) -> tuple[float, int]:
    """Return the CPU seconds of this process and its children that a piece of work takes, and its result."""

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
    result = work()
    return now() - before, result


def filtered_by_gristmill(archive: Path, limit: int | None, extractor: Literal["blocks", "auto"]) -> int:
    """Archive to documents to filters, as the stages do it; returns the number of documents kept."""
    from gristmill.filters.passes import compile_filters
    from gristmill.filters.settings import FilterSettings
    from gristmill.pipeline.extract.extraction import Extraction
    from gristmill.pipeline.sources.plan import plan_shards
    from gristmill.pipeline.sources.settings import SourceSettings

    source = SourceSettings(inputs=[str(archive)], limit=limit)
    filters, kept = compile_filters(FilterSettings(presets=PRESETS), seed=0), 0
    for shard in plan_shards(source, 1 << 40):
        for batch in Extraction(shard, "web", source, ExtractSettings(extractor=extractor)):
            if batch.documents.num_rows:
                kept += filters.apply(batch.documents, first_row=0).kept.num_rows
    return kept


def filtered_by_datatrove(python: str, archive: Path, limit: int | None) -> float:
    """Return the CPU seconds of the same through datatrove's reader, extractor and filters, with its
    defaults."""
    command = [python, str(Path(__file__).with_name("extract_peers.py")), str(archive), str(limit or -1)]
    lines = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout.splitlines()
    return float(json.loads(lines[-1])["seconds"])


def end_to_end(archives: Sequence[Path], limit: int | None, peers: str | None) -> dict[str, float]:
    """Return pages per CPU second from archive to filtered text, over up to `limit` records of each
    archive."""
    seconds = {"gristmill": 0.0, "gristmill auto": 0.0} | ({"datatrove": 0.0} if peers else {})
    num_pages = 0
    for archive in archives:
        num_pages += len(responses([archive], limit))
        for name, extractor in _WAYS.items():
            filtered_by_gristmill(
                archive, 3, extractor
            )  # a worker keeps its extractor's process from task to task
            seconds[name] += cpu_seconds(lambda: filtered_by_gristmill(archive, limit, extractor))[0]  # noqa: B023 - called at once
        if peers:
            seconds["datatrove"] += filtered_by_datatrove(peers, archive, limit)
    return {"pages": num_pages} | {name: round(num_pages / spent, 1) for name, spent in seconds.items()}


def describe(pages: Sequence[tuple[str, str | None, bytes]], rates: dict[str, float]) -> dict[str, Any]:
    """Return what a speed was measured on, the speeds and their ratios."""
    row: dict[str, Any] = {
        "pages": len(pages),
        "mean_bytes": round(float(np.mean([len(body) for _, _, body in pages]))),
    }
    row |= {
        "pages_per_cpu_second": rates,
        "ratio": {name: round(rates["blocks"] / rates[name], 2) for name in PEERS},
    }
    print(", ".join(f"{key} {value}" for key, value in row.items()))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--gold", action="append", type=Path, default=[])
    parser.add_argument(
        "--heavy", action="append", type=Path, default=[], help="archives of heavy pages, timed by themselves"
    )
    parser.add_argument(
        "--unseen", action="store_true", help="the shipped model was not trained on these pages"
    )
    parser.add_argument("--peers", help="an interpreter that has datatrove")
    parser.add_argument(
        "--filtered",
        type=int,
        default=200,
        help="records of each archive taken from archive to filtered text",
    )
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="60 pages of each archive, speed only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save", action="store_true", help=f"keep the result in {RESULT.name}; parts not run stay"
    )
    options = parser.parse_args()
    asked = options.only.split(",")
    if unknown := set(asked) - set(PARTS):
        parser.error(f"--only has no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    options.limit = 60 if options.quick else None
    found: dict[str, Any] = {}
    for part in asked:
        if (part == "heavy" and not options.heavy) or (part == "quality" and not _has_gold(options)):
            print(f"{part}: left out, " + ("no --heavy" if part == "heavy" else "no --gold, or --quick"))
            continue
        found[part] = PARTS[part](options)
        if options.save:
            save(part, found[part])
            pictures.draw()
    if options.json:
        print(json.dumps({**summary(found), **about()}))


def _has_gold(options: argparse.Namespace) -> bool:
    return bool(options.gold) and not options.quick


def _speed(archives: Sequence[Path], options: argparse.Namespace) -> dict[str, Any]:
    pages = responses(archives, options.limit)
    return describe(pages, speed(pages))


def _filtered(options: argparse.Namespace) -> dict[str, float]:
    limit = min(options.limit or options.filtered, options.filtered)
    rates = end_to_end(options.archives, limit, options.peers)
    print(f"archive to filtered text: {rates}")
    return rates


def _quality(options: argparse.Namespace) -> dict[str, Any]:
    pages = read_pages([*options.archives, *options.heavy], options.gold)
    return summarise_quality(quality(pages, options.unseen))


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "pages": lambda options: _speed(options.archives, options),
    "heavy": lambda options: _speed(options.heavy, options),
    "killable": lambda options: in_process_and_in_child(responses(options.archives, options.limit)),
    "archive_to_filtered_text": _filtered,
    "quality": _quality,
}


def save(part: str, measured: dict[str, Any]) -> None:
    """Keep a part beside those measured before, each with its own command, machine and versions."""
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    parts = {name: kept[name] for name in PARTS if name in kept} | {part: measured}
    runs = kept.get("runs", {}) | {part: about()}
    RESULT.write_text(json.dumps({**summary(parts), "runs": runs}, indent=1) + "\n")


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Return the parts, and above them the figures of all pages where they were timed."""
    said: dict[str, Any] = {"what": "main text of a page", "unit": "pages per CPU second"}
    if "pages" in found:
        rates = found["pages"]["pages_per_cpu_second"]
        said |= {"ours": rates["blocks"], "peers": {name: rates[name] for name in PEERS if name in rates}}
        said["ratio"] = found["pages"]["ratio"]
    return {**said, **found}


def about() -> dict[str, Any]:
    """Say what the figures were measured with and on."""
    return {
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("trafilatura", "resiliparse", "datatrove", "numba")},
        "command": shlex.join(
            ["python", "benchmarks/extract.py", *(_without_folder(part) for part in sys.argv[1:])]
        ),
    }


def machine() -> str:
    """Name the processor, its cores and the memory."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    return (
        f"{os.cpu_count()} cores of {model or platform.machine()}, {psutil.virtual_memory().total >> 30} GB"
    )


def _without_folder(argument: str) -> str:
    """Shorten a path to its last folder and name."""
    return "/".join(Path(argument).parts[-2:]) if "/" in argument else argument


if __name__ == "__main__":
    main()
