"""Say how good a model is: by source, page type and language, with intervals by domain, beside trafilatura."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks.training.cross_validation import Calibration, PageScore

_NUM_RESAMPLES = 1000
_MIN_LANGUAGE_PAGES = 3
_NUM_WORST = 20


def bootstrap(values: Sequence[float], domains: Sequence[str], weights: Sequence[float] | None = None) -> tuple[float, float]:
    """Return a 95 % interval of the mean, resampling registered domains rather than pages; weighted where weights are given."""
    low, high = np.percentile(_resampled(values, domains, weights), (2.5, 97.5))
    return float(low), float(high)


def _resampled(values: Sequence[float], domains: Sequence[str], weights: Sequence[float] | None = None) -> npt.NDArray[np.float64]:
    """Return the (weighted) means of resampled domains, the same domains for each call with the same ones."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(domain, len(numbers)) for domain in domains])
    each = np.ones(len(group)) if weights is None else np.asarray(weights, dtype=np.float64)
    sums, totals = np.bincount(group, np.asarray(values) * each), np.bincount(group, each)
    draws = np.random.default_rng(0).integers(0, len(sums), (_NUM_RESAMPLES, len(sums)))
    means: npt.NDArray[np.float64] = sums[draws].sum(1) / np.maximum(totals[draws].sum(1), 1e-9)
    return means


def mean_score(scores: Sequence[PageScore]) -> float:
    """Return the mean F1 of pages; of snippets F1 over all snippets."""
    counted = [one for one in scores if one.weight]
    return sum(one.f1 * one.weight for one in counted) / max(sum(one.weight for one in counted), 1)


def intervals(ours: Sequence[PageScore], peer: Sequence[PageScore]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return 95 % intervals of our mean score and of its gain over a peer's on the same pages."""
    domains = [one.page.domain for one in ours]
    own, other = (_resampled([one.f1 if one.weight else 0.0 for one in scores], domains, [one.weight for one in scores])
                  for scores in (ours, peer))  # fmt: skip
    (low, high), (worst, best) = (np.percentile(means, (2.5, 97.5)) for means in (own, own - other))
    return (float(low), float(high)), (float(worst), float(best))


def summarise(ours: Sequence[PageScore], peer: Sequence[PageScore] | None, calibration: Calibration) -> dict[str, Any]:
    """Collect the scores a model card carries; `peer` are trafilatura's on the same pages."""
    summary: dict[str, Any] = {"calibration": calibration._asdict()}
    for kind in ("full", "snippets"):
        rows = [i for i, one in enumerate(ours) if one.page.kind == kind]
        if not rows:
            continue
        summary[kind] = _scores(rows, ours, peer)
        for key in ("source", "page_type", "language"):
            summary[kind][f"by_{key}"] = _split(rows, ours, peer, key)
    full = sorted((one for one in ours if one.page.kind == "full"), key=lambda one: (one.f1, one.page.url))
    summary["worst_pages"] = [[one.page.url, round(one.f1, 3)] for one in full[:_NUM_WORST]]
    summary["trafilatura_languages"] = worse_languages(ours, peer) if peer else []
    return summary


def _scores(rows: Sequence[int], ours: Sequence[PageScore], peer: Sequence[PageScore] | None) -> dict[str, Any]:
    own = [ours[i] for i in rows]
    found: dict[str, Any] = {"pages": len(rows), "f1": round(mean_score(own), 4)}
    if own[0].page.kind == "full":
        found["precision"] = round(float(np.mean([one.precision for one in own])), 4)
        found["recall"] = round(float(np.mean([one.recall for one in own])), 4)
    interval, gain = intervals(own, [peer[i] for i in rows] if peer else own)
    found["f1_interval"] = [round(bound, 4) for bound in interval]
    if peer:
        found["trafilatura_f1"] = round(mean_score([peer[i] for i in rows]), 4)
        found["gain_interval"] = [round(bound, 4) for bound in gain]
    return found


def _split(rows: Sequence[int], ours: Sequence[PageScore], peer: Sequence[PageScore] | None, key: str) -> dict[str, Any]:
    groups: dict[str, list[int]] = {}
    for i in rows:
        groups.setdefault(getattr(ours[i].page, key) or "unknown", []).append(i)
    return {name: _scores(groups[name], ours, peer) for name in sorted(groups)}


def worse_languages(ours: Sequence[PageScore], peer: Sequence[PageScore]) -> list[str]:
    """List the languages in which trafilatura's text scores better: on full gold of at least three pages, else on snippets of as
    many."""
    worse = []
    for language in sorted({one.page.language for one in ours} - {"", "und", "zxx"}):
        for kind in ("full", "snippets"):
            rows = [i for i, one in enumerate(ours) if (one.page.language, one.page.kind) == (language, kind)]
            if len(rows) >= _MIN_LANGUAGE_PAGES:
                if mean_score([ours[i] for i in rows]) < mean_score([peer[i] for i in rows]):
                    worse.append(language)
                break
    return worse


def table(summary: dict[str, Any]) -> str:
    """Write a summary as lines for a terminal."""
    lines = []
    for kind in ("full", "snippets"):
        if kind not in summary:
            continue
        lines.append(_line(kind, summary[kind]))
        for key in ("by_source", "by_page_type", "by_language"):
            lines += [_line(f"  {key[3:]} {name}", scores) for name, scores in summary[kind][key].items()]
    lines.append("languages for trafilatura: " + (" ".join(summary["trafilatura_languages"]) or "none"))
    return "\n".join(lines)


def _line(name: str, scores: dict[str, Any]) -> str:
    low, high = scores["f1_interval"]
    line = f"{name:36} {scores['pages']:5} pages  F1 {scores['f1']:.3f} ({low:.3f} to {high:.3f})"
    return line + (f"  trafilatura {scores['trafilatura_f1']:.3f}" if "trafilatura_f1" in scores else "")
