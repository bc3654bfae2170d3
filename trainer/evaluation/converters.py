"""Public benchmarks as rows to score: one function a layout, from a row as published to ours.

    rows = convert("hellaswag", lines)

Questions are asked as lm-evaluation-harness asks them. WinoGrande's options are scored with the rest of the
sentence; the harness scores that rest alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gristmill.errors import InputError, UsageError
from gristmill.trainer.fields import one_of

Row = dict[str, Any]
_LETTERS = "ABCDEFGHIJ"


def lambada(row: Mapping[str, Any]) -> Row:
    """Paperno et al. 2016: the last word of a passage."""
    prompt, last = row["text"].rstrip().rsplit(None, 1)
    return {"prompt": prompt, "answer": f" {last}"}


def hellaswag(row: Mapping[str, Any]) -> Row:
    """Zellers et al. 2019: the ending of a scene, with its brackets of video captions taken out."""
    scene = row["ctx"] if "ctx" in row else f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
    label = row.get("activity_label")
    prompt = _captions(f"{label}: {scene}" if label else scene)
    return {
        "prompt": prompt,
        "choices": [f" {_captions(end)}" for end in row["endings"]],
        "answer": int(row["label"]),
    }


def arc(row: Mapping[str, Any]) -> Row:
    """Clark et al. 2018, as published or as on the Hugging Face hub."""
    question, given = row["question"], row.get("choices")
    if isinstance(question, Mapping):
        question, given = question["stem"], question["choices"]
    if isinstance(given, Mapping):
        texts, labels = list(given["text"]), list(given["label"])
    else:
        texts, labels = [one["text"] for one in given or ()], [one["label"] for one in given or ()]
    return _asked(question, texts, labels.index(row["answerKey"]))


def piqa(row: Mapping[str, Any]) -> Row:
    """Bisk et al. 2020: the better of two ways to a goal."""
    return _asked(row["goal"], [row["sol1"], row["sol2"]], int(row["label"]))


def mmlu(row: Mapping[str, Any]) -> Row:
    """Hendrycks et al. 2021: four choices by letter; the letter is what is scored."""
    answer = row["answer"]
    number = _LETTERS.index(answer) if isinstance(answer, str) and answer in _LETTERS else int(answer)
    listed = "\n".join(f"{_LETTERS[at]}. {choice}" for at, choice in enumerate(row["choices"]))
    letters = [f" {_LETTERS[at]}" for at in range(len(row["choices"]))]
    return {"prompt": f"{row['question'].strip()}\n{listed}\nAnswer:", "choices": letters, "answer": number}


def boolq(row: Mapping[str, Any]) -> Row:
    """Clark et al. 2019: yes or no, from a passage."""
    answer = row["answer"] if "answer" in row else bool(row["label"])
    prompt = f"{row['passage']}\nQuestion: {row['question'].rstrip('?')}?\nAnswer:"
    return {"prompt": prompt, "choices": [" no", " yes"], "answer": int(bool(answer))}


def winogrande(row: Mapping[str, Any]) -> Row:
    """Sakaguchi et al. 2020: who or what fills the blank."""
    before, after = row["sentence"].split("_", 1)
    options = [f" {row[f'option{number}']}{after}" for number in (1, 2)]
    return {"prompt": before.rstrip(), "choices": options, "answer": int(row["answer"]) - 1}


def gsm8k(row: Mapping[str, Any]) -> Row:
    """Cobbe et al. 2021: the number behind ####, without the way to it."""
    number = row["answer"].rpartition("####")[2].strip().replace(",", "")
    return {"prompt": f"Question: {row['question'].strip()}\nAnswer:", "answer": f" {number}"}


LAYOUTS: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    made.__name__: made for made in (lambada, hellaswag, arc, piqa, mmlu, boolq, winogrande, gsm8k)
}


def convert(layout: str, lines: Iterable[str], labels: Iterable[str] = ()) -> Iterator[Row]:
    """Yield rows to score of JSON lines in a public layout; `labels` are those of PIQA's second file.

    Raises UsageError for an unknown layout, InputError with the line for a row that is not of it.
    """
    one_of("layout", layout, LAYOUTS, "layout of a benchmark")
    make, extra = LAYOUTS[layout], iter(labels)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "label" not in row and (label := next(extra, None)) is not None:
                row["label"] = label.strip()
            yield make(row)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"a row is not of {layout}'s layout: {type(error).__name__}: {error}", where=f"line {number}"
            ) from error


def _asked(question: str, choices: list[str], answer: int) -> Row:
    if not 0 <= answer < len(choices):
        raise ValueError(f"there is no choice {answer} among {len(choices)}")
    return {
        "prompt": f"Question: {question.strip()}\nAnswer:",
        "choices": [f" {choice.strip()}" for choice in choices],
        "answer": answer,
    }


def _captions(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\[.*?\]", "", text.replace(" [title]", ". "))).strip()


def check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout `{layout}`: {', '.join(LAYOUTS)}")
