"""Language detectors compared on real text: which is right, which languages are taken for which, how fast.

    python benchmarks/language.py TEXTS [--pieces 60] [--quick] [--json]

TEXTS is a folder of UTF-8 files named by their language (`pl.txt`, `zh.txt`), a line a paragraph. Pieces of
200 and 2,000 characters, plain, and 2,000 inside the markup of a page in English. All detectors give one set
of codes (`gristmill.text.languages`); a language that a detector does not know counts as wrong. Peers:
pycld2, eldc, resiliparse; whatlang-pyo3 and py3langid where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gristmill.text.detection import detect, detect_markup
from gristmill.text.languages import language_code

Detector = Callable[[str], str | None]
FORMS = {"200": (200, False), "2000": (2000, False), "page of 2000": (2000, True)}
PAGE = (
    '<html lang="xx"><head><title>Home page</title><script>var page = {{id: 17, type: "article"}};</script>'
    '<style>.main {{ color: black; }}</style></head><body class="home single"><div class="navigation">'
    '<a href="/contact.html" title="Contact us">Contact</a> <a href="/about.html">About us</a></div>'
    '<div class="content"><p class="first paragraph">{text}</p></div><div id="footer">Share this page</div>'
    "</body></html>"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("--pieces", type=int, default=60, help="of each language and length")
    parser.add_argument("--quick", action="store_true", help="10 pieces")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    num_pieces = 10 if arguments.quick else arguments.pieces
    found: dict[str, dict[str, Any]] = {}
    for form, (length, is_page) in FORMS.items():
        pieces = [
            (language_code(file.stem) or file.stem, PAGE.format(text=piece) if is_page else piece)
            for file in sorted(arguments.texts.glob("*.txt"))
            for piece in pieces_of(file, length, num_pieces)
        ]
        found[form] = {name: judged(pieces, one) for name, one in detectors(is_page).items()}
        for name, result in found[form].items():
            print(f"{form:13s} {name:12s} {result['right']:.4f}  {result['mb_per_second']:7.1f} MB/s")
    print_confusion(found)
    if arguments.json:
        print(json.dumps(summary(found, sys.argv[2:])))


def pieces_of(file: Path, length: int, num_pieces: int) -> list[str]:
    text = " ".join(file.read_text("utf-8").split())
    step = max(length, len(text) // num_pieces)
    starts = range(0, min(len(text) - length + 1, step * num_pieces), step)
    return [text[start : start + length] for start in starts]


def judged(pieces: list[tuple[str, str]], detector: Detector) -> dict[str, Any]:
    detector(pieces[0][1])
    began = time.process_time()
    said = [detector(text) for _, text in pieces]
    seconds = time.process_time() - began
    confusion = Counter(
        (wanted, language_code(code) or "none") for (wanted, _), code in zip(pieces, said, strict=True)
    )
    languages = sorted({wanted for wanted, _ in pieces})
    totals = Counter(wanted for wanted, _ in pieces)
    return {
        "right": sum(confusion[one, one] / totals[one] for one in languages) / len(languages),
        "languages": {one: round(confusion[one, one] / totals[one], 4) for one in languages},
        "wrong": {f"{a}>{b}": count for (a, b), count in sorted(confusion.items()) if a != b},
        "mb_per_second": sum(len(text.encode()) for _, text in pieces) / seconds / 1e6,
    }


def detectors(is_page: bool) -> dict[str, Detector]:
    found: dict[str, Detector] = {"ours": (lambda text: (detect_markup if is_page else detect)(text)[0])}
    if importlib.util.find_spec("pycld2"):
        found["pycld2"] = by_cld2(is_page)
    if importlib.util.find_spec("eldc"):
        import eldc

        eldc.init()
        found["eldc"] = eldc.detect
    from resiliparse.parse.lang import detect_fast

    found["resiliparse"] = lambda text: detect_fast(text)[0]
    if importlib.util.find_spec("whatlang"):
        import whatlang

        found["whatlang"] = lambda text: str(whatlang.detect(text).lang)
    if importlib.util.find_spec("py3langid"):
        import py3langid

        found["py3langid"] = lambda text: str(py3langid.classify(text)[0])
    return found


def by_cld2(is_page: bool) -> Detector:
    import pycld2

    def told(text: str) -> str | None:
        try:
            return str(pycld2.detect(text, isPlainText=not is_page)[2][0][1])
        except pycld2.error:  # it refuses a text for one control or non-character
            return None

    return told


def print_confusion(found: dict[str, dict[str, Any]]) -> None:
    for form in ("200", "2000"):
        names = list(found[form])
        print(f"\n| {form} characters | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for language in next(iter(found[form].values()))["languages"]:
            cells = []
            for name in names:
                result = found[form][name]
                wrong = [
                    f"{pair.split('>')[1]} {count}"
                    for pair, count in sorted(result["wrong"].items(), key=lambda item: -item[1])
                    if pair.startswith(language + ">")
                ]
                cells.append(f"{result['languages'][language]:.3f} {', '.join(wrong[:2])}".strip())
            print(f"| {language} | {' | '.join(cells)} |")


def summary(found: dict[str, dict[str, Any]], arguments: list[str]) -> dict[str, Any]:
    short = found["200"]
    packages = {"whatlang": "whatlang-pyo3"}
    peers = {name: round(result["right"], 4) for name, result in short.items() if name != "ours"}
    return {
        "what": f"language of {len(short['ours']['languages'])} languages' texts of 200 characters",
        "unit": "share right, mean over languages",
        "ours": round(short["ours"]["right"], 4),
        "peers": peers,
        "ratio": {name: round(short["ours"]["right"] / value, 3) for name, value in peers.items()},
        "forms": found,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(packages.get(name, name)) for name in peers},
        "command": "python benchmarks/language.py TEXTS " + " ".join(arguments),
    }


if __name__ == "__main__":
    main()
