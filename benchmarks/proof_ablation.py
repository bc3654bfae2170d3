"""Every shipped filter preset, deduplication and the classifier, as a user would compare them.

    python benchmarks/proof_ablation.py --web *.warc.gz --target wikipedia=enwiki.jsonl.gz --work DIR [--save]

`gristmill ablate` over English pages: each preset by itself, four of them together, exact and fuzzy
deduplication, a classifier that learned Wikipedia against the web (the other half of Wikipedia is the
target), and the recipe again with other seeds. A killed one goes on where it was. What is kept is
ablation.json without texts' own scores: bits per byte by seed, differences with intervals, the noise of one
seed, and each proxy's agreement with the trained rankings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proof_data import arguments, gristmill, keep, made_here, targets, write_recipe

from gristmill.filters.presets import PRESETS

RESULT = Path(__file__).parent / "results" / "proof_ablation.json"
NOT_FOR_TEXT = {"code"}  # rules for source code, which keep no web page
TOGETHER = "[gopher, gopher-repetition, c4-code, fineweb]"
CLASSIFIER = (
    "{positives: [curated], negatives: [web], classifier: {keep: {rule: top_fraction, fraction: 0.5}}}"
)


def main() -> None:
    parser = arguments(__doc__ or "", RESULT)
    parser.add_argument("--tokens", default="60k", help="of each model")
    parser.add_argument("--presets", help="of the filters' presets these, by commas; all when unset")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    recipe = write_recipe(options)
    out = options.work / "out"
    said = ["--placebo", "--tokens", options.tokens, "--seeds", str(options.seeds)]
    presets = options.presets.split(",") if options.presets else PRESETS
    for name, change in variants(presets).items():
        said += ["--vary", f"{name}: {change}"]
    gristmill("ablate", recipe, *said, *targets(options), "--out", out, "--engine", "inline")
    facts = json.loads((out / "ablation.json").read_text())
    keep(RESULT, {**told(facts), **made_here()}, options.save)


def variants(presets: Iterable[str]) -> dict[str, str]:
    """Changes of the recipe by the variant's name."""
    found = {name: f"filter.presets=[{name}]" for name in presets if name not in NOT_FOR_TEXT}
    found["four filters"] = f"filter.presets={TOGETHER}"
    found["dedup"] = "dedup={exact: {}, fuzzy: {}}"
    found["classifier"] = f"classify={CLASSIFIER}"
    return found


def told(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "variants of a recipe over web pages: bits per byte of held-out targets",
        "unit": "bits per byte; differences to the recipe, below 0 is better",
        **{key: value for key, value in facts.items() if key != "format"},
    }


if __name__ == "__main__":
    main()
