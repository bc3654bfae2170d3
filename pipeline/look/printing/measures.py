"""Tables for the terminal of what a step measured: a classifier's worth, held-out bits per byte, coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gristmill.files.parquet import read_parquet
from gristmill.files.stores import store_of
from gristmill.manifest import Manifest
from gristmill.pipeline.look.printing.tables import print_table
from gristmill.pipeline.run.called import program
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.classify import ClassifyTrainFacts
from gristmill.pipeline.stages.importance import ImportanceTrainFacts
from gristmill.pipeline.stages.ngram import NgramHeldoutFacts


def print_quality(out: Path) -> None:
    """Print what the classifier of a run is worth on documents it was not trained on, and what each keep rule
    would keep."""
    report = finished_steps(out)["classify-train"].stated(ClassifyTrainFacts).report
    heldout = report["heldout"]
    print(
        f"\non {heldout['positives']:,} curated and {heldout['negatives']:,} crawled passages of"
        f" {report['units']:,} domains or documents, neither trained nor calibrated on:"
    )
    names = ("precision", "recall", "f1", "auc", "brier", "calibration_error")
    intervals = report["intervals"]
    rows = [
        [f"{report[name]:.3f}" for name in names],
        ["-".join(f"{edge:.3f}" for edge in intervals[name]) for name in names],
    ]
    heads = [name.replace("_", " ") for name in names]
    print_table(["", *heads], [["", *rows[0]], ["95 %", *rows[1]]], right=range(1, len(names) + 1))
    for language, own in report.get("languages", {}).items():
        print(f"  the model of {language}: F1 {own['f1']:.3f}, AUC {own['auc']:.3f}")
    rows = [
        [
            f"{rule} {setting}"
            + (" (fitted)" if rule == "alpha" and float(setting) == report["fitted_alpha"] else ""),
            f"{rate:.1%}",
        ]
        for rule, key in (("alpha", "keep_rate_by_alpha"), ("threshold", "keep_rate_by_threshold"))
        for setting, rate in sorted(report[key].items(), key=lambda item: float(item[0]))
    ]
    print()
    print_table(["keep rule", "keeps of crawled"], rows, right=(1,))
    print(f"\ntelling words, histograms and samples of each tenth: {program()} report {out}")


def print_heldout(out: Path) -> None:
    """Print the n-gram model's bits per byte on held-out documents, by source."""
    rows = finished_steps(out)["ngram-heldout"].stated(NgramHeldoutFacts).heldout
    print()
    if not rows:
        print("no document is held out: give more text, or raise `ngram.heldout_fraction`")
        return
    shown = [
        [
            row["source"],
            "" if row["bits_per_byte"] is None else f"{row['bits_per_byte']:.3f}",
            "" if row["perplexity"] is None else f"{row['perplexity']:,.0f}",
            *(f"{row[name]:,}" for name in ("docs", "words", "bytes")),
        ]
        for row in rows
    ]
    print_table(
        ["held-out source", "bits/byte", "perplexity", "documents", "words", "bytes"],
        shown,
        right=(1, 2, 3, 4, 5),
    )


def coverage_rows(out: Path) -> list[dict[str, Any]]:
    """Every source's coverage table, in the order of sources."""
    return [
        row
        for manifest in finished_steps(out).values()
        for path in manifest.paths("coverage")
        for row in read_parquet(path).to_pylist()
    ]


def print_coverage(rows: Sequence[Mapping[str, Any]], most: int) -> None:
    """Print every source's largest domains, and how its documents spread over years and languages."""
    for what in ("domain", "year", "language"):
        shown: list[list[str]] = []
        for source in dict.fromkeys(row["source"] for row in rows):
            mine = [row for row in rows if (row["source"], row["what"]) == (source, what)]
            shown += [
                [source, row["value"] or "unknown", f"{row['documents']:,}", f"{row['share']:.2%}"]
                for row in (mine[:most] if what == "domain" else mine)
            ]
        if shown:
            print()
            print_table(["source", what, "documents", "share"], shown, right=(2, 3))


def hand_over_distributions(out: Path, to: Path) -> None:
    """Copy each distribution that a run counted to a folder of its source's name."""
    for source, step in _distributions(out).items():
        folder = to / source
        folder.mkdir(parents=True, exist_ok=True)
        paths = step.paths("distribution")
        for path, data in zip(paths, store_of(step.folder).read_all(paths), strict=True):
            (folder / path.name).write_bytes(data)


def print_distributions(out: Path, to: Path | None) -> None:
    """Print where the distributions of a run lie, and what they were counted of."""
    shown = []
    for source, step in _distributions(out).items():
        facts = step.stated(ImportanceTrainFacts)
        place = to / source if to else step.paths("distribution")[0].parent
        shown.append([source, f"{facts.documents:,}", f"{facts.words:,}", str(place)])
    print()
    print_table(["source", "documents", "words", "distribution"], shown, right=(1, 2))


def _distributions(out: Path) -> dict[str, Manifest]:
    named = {name.partition("/"): step for name, step in finished_steps(out).items()}
    return {source: step for (kind, _, source), step in named.items() if kind == "importance-train"}
