"""Reading documents in the terminal: one at a time under keys, or one after another into a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from gristmill.files.inside import inert
from gristmill.pipeline.look.documents import Shelf, Shown
from gristmill.pipeline.look.printing.figures import measured, one_line
from gristmill.pipeline.look.printing.terminal import Paper

_STYLES = {"deleted": "struck", "inserted": "green"}
_NEXT, _PREVIOUS, _QUIT = ("n", "j", " ", "\r", "\n"), ("p", "k"), ("q", "\x03", "\x04", "\x1b")


def print_json(shelf: Shelf, limit: int) -> None:
    for at in range(limit):
        if (shown := shelf.get(at)) is None:
            return
        print(
            json.dumps(shown.as_json(), ensure_ascii=True, default=str)
        )  # ASCII: a terminal obeys none of it


def print_all(shelf: Shelf, limit: int) -> None:
    paper = Paper()
    for at in range(limit):
        shown = shelf.get(at)
        if shown is None:
            if at == 0:
                print("no document is like that")
            return
        if at:
            print()
        for line in page(shown, paper):
            print(line)


def page(shown: Shown, paper: Paper) -> Iterator[str]:
    """A document's head, what became of it, and its text with edits in place."""
    row = shown.row
    yield paper.paint(one_line(row.get("url") or row["id"].hex()), "bold")
    origin = row.get("origin") or {}
    place = f"{origin.get('file')} @ {origin.get('offset'):,}" if origin.get("offset") is not None else ""
    yield paper.paint(one_line(f"{row['id'].hex()} · {row['source']} · {place}"), "dim")
    style = "green" if shown.outlet == "kept" else "red"
    for line in paper.wrap(outcome(shown), ""):
        yield paper.paint(line, style)
    yield ""
    if not shown.passes:
        yield from paper.wrap(shown.text or "(no text was kept)")
    for part in shown.passes:
        if len(shown.passes) > 1:
            yield paper.paint(f"version {part.version}, as {part.step} edited it", "dim")
        yield from _in_place(part.pieces, paper)


def outcome(shown: Shown) -> str:
    row = shown.row
    if row.get("error"):
        return one_line(f"failed at {shown.step}: {row['error']} ({row.get('message')})")
    rule = row.get("rule")
    value, limit = (measured(rule, row.get(name)) for name in ("value", "bound"))
    because = f": {value}" if row.get("value") is not None else ""
    because += f" against {limit}" if because and row.get("bound") is not None else ""
    said = f"{shown.outlet} at {shown.step}" + (f" by {rule}{because}" if rule else "")
    others = [rule for rule in row.get("rules") or () if rule != row.get("rule")]
    also = f"; fails {', '.join(others)} too" if others else ""
    return one_line(said + also)


def _in_place(pieces: list[Any], paper: Paper) -> Iterator[str]:
    """The text with deleted stretches struck through and inserted ones coloured; in brackets where there is
    no colour."""
    marks = {"deleted": ("[-", "-]"), "inserted": ("{+", "+}")}
    text = ""
    for piece in pieces:
        if piece.kind == "same":
            text += inert(piece.text)
        elif paper.colour:
            # A style must not run over a line end: less and tmux drop it there.
            text += "\n".join(
                paper.paint(line, _STYLES[piece.kind]) if line else ""
                for line in inert(piece.text).split("\n")
            )
        else:
            before, after = marks[piece.kind]
            text += f"{before}{inert(piece.text)}{after}"
    for line in text.split("\n"):
        yield f"  {line}" if line else ""


def turn_pages(shelf: Shelf) -> bool:
    """Show one document at a time until `q`; returns False where there is no terminal to do it on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        return False
    at = 0
    while True:
        shown = shelf.get(at)
        if shown is None:
            if at == 0:
                print("no document is like that")
                return True
            at -= 1
            continue
        paper = Paper()
        lines = list(page(shown, paper))
        room = max(5, os.get_terminal_size().lines - 2)
        sys.stdout.write("\x1b[2J\x1b[H" + "\n".join(lines[:room]))
        more = f", {len(lines) - room} lines more" if len(lines) > room else ""
        sys.stdout.write("\n" + paper.paint(f"document {at + 1}{more} · n next · p previous · q quit", "dim"))
        sys.stdout.flush()
        key = _key()
        if key in _QUIT:
            print()
            return True
        at = at + 1 if key in _NEXT else max(0, at - 1) if key in _PREVIOUS else at


def _key() -> str:
    """Read one key without waiting for a line's end."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        return sys.stdin.read(1)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
