"""Why a search of a run's text index found nothing: a word that no document holds, words apart, a side."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from gristmill.pipeline.look.index_matches import index_file, parts_of
from gristmill.pipeline.look.search import index_paths, phrases_of, search

_CLOSE = 0.75  # of two words' letters, by difflib


def spelt(asked: str) -> str:
    """What was searched for, as it was understood: `cookie policy` and `consent`."""
    return " and ".join(f"`{phrase}`" for phrase in phrases_of(asked))


def why_none(out: Path, asked: str, *, outlet: str | None, source: str | None) -> Iterator[str]:
    """Say what stands in the way of a search that found nothing."""

    def number(words: str, **narrowed: str | None) -> int:
        return sum(search(out, words, 0, **narrowed).by_outlet.values())

    if (outlet or source) and (elsewhere := number(asked)):
        yield f"{elsewhere:,} would be found without `--kept`, `--removed` and `--source`"
        return
    phrases = phrases_of(asked)
    words = list(dict.fromkeys(word for phrase in phrases for word in phrase.split()))
    unheld = [word for word in words if not number(word)]
    for word in unheld:
        close = _close_to(out, word)
        yield f"no document holds `{word}`" + (f"; did you mean `{close}`?" if close else "")
    if unheld:
        return
    apart = number(" ".join(words))
    if apart and len(words) > len(phrases):
        yield f"{apart:,} hold these words, but not side by side: leave out the quotes and marks between them"
    elif len(words) > 1:
        yield "each of these words is held by some, but no document holds them all"


def _close_to(out: Path, word: str) -> str | None:
    """A word of the index that is spelt alike: of those in its first file with the same first letter."""
    (part,) = parts_of([word])
    paths = index_paths(out)
    if not paths or not part.terms:
        return None
    term = part.terms[0]
    with index_file(paths[0]) as base:
        base.execute("CREATE VIRTUAL TABLE temp.held USING fts5vocab(main, words, row)")
        asked = "SELECT term, doc FROM temp.held WHERE term >= ? AND term < ? AND abs(length(term) - ?) <= 2"
        held = dict(base.execute(asked, (term[0], term[0] + chr(0x10FFFF), len(term))))
    close = difflib.get_close_matches(term, held, n=3, cutoff=_CLOSE)
    return max(close, key=lambda word: held[word], default=None)
