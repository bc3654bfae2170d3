"""Say how good a model is: by source, page type and language, with intervals by domain, beside
trafilatura."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks.training.cross_validation import Judgement, PageScore
from gristmill.pipeline.extract.blocks.training.silver import Agreement

_NUM_RESAMPLES = 1000
_BETWEEN = 0.03  # standard deviation of the gain between languages, wider than what the gold shows (.01)
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


def summarise(judged: Judgement, peer: Sequence[PageScore] | None) -> dict[str, Any]:
    """Collect the scores a model card carries; `peer` are trafilatura's on the same pages."""
    ours = judged.scores
    summary: dict[str, Any] = {
        "calibration": judged.calibration._asdict(),
        "silver": silver_by_language(judged.agreements),
    }
    for kind in ("full", "snippets"):
        rows = [i for i, one in enumerate(ours) if one.page.kind == kind]
        if not rows:
            continue
        summary[kind] = _scores(rows, ours, peer)
        if kind == "full":
            summary[kind]["without_headline"] = _means(judged.without_headline)
        for key in ("source", "page_type", "language"):
            summary[kind][f"by_{key}"] = _split(rows, ours, peer, key)
    full = sorted((one for one in ours if one.page.kind == "full"), key=lambda one: (one.f1, one.page.url))
    summary["worst_pages"] = [[one.page.url, round(one.f1, 3)] for one in full[:_NUM_WORST]]
    summary["trafilatura_languages"] = languages_for_trafilatura(ours, peer) if peer else []
    return summary


def _scores(
    rows: Sequence[int], ours: Sequence[PageScore], peer: Sequence[PageScore] | None
) -> dict[str, Any]:
    own = [ours[i] for i in rows]
    found: dict[str, Any] = {"pages": len(rows), **_means(own)}
    found["f1_interval"] = interval(own)
    if peer:
        theirs = [peer[i] for i in rows]
        found["trafilatura_f1"] = round(mean_score(theirs), 4)
        found["gain_interval"] = gain_interval(own, theirs)
    return found


def _means(scores: Sequence[PageScore]) -> dict[str, float]:
    found = {"f1": round(mean_score(scores), 4)}
    if scores[0].page.kind == "full":
        found["precision"] = round(float(np.mean([one.precision for one in scores])), 4)
        found["recall"] = round(float(np.mean([one.recall for one in scores])), 4)
    return found


def _split(
    rows: Sequence[int], ours: Sequence[PageScore], peer: Sequence[PageScore] | None, key: str
) -> dict[str, Any]:
    groups: dict[str, list[int]] = {}
    for i in rows:
        groups.setdefault(getattr(ours[i].page, key) or "unknown", []).append(i)
    return {name: _scores(groups[name], ours, peer) for name in sorted(groups)}


def silver_by_language(agreements: Sequence[Agreement]) -> dict[str, Any]:
    """Say for each language with little gold on how many of its other pages the two extractors agree.

    `f1` is how near the model's text comes to trafilatura's on those, on domains it has not seen: no measure
    of either's quality.
    """
    found: dict[str, Any] = {}
    for language in sorted({one.language for one in agreements}):
        rows = [one for one in agreements if one.language == language]
        agreed = [one.f1 for one in rows if one.agrees]
        found[language] = {
            "pages": len(rows),
            "agree": len(agreed),
            "f1": round(float(np.mean(agreed)), 4) if agreed else None,
        }
    return found


def languages_for_trafilatura(ours: Sequence[PageScore], peer: Sequence[PageScore]) -> list[str]:
    """List the languages that `auto` leaves to trafilatura: those in which its text is better for certain.

    A language's gain is estimated from its own pages and from all languages' at once (a normal model with
    partial pooling): languages differ by about `_BETWEEN`, pages by far more, so that a few pages of a
    language say less of it than all others do. It is left to trafilatura when the upper end of the 95 %
    interval of that estimate is below zero. Full gold counts, and snippets where a language has no other.
    """
    worse = []
    for language in sorted({one.page.language for one in ours} - {"", "und", "zxx"}):
        for kind in ("full", "snippets"):
            rows = [i for i, one in enumerate(ours) if (one.page.language, one.page.kind) == (language, kind)]
            every = [i for i, one in enumerate(ours) if one.page.kind == kind and one.weight]
            if rows:
                if _pooled_upper(rows, every, ours, peer) < 0:
                    worse.append(language)
                break
    return worse


def _pooled_upper(
    rows: Sequence[int], every: Sequence[int], ours: Sequence[PageScore], peer: Sequence[PageScore]
) -> float:
    """Return the upper end of the interval of a language's gain; pages of a domain count as one."""
    spread = float(np.std([ours[i].f1 - peer[i].f1 for i in every])) or _BETWEEN
    num = len({ours[i].page.domain for i in rows})
    prior, data = 1 / _BETWEEN**2, num / spread**2
    mean = (prior * _gain(every, ours, peer) + data * _gain(rows, ours, peer)) / (prior + data)
    return float(mean + 1.96 / np.sqrt(prior + data))


def _gain(rows: Sequence[int], ours: Sequence[PageScore], peer: Sequence[PageScore]) -> float:
    return mean_score([ours[i] for i in rows]) - mean_score([peer[i] for i in rows])


def table(summary: dict[str, Any]) -> str:
    """Write a summary as lines for a terminal."""
    lines = []
    for kind in ("full", "snippets"):
        if kind not in summary:
            continue
        lines.append(_line(kind, summary[kind]))
        if found := summary[kind].get("without_headline"):
            lines.append(f"{'  without the headline rule':36} {'':12} F1 {found['f1']:.3f}")
        for key in ("by_source", "by_page_type", "by_language"):
            lines += [_line(f"  {key[3:]} {name}", scores) for name, scores in summary[kind][key].items()]
    for language, found in summary.get("silver", {}).items():
        near = f", F1 {found['f1']:.3f} against what they agree on" if found["agree"] else ""
        lines.append(
            f"{f'silver {language}':36} {found['agree']:5} of {found['pages']} pages agreed on{near}"
        )
    lines.append("languages for trafilatura: " + (" ".join(summary["trafilatura_languages"]) or "none"))
    return "\n".join(lines)


def _line(name: str, scores: dict[str, Any]) -> str:
    low, high = scores["f1_interval"]
    line = f"{name:36} {scores['pages']:5} pages  F1 {scores['f1']:.3f} ({low:.3f} to {high:.3f})"
    return line + (f"  trafilatura {scores['trafilatura_f1']:.3f}" if "trafilatura_f1" in scores else "")


def unseen_table(card: Mapping[str, Any]) -> str:
    """Write what a card says of sets nobody trained on and of structure; one just trained says neither."""
    lines = []
    for name, found in card.get("unseen_sets", {}).items():
        by_language = found["by_language"]
        asked = "" if found["with_comments"] else ", no comments"
        lines.append(_unseen_line(f"unseen {name}{asked}", found))
        if len(by_language) > 1:
            lines += [_unseen_line(f"  language {one}", by_language[one]) for one in sorted(by_language)]
        first, last = found["lost_first_and_last_blocks"]
        lines.append(f"  first line of gold lost in {first:.3f} of the pages, last in {last:.3f}")
    for name, counts in card.get("structure", {}).items():
        said = ", ".join(f"{kind} {hits} of {num}" for kind, (hits, num) in counts.items())
        lines.append(f"structure in Markdown, {name}: {said}")
    return "\n".join(lines) or "sets nobody trained on, structure: not measured since the model was trained"


def _unseen_line(name: str, found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return (
        f"{name:36} {found['pages']:5} pages  F1 {found['blocks']:.3f} ({low:.3f} to {high:.3f})"
        f"  trafilatura {found['trafilatura']:.3f}"
    )
