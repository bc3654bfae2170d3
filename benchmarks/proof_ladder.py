"""A ladder of five sizes, .3 to 7 M parameters by default: the largest predicted from the four others.

    python benchmarks/proof_ladder.py --web *.warc.gz --target wikipedia=enwiki.jsonl.gz --work DIR [--save]

`gristmill scaling ladder`: each size is trained once at constant rate, with branches that decay at each
number of tokens. The law is fitted to four sizes and held to the largest on every target.
"""

from __future__ import annotations

import csv
from pathlib import Path

from proof_data import arguments, gristmill, keep, made_here, targets, write_recipe

from gristmill.pipeline.proof.laws_told import held_back
from gristmill.pipeline.proof.rows import read_rows

RESULT = Path(__file__).parent / "results" / "proof_ladder.json"


def main() -> None:
    parser = arguments(__doc__ or "", RESULT)
    parser.add_argument("--widths", default="96,128,192,256,320")
    parser.add_argument("--tokens", default="100k", help="a branch, times its multiple")
    parser.add_argument("--multiples", default="2,3,4")
    parser.add_argument("--batch", type=int, default=3, help="of the smallest size")
    options = parser.parse_args()
    recipe = write_recipe(options)
    out = options.work / "ladder"
    said = ["--widths", options.widths, "--tokens", options.tokens, "--multiples", options.multiples]
    said += ["--set", f"train.batch={options.batch}"]
    gristmill("scaling", "ladder", recipe, *said, *targets(options), "--out", out, "--engine", "inline")
    path = out / "ladder.csv"
    told = held_back(read_rows(path))
    found = [
        {
            "target": one.source,
            "N": n,
            "D": d,
            "predicted": one.loss,
            "interval": [one.low, one.high],
            "measured": loss,
            "off": one.loss / loss - 1,
        }
        for n, d, one, loss in told.rows
    ]
    facts = {
        "what": "a ladder of sizes and tokens, the largest size predicted from the others",
        "unit": "bits per byte",
        "rows": [
            {name: value if name == "run" else float(value) for name, value in row.items()}
            for row in csv.DictReader(path.read_text().splitlines())
        ],
        "held_back": found,
        "without_fit": dict(told.without),
        "largest_error": max(abs(row["off"]) for row in found),
    }
    keep(RESULT, {**facts, **made_here()}, options.save)


if __name__ == "__main__":
    main()
