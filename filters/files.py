"""Reading the lists and models that settings name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gristmill.errors import InputError
from gristmill.fasttext_model import label_probabilities, one_line, open_model
from gristmill.files.disk import read_file
from gristmill.hashing import sha256_json
from gristmill.pins import pin


def read_lines(path: str) -> list[str]:
    """Return a list's entries: lines without white space around them, blank ones and `#` comments left
    out."""
    try:
        lines = read_file(Path(path)).decode().splitlines()
    except OSError as error:
        raise InputError(f"cannot read the list `{path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"the list `{path}` is not UTF-8", hint="convert it; a compiled list is called NAME.u64"
        ) from error
    return [entry for line in lines if (entry := line.strip()) and not entry.startswith("#")]


def digest_of(paths: Iterable[str]) -> str:
    """Digest the content of files, in order."""
    return sha256_json([_file_digest(path) for path in paths])


def _file_digest(path: str) -> str:
    try:
        return pin(path)
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror}") from error


def load_fasttext(path: str) -> Any:
    try:
        return open_model(path)
    except FileNotFoundError:
        raise InputError(f"there is no fastText model at `{path}`") from None
    except ValueError as error:
        raise InputError(f"`{path}` is not a fastText model: {error}") from error


def predict(model: Any, text: str, k: int = 1) -> list[tuple[float, str]]:
    """Return (probability, label) of the k best labels, of all where k is -1; line breaks become spaces."""
    return label_probabilities(model, one_line(text), k)
