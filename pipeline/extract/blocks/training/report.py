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


def mean_score(scores: Sequence[PageScore]) -> float:
    """Return the mean F1 of pages; of snippets F1 over all snippets."""
    counted = [one for one in scores if one.weight]
    return sum(one.f1 * one.weight for one in counted) / max(sum(one.weight for one in counted), 1)


def interval(scores: Sequence[PageScore]) -> list[float]:
    """Return a 95 % interval of the mean score, resampling registered domains rather than pages."""
    return _middle(_resampled(scores))


def gain_interval(ours: Sequence[PageScore], peer: Sequence[PageScore]) -> list[float]:
    """Return a 95 % interval of what our mean score is above a peer's on the same pages."""
    return _middle(_resampled(ours) - _resampled(peer))


def _middle(means: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(bound), 4) for bound in np.percentile(means, (2.5, 97.5))]


def _resampled(scores: Sequence[PageScore]) -> npt.NDArray[np.float64]:
    """Return mean scores of resampled domains, the same domains in each call with the same pages."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(one.page.domain, len(numbers)) for one in scores])
    sums = np.bincount(group, [one.f1 * one.weight if one.weight else 0.0 for one in scores])
    weights = np.bincount(group, [one.weight for one in scores])
    draws = np.random.default_rng(0).integers(0, len(sums), (_NUM_RESAMPLES, len(sums)))
    means: npt.NDArray[np.float64] = sums[draws].sum(1) / np.maximum(weights[draws].sum(1), 1)
    return means


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
    found["f1_interval"] = interval(own)
    if peer:
        theirs = [peer[i] for i in rows]
        found["trafilatura_f1"] = round(mean_score(theirs), 4)
        found["gain_interval"] = gain_interval(own, theirs)
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
