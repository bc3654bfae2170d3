"""Main text on sets of gold that the shipped model has not seen, by set and language, beside trafilatura.

    python benchmarks/extract_sets.py FOLDER [--only NAME,...] [--json] [--save]

FOLDER holds `NAME.warc.gz` and `NAME.gold.jsonl.gz` for each set (columns as `training.page` reads them).
Quality is F1 of word 4-gram multisets, macro over pages; intervals are 95 % bootstraps over domains. Both
read the same decoded pages. A set named in `--without-comments` has gold without the comments under its
articles: there both are asked for none. A gold's first and last line count as lost when the text does not
hold them word for word. `--save` keeps the result, sets not run as they were, and puts it into the shipped
model's card.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gristmill.pipeline.extract.blocks.classifier import add_to_card
from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.training.cross_validation import PageScore, judge
from gristmill.pipeline.extract.blocks.training.page import LabelledPage, read_pages
from gristmill.pipeline.extract.blocks.training.scores import split_words
from gristmill.pipeline.extract.blocks.training.summary import gain_interval, interval, mean_score

RESULT = Path(__file__).parent / "results" / "extract_sets.json"
_MIN_LINE_WORDS = 3  # shorter lines of a gold are looked for in vain too often


def texts(page: LabelledPage, with_comments: bool) -> dict[str, str]:
    """Return the text of a page by each way."""
    import trafilatura

    html = page.html.tobytes().decode()
    settings = BlocksSettings(metadata=False, comments=with_comments)
    return {
        "blocks": extract(html, page.url, settings).text,
        "trafilatura": trafilatura.extract(html, url=page.url, include_comments=with_comments) or "",
    }


def lost_edges(text: str, gold: str) -> tuple[bool, bool]:
    """Tell whether the first and the last line of a gold are missing from a text."""
    lines = [words for line in gold.splitlines() if len(words := split_words(line)) >= _MIN_LINE_WORDS]
    if not lines:
        return False, False
    found = " " + " ".join(split_words(text)) + " "
    return tuple(f" {' '.join(line)} " not in found for line in (lines[0], lines[-1]))  # type: ignore[return-value]


def table(scores: dict[str, list[PageScore]], rows: Sequence[int]) -> dict[str, Any]:
    """Return the mean scores of each way over some pages, and our gain."""
    ours, peer = ([scores[name][i] for i in rows] for name in ("blocks", "trafilatura"))
    return {
        "pages": len(rows),
        "blocks": round(mean_score(ours), 4),
        "interval": interval(ours),
        "trafilatura": round(mean_score(peer), 4),
        "gain_interval": gain_interval(ours, peer),
    }


def measure(pages: Sequence[LabelledPage], with_comments: bool) -> dict[str, Any]:
    """Score both ways on the pages of a set."""
    scores: dict[str, list[PageScore]] = {"blocks": [], "trafilatura": []}
    lost: dict[str, list[tuple[bool, bool]]] = {name: [] for name in scores}
    for page in pages:
        for name, text in texts(page, with_comments).items():
            scores[name].append(judge(page, text))
            lost[name].append(lost_edges(text, page.gold))
    found = table(scores, range(len(pages)))
    found["with_comments"] = with_comments
    for name, edges in lost.items():
        found[f"lost_first_and_last_{name}"] = [
            round(sum(edge[k] for edge in edges) / max(len(edges), 1), 3) for k in (0, 1)
        ]
    found["by_language"] = {
        language: table(scores, [i for i, page in enumerate(pages) if page.language == language])
        for language in sorted({page.language for page in pages})
    }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without-comments", nargs="*", default=["dragnet"])
    parser.add_argument("--quick", action="store_true", help="every twentieth page")
    parser.add_argument("--every", type=int, default=1, help="each how many pages one is taken")
    parser.add_argument("--only", help="names of sets, all when unset")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save", action="store_true", help=f"keep the result in {RESULT.name} and the model's card"
    )
    options = parser.parse_args()
    sets: dict[str, Any] = {}
    for gold in sorted(options.folder.glob("*.gold.jsonl.gz")):
        name = gold.name.removesuffix(".gold.jsonl.gz")
        if options.only and name not in options.only.split(","):
            continue
        pages = read_pages([options.folder / f"{name}.warc.gz"], [gold])
        pages = pages[:: 20 if options.quick else options.every]
        sets[name] = measure(pages, name not in options.without_comments)
        print(name, json.dumps(sets[name]), file=sys.stderr, flush=True)
    if options.save:
        kept = json.loads(RESULT.read_text())["sets"] if RESULT.exists() else {}
        RESULT.write_text(json.dumps(summary({**kept, **sets}), indent=1) + "\n")
        add_to_card("unseen_sets", {**kept, **sets})
    if options.json:
        print(json.dumps(summary(sets), indent=1))


def summary(sets: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "main text on sets the shipped model has not seen",
        "unit": "F1 of word 4-grams, macro over pages",
        "ours": {name: found["blocks"] for name, found in sets.items()},
        "peers": {"trafilatura": {name: found["trafilatura"] for name, found in sets.items()}},
        "ratio": {
            name: round(found["blocks"] / max(found["trafilatura"], 1e-9), 3) for name, found in sets.items()
        },
        "sets": sets,
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("trafilatura", "numba", "numpy")},
        "command": shlex.join(
            [
                "python",
                "benchmarks/extract_sets.py",
                *(Path(part).name if "/" in part else part for part in sys.argv[1:]),
            ]
        ),
    }


if __name__ == "__main__":
    main()
