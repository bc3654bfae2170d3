"""Public benchmarks as rows to score: one function a layout, from a row as published to ours.

    rows = convert("hellaswag", lines)

Questions are asked as lm-evaluation-harness asks them. WinoGrande's options are scored with the rest of the
sentence; the harness scores that rest alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gristmill.errors import InputError
from gristmill.files.inside import parsed
from gristmill.trainer.fields import one_of

Row = dict[str, Any]
_LETTERS = "ABCDEFGHIJ"
_YES_NO = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}


def lambada(row: Mapping[str, Any]) -> Row:
    """Paperno et al. 2016: the last word of a passage."""
    prompt, last = row["text"].rstrip().rsplit(None, 1)
    return {"prompt": prompt, "answer": f" {last}"}


def hellaswag(row: Mapping[str, Any]) -> Row:
    """Zellers et al. 2019: the ending of a scene, with its brackets of video captions taken out."""
    halves = "ctx_a" in row and "ctx_b" in row  # a published row has them beside their plain join
    scene = f"{row['ctx_a']} {row['ctx_b'].capitalize()}" if halves else row["ctx"]
    label = row.get("activity_label")
    prompt = _captions(f"{label}: {scene}" if label else scene)
    choices = [f" {_captions(end)}" for end in row["endings"]]
    return {"prompt": prompt, "choices": choices, "answer": _number(row["label"], choices)}


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
    return _asked(row["goal"], [row["sol1"], row["sol2"]], row["label"])


def mmlu(row: Mapping[str, Any]) -> Row:
    """Hendrycks et al. 2021: four choices by letter; the letter is what is scored."""
    answer = row["answer"]
    number = _LETTERS.index(answer) if isinstance(answer, str) and answer in _LETTERS else answer
    listed = "\n".join(f"{_LETTERS[at]}. {choice}" for at, choice in enumerate(row["choices"]))
    letters = [f" {_LETTERS[at]}" for at in range(len(row["choices"]))]
    prompt = f"{row['question'].strip()}\n{listed}\nAnswer:"
    return {"prompt": prompt, "choices": letters, "answer": _number(number, letters)}


def boolq(row: Mapping[str, Any]) -> Row:
    """Clark et al. 2019: yes or no, from a passage."""
    answer = _YES_NO.get(str(row["answer"] if "answer" in row else row["label"]).strip().lower())
    if answer is None:
        raise ValueError("the answer is neither yes nor no")  # -1 where a test set hides it
    prompt = f"{row['passage']}\nQuestion: {row['question'].rstrip('?')}?\nAnswer:"
    return {"prompt": prompt, "choices": [" no", " yes"], "answer": answer}


def winogrande(row: Mapping[str, Any]) -> Row:
    """Sakaguchi et al. 2020: who or what fills the blank."""
    before, after = row["sentence"].split("_", 1)
    prompt = before.rstrip()
    options = [f"{before[len(prompt) :]}{row[f'option{number}']}{after}" for number in (1, 2)]
    return {"prompt": prompt, "choices": options, "answer": _number(int(row["answer"]) - 1, options)}


def gsm8k(row: Mapping[str, Any]) -> Row:
    """Cobbe et al. 2021: the number behind ####, without the way to it."""
    _, mark, last = row["answer"].rpartition("####")
    number = last.strip().replace(",", "")
    if not mark or not number:
        raise ValueError("no number stands behind ####")
    return {"prompt": f"Question: {row['question'].strip()}\nAnswer:", "answer": f" {number}"}


LAYOUTS: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    made.__name__: made for made in (lambada, hellaswag, arc, piqa, mmlu, boolq, winogrande, gsm8k)
}


def convert(layout: str, lines: Iterable[str], labels: Iterable[str] = ()) -> Iterator[Row]:
    """Yield rows to score of JSON lines in a public layout; `labels` are those of PIQA's second file.

    Raises UsageError for an unknown layout, InputError with the line for a row that is not of it, and for
    labels that are not one a row: those of another file would make every answer a wrong one.
    """
    one_of("layout", layout, LAYOUTS, "layout of a benchmark")
    make, extra = LAYOUTS[layout], iter([label.strip() for label in labels if label.strip()])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parsed(line)
            if "label" not in row and (label := next(extra, None)) is not None:
                row["label"] = label
            yield make(row)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"a row is not of {layout}'s layout: {type(error).__name__}: {error}", where=f"line {number}"
            ) from error
    if left := sum(1 for _ in extra):
        raise InputError(
            f"{left} labels are left over: they are not those of these rows",
            hint="give the labels of the same split, and none for rows that have their own",
        )


def _asked(question: str, choices: list[str], answer: Any) -> Row:
    return {
        "prompt": f"Question: {question.strip()}\nAnswer:",
        "choices": [f" {choice.strip()}" for choice in choices],
        "answer": _number(answer, choices),
    }


def _number(label: Any, choices: list[str]) -> int:
    """The right choice's number; published test sets hide it as -1 or an empty string."""
    number = int(label)
    if not 0 <= number < len(choices):
        raise ValueError(f"there is no choice {number} among {len(choices)}")
    return number


def _captions(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\[.*?\]", "", text.replace(" [title]", ". "))).strip()
