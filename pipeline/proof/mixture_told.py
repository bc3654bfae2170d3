"""A mixture search in 80 columns, and its proportions back in the recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gristmill.errors import UsageError
from gristmill.pipeline.look.printing.terminal import Paper, rows
from gristmill.pipeline.proof.mixture import Search


def tell_search(found: Search, shares: Mapping[str, float], paper: Paper | None = None) -> Iterator[str]:
    """Targets with their fit's error and what was confirmed, then the weights."""
    paper = paper or Paper()
    shown = []
    for target, value in found.confirmed.items():
        error = f"{found.errors[target]:.2%}" if target in found.errors else "–"
        start = found.start[target]
        shown.append([target, error, f"{start:.4f}", f"{value:.4f}", f"{value - start:+.4f}"])
    yield f"{len(found.weights)} runs over {len(found.sources)} sources"
    head = ["target", "fit's error", "start", "best", "difference"]
    yield from rows(paper, head, shown, right=(1, 2, 3, 4))
    best = found.best
    yield f"predicted mean {best.predicted:.4f} against {best.start:.4f} of the start"
    yield (
        f"of that gain {best.optimism:.4f} is the luck of the choice; without it {best.low:+.4f} to"
        f" {best.high:+.4f}{'' if best.low > 0 else ': it may be none'}"
    )
    yield ""
    begun = dict(zip(found.sources, found.weights[0].tolist(), strict=True))
    weights = [[name, f"{begun[name]:.4f}", f"{shares.get(name, 0):.4f}"] for name in found.sources]
    yield from rows(paper, ["source", "start", "best"], weights, right=(1, 2))
    spelled = ", ".join(f"{name}: {share:g}" for name, share in shares.items())
    yield f"mix: {{proportions: {{{spelled}}}}}"


def written_back(recipe: Path, shares: Mapping[str, float]) -> bytes:
    """The recipe's text with its line of proportions replaced; what stands around it stays as it is.

    Raises UsageError where the proportions are not on one line: a file is not rewritten by guess.
    """
    text = recipe.read_text("utf-8")
    spelled = "{" + ", ".join(f"{name}: {share:g}" for name, share in shares.items()) + "}"
    found, count = re.subn(r"(\bproportions:\s*)\{[^{}\n]*\}", lambda match: match[1] + spelled, text)
    if count != 1:
        raise UsageError(
            f"`{recipe}` has {count} lines with `proportions: {{...}}`, one is needed to write into",
            hint=f"write it yourself: proportions: {spelled}",
        )
    return found.encode()
