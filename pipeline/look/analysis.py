"""What documents are like before anything is removed: what each preset would keep, how rules go together,
languages, lengths, domains and duplicates.

Read from a finished run whose filters annotate, file by file: sums and cross products are kept, not
documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import UsageError
from gristmill.files.parquet import read_parquet
from gristmill.manifest import Manifest
from gristmill.pipeline.look.printing.figures import count
from gristmill.pipeline.look.printing.terminal import Paper, rows
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.filter import FilterFacts
from gristmill.urls import domain_of

Floats = npt.NDArray[np.float64]
SHOWN = 12
_LENGTHS = (200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000)
_ALIKE = 0.8  # correlations from here on are shown


@dataclass(slots=True)
class Analysis:
    """Counts over all documents; `passed` and `seen` are by preset, then by language (None: all)."""

    documents: int = 0
    text_bytes: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0  # documents beyond one of each cluster of equal texts
    passed: dict[str, Counter[str | None]] = field(default_factory=dict)
    seen: Counter[str | None] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    rules: list[str] = field(default_factory=list)
    sums: Floats = field(default_factory=lambda: np.zeros(0))
    products: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def means(self) -> Floats:
        return self.sums / max(self.documents, 1)

    def correlations(self) -> list[tuple[str, str, float]]:
        """Pairs of rules whose values go together, the closest first; a rule that is constant has none."""
        num = max(self.documents, 1)
        covariance = self.products / num - np.outer(self.means, self.means)
        spread = np.sqrt(np.maximum(np.diag(covariance), 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = covariance / np.outer(spread, spread)
        pairs = [
            (self.rules[i], self.rules[j], float(found[i, j]))
            for i in range(len(self.rules))
            for j in range(i)
            if np.isfinite(found[i, j]) and abs(found[i, j]) >= _ALIKE
        ]
        return sorted(pairs, key=lambda pair: (-abs(pair[2]), pair[:2]))


def analyse(out: Path) -> Analysis:
    """Read a run whose last filters annotate; raises UsageError where there is none."""
    found = Analysis()
    for manifest in annotated(out):
        _read(found, manifest)
    for manifest in finished_steps(out).values():
        if manifest.ingredients["stage"] == "dedup-exact":
            found.duplicates += _duplicates(manifest)
    return found


def annotated(out: Path) -> list[Manifest]:
    """The steps of a run whose filters annotate; raises UsageError where there is none."""
    found = [
        manifest
        for manifest in finished_steps(out).values()
        if manifest.ingredients["stage"] == "filter"
        and manifest.ingredients["settings"]["filter"].get("annotate")
    ]
    if not found:
        raise UsageError(f"`{out}` has no filters that annotate", hint="`gristmill analyze` makes such a run")
    return found


def measured(manifest: Manifest) -> Iterator[tuple[Path, Path]]:
    """The files of documents of a filter that annotates, each with that of its signals; a file without
    documents has none."""
    holding = (entry for entry in manifest.written() if entry.rows)
    for documents, signals in zip(holding, manifest.named("signals"), strict=True):
        yield manifest.folder / documents.path, manifest.folder / signals.path


def _read(found: Analysis, manifest: Manifest) -> None:
    judged = manifest.stated(FilterFacts).bounds
    if not found.rules:
        found.rules = [rule["rule"] for rule in judged]
        found.sums, found.products = np.zeros(len(judged)), np.zeros((len(judged), len(judged)))
    for documents, signals in measured(manifest):
        table = read_parquet(documents, columns=["url", "language", "text"])
        told = read_parquet(signals)
        languages = [language or "unknown" for language in table["language"].to_pylist()]
        values = np.stack([values_of(told, rule) for rule in judged]) if judged else np.zeros((0, len(table)))
        _count_rules(found, judged, values, told, np.array(languages, object))
        found.languages.update(languages)
        hosts = (domain_of(url) for url in table["url"].to_pylist() if url)
        found.domains.update(host for host in hosts if host)
        sizes = np.asarray(pc.utf8_length(table["text"].fill_null("")))
        found.lengths.update(np.searchsorted(_LENGTHS, sizes, "right").tolist())
        found.text_bytes += int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)
        found.documents += table.num_rows
        found.sums += values.sum(axis=1)
        found.products += values @ values.T


def values_of(signals: pa.Table, rule: Mapping[str, Any]) -> Floats:
    """A rule's value of each document: its signal, or the ratio of two; 0 over nothing."""
    value = np.nan_to_num(np.asarray(signals[rule["signal"]].fill_null(0), np.float64))
    if not rule["per"]:
        return value
    per = np.asarray(signals[rule["per"]].fill_null(0), np.float64)
    return np.divide(value, per, out=np.zeros_like(value), where=per != 0)


def _count_rules(
    found: Analysis,
    judged: Sequence[Mapping[str, Any]],
    values: Floats,
    signals: pa.Table,
    languages: npt.NDArray[np.object_],
) -> None:
    """Count, by rule, which documents it would remove, and by preset which ones would stay."""
    stays: dict[str, npt.NDArray[np.bool_]] = {}
    for rule, own in zip(judged, values, strict=True):
        applies = np.ones(len(own), bool)
        if rule["applies"]:
            applies = np.asarray(signals[rule["applies"]].fill_null(False)).astype(bool)
        fails = breaks(own, rule) & applies
        if "by_language" in rule:
            spoken = np.array(signals[rule["language"]].to_pylist(), object)
            for language, bounds in rule["by_language"].items():
                fails = np.where(spoken == language, breaks(own, bounds) & applies, fails)
        found.failed[rule["rule"]] += int(fails.sum())
        preset = rule["rule"].partition(".")[0]
        stays[preset] = stays.get(preset, np.ones(len(own), bool)) & ~fails
    for preset, kept in (
        {**stays, "all of them": np.logical_and.reduce([*stays.values()])}.items() if stays else ()
    ):
        tally = found.passed.setdefault(preset, Counter())
        tally[None] += int(kept.sum())
        tally.update(languages[kept].tolist())
    found.seen[None] += len(languages)
    found.seen.update(languages.tolist())


def breaks(values: Floats, bound: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Which values lie outside a bound: min <= value <= max, above < value < below."""
    failed = np.zeros(len(values), bool)
    for side, outside in (
        ("min", np.less),
        ("max", np.greater),
        ("above", np.less_equal),
        ("below", np.greater_equal),
    ):
        if bound.get(side) is not None:
            failed |= outside(values, bound[side])
    return failed


def _duplicates(manifest: Manifest) -> int:
    """Documents beyond the one that would stay of each cluster."""
    total = 0
    for entry in manifest.named("decisions"):
        table = read_parquet(manifest.folder / entry.path, columns=["id", "survivor_id"])
        total += table.num_rows - int(pc.sum(pc.equal(table["id"], table["survivor_id"])).as_py() or 0)
    return total


def as_json(found: Analysis) -> dict[str, Any]:
    num = max(found.documents, 1)
    return {
        "documents": found.documents,
        "text_bytes": found.text_bytes,
        "duplicates": found.duplicates,
        "presets": {
            name: {
                "kept": tally[None] / num,
                "by_language": {
                    code: tally[code] / seen for code, seen in found.seen.items() if code is not None
                },
            }
            for name, tally in found.passed.items()
        },
        "rules": {
            rule: {"mean": float(mean), "would_remove": found.failed[rule] / num}
            for rule, mean in zip(found.rules, found.means, strict=True)
        },
        "correlations": [{"one": one, "other": other, "r": r} for one, other, r in found.correlations()],
        "languages": dict(found.languages.most_common()),
        "lengths": dict(
            zip(_length_names(), (found.lengths[n] for n in range(len(_LENGTHS) + 1)), strict=True)
        ),
        "domains": dict(found.domains.most_common(100)),
    }


def _length_names() -> list[str]:
    return [f"under {_LENGTHS[0]:,}", *(f"{low:,} and more" for low in _LENGTHS)]


def tell(found: Analysis, paper: Paper | None = None) -> Iterator[str]:
    """The analysis in 80 columns."""
    paper, num = paper or Paper(), max(found.documents, 1)
    yield (
        f"{count(found.documents)} documents, {count(found.text_bytes)} bytes of text,"
        f" {found.duplicates / num:.1%} duplicates of equal text"
    )
    yield ""
    codes = [code for code, _ in found.languages.most_common(4)]
    head = ["would keep", "all", *codes]
    shown = [
        [name, f"{tally[None] / num:.1%}", *(f"{tally[code] / found.seen[code]:.1%}" for code in codes)]
        for name, tally in found.passed.items()
    ]
    yield from rows(paper, head, shown, right=range(1, len(head)))
    yield ""
    by_loss = sorted(zip(found.rules, found.means, strict=True), key=lambda row: -found.failed[row[0]])
    shown = [[rule, f"{mean:.4g}", f"{found.failed[rule] / num:.1%}"] for rule, mean in by_loss[: 2 * SHOWN]]
    yield from rows(paper, ["rule", "mean", "would remove"], shown, right=(1, 2))
    if pairs := found.correlations():
        yield ""
        shown = [[one, other, f"{r:+.2f}"] for one, other, r in pairs[:SHOWN]]
        yield from rows(paper, ["goes together with", "", "r"], shown, right=(2,))
    for name, tally in (("language", found.languages), ("domain", found.domains)):
        yield ""
        shown = [[key, count(number), f"{number / num:.1%}"] for key, number in tally.most_common(SHOWN)]
        yield from rows(paper, [name, "documents", "share"], shown, right=(1, 2))
    yield ""
    shown = [
        [name, count(found.lengths[place]), f"{found.lengths[place] / num:.1%}"]
        for place, name in enumerate(_length_names())
    ]
    yield from rows(paper, ["characters", "documents", "share"], shown, right=(1, 2))
