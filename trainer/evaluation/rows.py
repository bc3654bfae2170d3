"""The rows of a file to be scored: what kind each is, its prompt with its examples, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gristmill.errors import InputError
from gristmill.files.inside import parsed
from gristmill.trainer.evaluation.tokenizer import check_text

SEPARATOR = "\n\n"  # between few-shot examples


def prompt_of(row: dict[str, Any]) -> str:
    """Return a row's prompt, after its examples with their answers."""
    shots = [
        shot["prompt"] + (shot["choices"][shot["answer"]] if "choices" in shot else shot["answer"])
        for shot in row.get("examples", [])
    ]
    return SEPARATOR.join([*shots, row["prompt"]])


def kind_of(row: dict[str, Any]) -> str:
    """Return choices, answer or text."""
    if "choices" in row:
        return "choices"
    return "answer" if "prompt" in row else "text"


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; one that cannot be scored is an error that names its line."""
    if not file.is_file():
        raise InputError("there is no such file", where=str(file))
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parsed(line.decode("utf-8"))
                _check(row)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                lacks = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                raise InputError(
                    f"a row cannot be scored: {lacks}",
                    where=f"{file}:{number}",
                    hint=(
                        "rows hold text, or prompt and answer, or prompt, choices and the number of the"
                        " right one"
                    ),
                ) from error
            yield row


def _check(row: Any) -> None:
    if not isinstance(row, dict):
        raise TypeError("it is no object")
    kind = kind_of(row)
    if not isinstance(row.get("examples", []), list):
        raise TypeError("`examples` is no list")
    for shot in [row, *row.get("examples", [])]:
        if kind == "text":
            _check_text("text", shot["text"])
            continue
        _check_text("prompt", shot["prompt"], empty=True)
        if kind == "answer":
            _check_text("answer", shot["answer"])
            continue
        choices, answer = shot["choices"], shot["answer"]
        if not isinstance(choices, list):
            raise TypeError(f"`choices` is no list: {choices!r}")
        for number, choice in enumerate(choices):
            _check_text(f"choices[{number}]", choice)
        if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(choices):
            raise TypeError(
                f"`answer` must be the number, from 0, of one of {len(choices)} choices, got {answer!r}"
            )


def _check_text(name: str, text: Any, empty: bool = False) -> None:
    if not isinstance(text, str):
        raise TypeError(f"`{name}` is no string: {text!r}")
    if not text and not empty:
        raise ValueError(f"`{name}` is empty: there is nothing to score")
    try:
        check_text(text)
    except ValueError as error:
        raise ValueError(f"`{name}` cannot be encoded: {error}") from error
