"""The README's pictures: speeds and quality beside the peers, and what a report looks like.

    python benchmarks/pictures.py                      # docs/pictures/speeds-*.svg, from benchmarks/results
    python benchmarks/pictures.py --report demo/run    # and report-*.png, duplicates-*.png of a quickstart

A bench that keeps figures of the chart draws it anew, and a test holds the chart to the results. Screenshots
want Chromium.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "docs" / "pictures"
THEMES = {
    "light": {"ink": "#211e18", "soft": "#6d675a", "ours": "#2f7d6b", "peer": "#cf6b2f", "paper": "#faf8f3"},
    "dark": {"ink": "#eee9dd", "soft": "#a59e8e", "ours": "#5cbfa6", "peer": "#ee9560", "paper": "#14130f"},
}
_WIDE, _LEFT, _ROW, _BAR = 760, 250, 17, 11


def groups() -> list[tuple[str, list[tuple[str, float]]]]:
    """What is charted: a title with its unit, and gristmill's values with each peer's."""
    extract, encode, filters = (
        json.loads((RESULTS / f"{name}.json").read_text()) for name in ("extract", "encode", "filters")
    )
    quality = extract["quality"]["full"]
    named = (("gristmill", "blocks"), ("trafilatura", "trafilatura"), ("resiliparse", "resiliparse"))
    tokens = [
        (name, value)
        for kind in encode["ours"]
        for name, value in ((f"gristmill, for {kind}", encode["ours"][kind]), (kind, encode["peers"][kind]))
    ]
    return [
        ("Main text of a page, pages/s, peers at their fastest too", _of(extract)),
        ("Main text, F1 on gold", [(name, quality[key]["f1"]) for name, key in named]),
        (f"Signals of four filters, {filters['unit']}", _of(filters, "all blocks")),
        (f"From Parquet to tokens, {encode['unit']}", tokens),
    ]


def _of(result: dict[str, Any], same: str = "") -> list[tuple[str, float]]:
    """Ours, then the peers that do the same work, the fastest first."""
    peers = [
        (name.replace(f" {same}" if same else "\0", ""), value)
        for name, value in result["peers"].items()
        if same in name
    ]
    return [("gristmill", result["ours"]), *sorted(peers, key=lambda item: -item[1])]


def draw() -> list[Path]:
    """Write the chart of the kept results in every theme, and tell where."""
    PICTURES.mkdir(exist_ok=True)
    files = {theme: PICTURES / f"speeds-{theme}.svg" for theme in THEMES}
    for theme, path in files.items():
        path.write_text(chart(theme))
    return list(files.values())


def chart(theme: str) -> str:
    """The chart as SVG; bars of a group are to the scale of its largest."""
    colours = THEMES[theme]
    parts: list[str] = []
    y = 22.0
    for title, rows in groups():
        parts.append(_text(12, y, title, colours["ink"], "bold"))
        y += 8
        largest = max(value for _, value in rows)
        for name, value in rows:
            y += _ROW
            wide = max(1.0, (_WIDE - _LEFT - 90) * value / largest)
            parts.append(_text(_LEFT - 8, y, name, colours["soft"], anchor="end"))
            fill = colours["ours" if name.startswith("gristmill") else "peer"]
            box = f'x="{_LEFT}" y="{y - _BAR + 2:.1f}" width="{wide:.1f}" height="{_BAR}" rx="2"'
            parts.append(f'<rect {box} fill="{fill}"/>')
            parts.append(_text(_LEFT + wide + 6, y, _spelled(value), colours["ink"]))
        y += 30
    size = f'viewBox="0 0 {_WIDE} {y - 8:.0f}" width="{_WIDE}" height="{y - 8:.0f}"'
    back = f'<rect width="100%" height="100%" rx="10" fill="{colours["paper"]}"/>'
    about = "<title>gristmill beside its peers, on one core</title>"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="12">'
    )
    return "\n".join([head, about, back, *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, said: str, fill: str, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{html.escape(said)}</text>"
    )


def _spelled(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def screenshots(run: Path) -> None:
    """The first screen of a run's report, and its duplicates, in light and dark."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium here: screenshots want one")
    page = (run / "report.html").absolute()
    clusters = page.with_name("report-duplicates.html")
    clusters.write_text(_only_duplicates(page.read_text()))
    for theme, preferred in (("light", "1"), ("dark", "0")):
        for name, shown, tall in (("report", page, 880), ("duplicates", clusters, 900)):
            target = PICTURES / f"{name}-{theme}.png"
            flags = [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--window-size=1120,{tall}",
            ]
            flags += [f"--blink-settings=preferredColorScheme={preferred}", f"--screenshot={target}"]
            subprocess.run([program, *flags, shown.as_uri()], check=True, capture_output=True, timeout=120)
            print(target)
    clusters.unlink()


def _only_duplicates(page: str) -> str:
    """The page with nothing but its clusters of duplicates, unfolded; its policy would forbid the change."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    hidden = "nav, header.hero, section:not(#duplicates) { display: none !important; }"
    return page.replace("</head>", f"<style>{hidden}</style></head>").replace("<details", "<details open")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path, help="the output folder of a quickstart")
    options = parser.parse_args()
    for path in draw():
        print(path)
    if options.report:
        screenshots(options.report)


if __name__ == "__main__":
    main()
