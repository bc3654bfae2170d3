"""Benchmark files as items: the texts of a row that a document must not hold.

Rows are JSON lines. A known layout says which strings make an item, and joins what is asked as one text; of
any other row every string is an item, nested in lists and objects too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.errors import InputError
from gristmill.files.disk import read_file

Row = dict[str, Any]
_CALCULATION = re.compile(r"<<[^<>]*>>")  # GSM8K's answers carry what a calculator was asked
# Scripts in which every character is a word to the word pass, and how many of them carry as much as a word:
# Chinese text has some 1.6 characters to an English word, Japanese 2, Thai, Lao and Khmer 4.
_TWO = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001aff0-\U0003fffd]"
)
_FOUR = re.compile("[\u0e00-\u0eff\u1780-\u17ff]")
UNSPACED = (  # both, for Arrow's RE2
    r"[\x{0e00}-\x{0eff}\x{1780}-\x{17ff}\x{2e80}-\x{2fdf}\x{3005}-\x{30ff}"
    r"\x{31f0}-\x{9fff}\x{f900}-\x{faff}\x{ff66}-\x{ff9f}\x{1aff0}-\x{3fffd}]"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a benchmark's rows are laid out: the keys that they all have, those that they may have, and the
    items of one."""

    keys: frozenset[str]
    others: frozenset[str]
    items: Callable[[Row], list[Any]]


def _layout(keys: str, others: str, items: Callable[[Row], list[Any]]) -> Layout:
    return Layout(frozenset(keys.split()), frozenset(others.split()), items)


def _right_ending(row: Row) -> list[Any]:
    context = row.get("ctx") or f"{row.get('ctx_a', '')} {row.get('ctx_b', '')}"
    label = str(row.get("label", ""))
    endings = row["endings"] if isinstance(row["endings"], list) else []
    right = [endings[int(label)]] if label.isdigit() and int(label) < len(endings) else endings
    return [context, *(f"{context} {ending}" for ending in right)]


def _filled(row: Row) -> list[Any]:
    return [str(row["sentence"]).replace("_", str(row[name])) for name in ("option1", "option2")]


# Field names as published on the Hugging Face hub.
LAYOUTS = {
    "mmlu": _layout("question choices answer", "subject", lambda row: [row["question"], row["choices"]]),
    "arc": _layout("question choices answerKey", "id", lambda row: [row["question"], row["choices"]]),
    "hellaswag": _layout(
        "ctx endings", "ctx_a ctx_b ind activity_label source_id split split_type label", _right_ending
    ),
    "gsm8k": _layout(
        "question answer", "", lambda row: [row["question"], _CALCULATION.sub("", str(row["answer"]))]
    ),
    "humaneval": _layout(
        "prompt canonical_solution entry_point",
        "task_id test",
        lambda row: [row["prompt"], row["canonical_solution"]],
    ),
    "lambada": _layout("text", "domain", lambda row: [row["text"]]),
    # The passages of BoolQ are Wikipedia's: a corpus may hold them and not know the question.
    "boolq": _layout("question passage", "answer label idx title", lambda row: [row["question"]]),
    "piqa": _layout(
        "goal sol1 sol2",
        "label id",
        lambda row: [row["goal"], *(f"{row['goal']} {row[name]}" for name in ("sol1", "sol2"))],
    ),
    "winogrande": _layout("sentence option1 option2", "answer qID", _filled),
}


@dataclass(frozen=True, slots=True)
class Item:
    """A text of a benchmark, the line it stands on, and its file's layout."""

    line: int
    text: str
    layout: str


def read_items(path: Path, settings: DecontaminateSettings) -> Iterator[Item | int]:
    """Yield the items of a file, and after each row its line number.

    Raises InputError for what is no JSON lines, or lacks the fields or keys asked for.
    """
    try:
        lines = read_file(path).split(b"\n")
    except OSError as error:
        raise InputError(
            f"the benchmark `{path}` cannot be read: {error.strerror}",
            hint="`benchmarks` are paths of JSON lines",
        ) from error
    layout: str = settings.layout
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the benchmark is no JSON lines: {error}", where=f"{path}:{number}") from error
        if not isinstance(row, dict):
            raise InputError(
                f"a benchmark row must hold an object, got {type(row).__name__}", where=f"{path}:{number}"
            )
        if layout == "auto":  # the first row decides
            layout = _layout_of(row) if not settings.fields else "strings"
        seen: set[str] = set()
        for text in strings(_asked(row, layout, settings.fields, f"{path}:{number}")):
            if text not in seen:
                seen.add(text)
                yield Item(number, text.encode("utf-8", "replace").decode(), layout)
        yield number


def _layout_of(row: Any) -> str:
    """Return the known layout that a row has all keys of and no others, else `strings`."""
    keys = set(row) if isinstance(row, dict) else set()
    fitting = (name for name, known in LAYOUTS.items() if known.keys <= keys <= known.keys | known.others)
    return next(fitting, "strings")


def _asked(row: Any, layout: str, fields: tuple[str, ...], where: str) -> Any:
    if layout in LAYOUTS and not fields:
        missing = LAYOUTS[layout].keys - set(row if isinstance(row, dict) else ())
        if missing:
            raise InputError(
                f"a row of layout `{layout}` lacks `{'`, `'.join(sorted(missing))}`",
                where=where,
                hint="name the `fields` that hold text, or use `layout: strings`",
            )
        return LAYOUTS[layout].items(row)
    if not fields:
        return row
    found = [value for field in fields for value in strings(_at(row, field.split(".")))]
    if not found:
        raise InputError(
            f"a benchmark row must hold a text in `{'` or `'.join(fields)}`",
            where=where,
            hint="name the fields with `fields`, those of inner objects as `choices.text`",
        )
    return found


def _at(value: Any, names: list[str]) -> Any:
    """Follow field names inwards, through every element of a list."""
    if isinstance(value, list):
        return [_at(each, names) for each in value]
    if not names:
        return value
    return _at(value.get(names[0]), names[1:]) if isinstance(value, dict) else None


def strings(value: Any) -> Iterator[str]:
    """Yield every string in a value, nested in lists and objects too, in order."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            waiting += reversed(list(value.values()) if isinstance(value, dict) else value)


def characters_per_word(text: str, num_words: int) -> int:
    """Return how many words of the word pass carry as much as one word of a spaced script: 1, or the
    characters where most of a text is written without spaces."""
    two, four = len(_TWO.findall(text)), len(_FOUR.findall(text))
    if two + four <= num_words / 2:
        return 1
    return 2 if two >= four else 4
