"""Our `c4-code` beside C4's own code, document by document: decision, text, and why they differ. Part of
`filters.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.filters.passes import FilterOutcome, compile_filters
from gristmill.filters.settings import FilterSettings


def compare_c4(table: pa.Table, interpreter: str, nltk_data: Path) -> dict[str, Any]:
    """Compare with either counter of sentences; those of fewer than 3 kept lines apart, where the counter
    decides."""
    texts = table.column("text").to_pylist()
    found = run_source(interpreter, texts, nltk_data)
    size = sum(len(text.encode()) for text in texts)
    result: dict[str, Any] = {
        "texts": len(texts),
        "megabytes": round(size / 1e6, 1),
        "source_seconds": round(found["seconds"], 1),
    }
    models = {"punkt": str(nltk_data / "tokenizers" / "punkt_tab" / "english"), "marks": None}
    for name, model in models.items():
        overrides = {"c4-code.languages": None, "c4-code.sentence_model": model}
        filters = compile_filters(FilterSettings(presets=("c4-code",), set=overrides), seed=1)
        result[name] = judge(filters.apply(table), table.column("id").to_pylist(), found["pages"])
    paragraphs = compile_filters(FilterSettings(presets=("mc4-paragraphs",)), seed=1).apply(table)
    kept = {*paragraphs.kept.column("id").to_pylist()}
    same = [
        (id_ in kept) == theirs
        for id_, theirs in zip(table.column("id").to_pylist(), found["paragraphs"], strict=True)
    ]
    result["mc4-paragraphs"] = {"same_decision": sum(same)}
    return result


def run_source(interpreter: str, texts: list[str], nltk_data: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("filters_c4_peer.py")
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run(
        [interpreter, str(script), str(nltk_data)], input=lines, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"C4's own code failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def judge(outcome: FilterOutcome, ids: list[bytes], pages: list[dict[str, Any]]) -> dict[str, Any]:
    """Count documents by how many lines they keep and whether the decision is the source's; and texts, where
    both keep one."""
    own = dict(
        zip(outcome.kept.column("id").to_pylist(), outcome.kept.column("text").to_pylist(), strict=True)
    )
    rules = dict(
        zip(outcome.removed.column("id").to_pylist(), outcome.removed.column("rule").to_pylist(), strict=True)
    )
    lines = outcome.signals.column("v0.c4-code.kept_lines").to_pylist()
    decisions: dict[str, Counter[str]] = {"3_kept_lines_or_more": Counter(), "fewer_kept_lines": Counter()}
    texts: Counter[str] = Counter()
    for id_, num_lines, page in zip(ids, lines, pages, strict=True):
        text = own.get(id_)
        same = (text is None) == (page["text"] is None)
        class_ = "same" if same else f"{rules.get(id_, 'kept')} against {page['why'] or 'kept'}"
        decisions["3_kept_lines_or_more" if num_lines >= 3 else "fewer_kept_lines"][class_] += 1
        if text is not None and page["text"] is not None:
            texts["same" if text == page["text"] else "other"] += 1
    return {
        **{side: dict(counts.most_common()) for side, counts in decisions.items()},
        "texts_of_pages_both_keep": dict(texts),
    }
