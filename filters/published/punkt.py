"""NLTK's Punkt sentence splitter, from a model at a path: what C4's code counts sentences with."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from gristmill.errors import InputError, UsageError


@lru_cache(maxsize=4)
def load_punkt(path: str) -> Any:
    """Load a folder in NLTK's `punkt_tab` format (such as `punkt_tab/english`): four text files.

    Read here, because NLTK reads below its own data folders only. Raises UsageError without nltk, InputError
    where the folder is not such a model. Pickled models are not read: that would run whatever code they hold.
    """
    try:
        from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    except ImportError:
        raise UsageError("a `sentence_model` needs the package nltk", hint="pip install nltk") from None
    folder = Path(path)
    parameters = PunktParameters()
    try:
        parameters.collocations = {tuple(line.split("\t")) for line in _lines(folder / "collocations.tab")}
        parameters.sent_starters = {*_lines(folder / "sent_starters.txt")}
        parameters.abbrev_types = {*_lines(folder / "abbrev_types.txt")}
        parameters.ortho_context = defaultdict(int)
        for line in _lines(folder / "ortho_context.tab"):
            word, _, number = line.rpartition("\t")
            parameters.ortho_context[word] = int(number)
    except (OSError, ValueError) as error:
        raise InputError(
            f"`{path}` is not a punkt_tab model: {error}", hint="nltk.download('punkt_tab') fetches them"
        ) from error
    return PunktSentenceTokenizer(parameters)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]
