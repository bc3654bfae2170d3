"""Train an extractor model from web archives and gold, judge it by cross-validation, and write it with its
card.

    train([Path("pages.warc.gz")], [Path("gold.jsonl.gz")], Path("model"), compare=True, say=print)

The same pages and gold give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from gristmill.hashing import sha256_file
from gristmill.pipeline.extract.blocks.classifier import save_model
from gristmill.pipeline.extract.blocks.training.cross_validation import PageScore, cross_validate, judge
from gristmill.pipeline.extract.blocks.training.fit import NUM_ROUNDS, PARAMETERS, fit
from gristmill.pipeline.extract.blocks.training.page import LabelledPage, read_pages
from gristmill.pipeline.extract.blocks.training.silver import agreeing, fit_structure, read_candidates
from gristmill.pipeline.extract.blocks.training.summary import summarise, table

Silver = Literal["off", "judge", "learn"]


def train(
    archives: Sequence[Path],
    gold_files: Sequence[Path],
    out: Path,
    compare: bool = True,
    silver: Silver = "judge",
    about: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Write `model.npz` and `card.json` to `out` and return the card.

    `compare` extracts the same pages with trafilatura, from which the card lists the languages that `auto`
    leaves to it. `silver` looks for pages in languages with little gold on which two extractors agree:
    `judge` says how near the model comes to these, `learn` trains on them too. `about` (data, licences, date,
    command) goes into the card as it is.
    """
    pages = read_pages(archives, gold_files)
    num_full = sum(page.kind == "full" for page in pages)
    say(
        f"{num_full} pages with full gold, {len(pages) - num_full} with snippets,"
        f" {len({page.domain for page in pages})} domains"
    )
    candidates = read_candidates(archives, pages) if silver != "off" else []
    if candidates:
        say(f"{len(candidates)} pages without gold in languages that have little of it")
    judged = cross_validate(pages, candidates, silver == "learn", say)
    peer = score_trafilatura(pages) if compare else None
    summary = summarise(judged, peer)
    say(table(summary))
    labelled = agreeing(candidates, fit_structure(pages)) if silver == "learn" else []
    model = fit([*pages, *labelled])
    card = {
        "about": about or {},
        "gold": {f"{path.parent.name}/{path.name}": sha256_file(path) for path in gold_files},
        "pages": {
            "full": num_full,
            "snippets": len(pages) - num_full,
            "domains": len({page.domain for page in pages}),
            "silver": len(labelled),
        },
        "trees": {"rounds": NUM_ROUNDS, **PARAMETERS},
        "versions": {
            name: importlib.metadata.version(name) for name in ("lightgbm", "numba", "numpy", "trafilatura")
        },
        "cross_validation": summary,
        "trafilatura_languages": summary["trafilatura_languages"],
    }
    save_model(model, card, out)
    return card


def score_trafilatura(pages: Sequence[LabelledPage]) -> list[PageScore]:
    """Score trafilatura's text of each page, from the same decoded page and with its defaults."""
    import trafilatura

    return [
        judge(page, trafilatura.extract(page.html.tobytes().decode(), url=page.url) or "") for page in pages
    ]
