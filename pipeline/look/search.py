"""Search what a run kept and removed by its full-text index: counts by source and rule, and the documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import UsageError
from gristmill.pipeline.look.document.lookup import read_row
from gristmill.pipeline.look.index_matches import Group, Part, groups_of, index_file, matches, parts_of
from gristmill.pipeline.phases.indexing.text_index import KIND
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.index import INDEX

_THREADS = 8
_PHRASE = re.compile(r'"([^"]+)"|(\S+)')
_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that matches: a row of a file of a step."""

    path: Path
    row: int
    outlet: str
    step: str
    source: str
    rule: str | None

    def read(self, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
        return read_row(self.path, self.row, columns)


@dataclass(slots=True)
class Matches:
    """How many documents match, by outlet, source and rule, and the first of them."""

    by_outlet: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)


def index_paths(out: Path) -> list[Path] | None:
    """The index files of a run; None where it wrote no index, or one that this release does not read."""
    manifest = finished_steps(out).get("index")
    return manifest.paths(KIND) if manifest and manifest.ingredients["version"] == INDEX.version else None


def search(
    out: Path, asked: str, limit: int, *, outlet: str | None = None, source: str | None = None
) -> Matches:
    """Find documents that hold all words, or the phrases in double quotes.

    Raises UsageError where the run has no index that this release reads, or nothing was asked.
    """
    paths = index_paths(out)
    if paths is None:
        raise _no_index(out)
    parts = parts_of(phrases_of(asked))
    found = Matches()
    with ThreadPoolExecutor(_THREADS) as threads:
        told = threads.map(lambda path: _ask(path, out, parts, limit, outlet, source), paths)
        for counts, hits in told:
            for of, number in counts:
                found.by_outlet[of.outlet] += number
                found.by_source[of.source] += number
                if of.rule is not None:
                    found.by_rule[of.rule] += number
            found.hits += hits[: max(0, limit - len(found.hits))]
    return found


def holding(out: Path, text: str, *, outlet: str | None = None, limit: int = 1000) -> Iterator[Hit]:
    """Documents that hold a text as it stands, found by its words; nothing where the index cannot tell."""
    words = re.findall(r"\w+", text)
    if not words or index_paths(out) is None:
        return
    phrase = '"' + " ".join(words) + '"'
    for hit in search(out, phrase, limit, outlet=outlet).hits:
        if text in (hit.read(("text",)).get("text") or ""):
            yield hit


def phrases_of(asked: str) -> list[str]:
    """The words and phrases of what was asked: every one must be there; no operator is obeyed."""
    parts = [" ".join(re.findall(r"\w+", phrase or word)) for phrase, word in _PHRASE.findall(asked)]
    parts = [part for part in parts if part]
    if not parts:
        raise UsageError(f"`{asked}` holds no word to search for")
    return parts


def excerpt(text: str, asked: str) -> str:
    """What stands around the first word or phrase that was asked for."""
    found = [
        re.search(r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, phrase.split())) + r"(?![^\W_])", text, re.I)
        for phrase in phrases_of(asked)
    ]
    at = min((match.start() for match in found if match), default=0)
    start = max(0, at - _EXCERPT // 3)
    return (
        ("…" if start else "")
        + text[start : start + _EXCERPT]
        + ("…" if start + _EXCERPT < len(text) else "")
    )


def _no_index(out: Path) -> UsageError:
    manifest = finished_steps(out).get("index")
    if manifest is None:
        hint = "write one with `index: text` in its recipe, or `--set index=text`: only that step is run"
        return UsageError(f"`{out}` has no text index", hint=hint)
    return UsageError(
        f"the text index of `{out}` is of version {manifest.ingredients['version']}, and this release reads"
        f" version {INDEX.version} only",
        hint=f"write it anew with `gristmill run RECIPE --out {out}`: only that step is run",
    )


def _ask(
    path: Path, out: Path, parts: Sequence[Part], limit: int, outlet: str | None, source: str | None
) -> tuple[list[tuple[Group, int]], list[Hit]]:
    """Counts and first hits of one index file."""
    with index_file(path) as base:
        groups = groups_of(base)
        wanted = [
            outlet in (None, groups[number].outlet) and source in (None, groups[number].source)
            for number in range(len(groups))
        ]
        if not any(wanted):
            return [], []
        counts, first = matches(base, parts, np.array(wanted), limit)
    hits = []
    for doc, number in first:
        of = groups[number]
        hits.append(Hit(out / "steps" / of.path, doc - of.first, of.outlet, of.step, of.source, of.rule))
    return [(of, int(counts[number])) for number, of in groups.items() if counts[number]], hits
