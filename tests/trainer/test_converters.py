"""Public layouts become rows, synthetic tasks are right, and measures of both kinds are given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gristmill.errors import InputError, UsageError
from gristmill.trainer.evaluation import synthetic
from gristmill.trainer.evaluation.converters import LAYOUTS, convert
from gristmill.trainer.evaluation.evaluate import Continuation, _answers, _choices

PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lambada": (
        {"text": "He looked at the old clock on the wall"},
        {"prompt": "He looked at the old clock on the", "answer": " wall"},
    ),
    "hellaswag": (
        {
            "activity_label": "Surfing",
            "ctx": "A man [title] swims.",
            "endings": ["He [step] rests.", "x"],
            "label": 1,
        },
        {"prompt": "Surfing: A man. swims.", "choices": [" He rests.", " x"], "answer": 1},
    ),
    "arc": (
        {"question": "Why?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
        {"prompt": "Question: Why?\nAnswer:", "choices": [" a", " b"], "answer": 1},
    ),
    "piqa": (
        {"goal": "Open it", "sol1": "pull", "sol2": "push", "label": 0},
        {"prompt": "Question: Open it\nAnswer:", "choices": [" pull", " push"], "answer": 0},
    ),
    "mmlu": (
        {"question": "2+2?", "choices": ["3", "4"], "answer": "B"},
        {"prompt": "2+2?\nA. 3\nB. 4\nAnswer:", "choices": [" A", " B"], "answer": 1},
    ),
    "boolq": (
        {"question": "is it red", "passage": "It is red.", "answer": True},
        {"prompt": "It is red.\nQuestion: is it red?\nAnswer:", "choices": [" no", " yes"], "answer": 1},
    ),
    "winogrande": (
        {"sentence": "Ann thanked Sue because _ helped.", "option1": "Ann", "option2": "Sue", "answer": "2"},
        {"prompt": "Ann thanked Sue because", "choices": [" Ann helped.", " Sue helped."], "answer": 1},
    ),
    "gsm8k": (
        {"question": "How many?", "answer": "3 + 4 = 7\n#### 1,007"},
        {"prompt": "Question: How many?\nAnswer:", "answer": " 1007"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_row_becomes_a_row_to_score(layout: str) -> None:
    published, wanted = PUBLISHED[layout]
    assert list(convert(layout, [json.dumps(published), ""])) == [wanted]


def test_arc_as_first_published_and_piqa_with_its_file_of_labels() -> None:
    stem = {"stem": "Why?", "choices": [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]}
    assert next(convert("arc", [json.dumps({"question": stem, "answerKey": "2"})]))["answer"] == 1
    row = {"goal": "g", "sol1": "a", "sol2": "b"}
    assert next(convert("piqa", [json.dumps(row)], ["1\n"]))["answer"] == 1


def test_other_rows_and_layouts_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="helaswag"):
        list(convert("helaswag", []))
    with pytest.raises(InputError, match="not of boolq's layout") as caught:
        list(convert("boolq", [json.dumps(PUBLISHED["boolq"][0]), "{}"]))
    assert caught.value.where == "line 2"


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_synthetic_tasks_are_drawn_alike_again_and_differ_by_seed(kind: str) -> None:
    rows = synthetic.rows(kind, 20, seed=4)
    assert rows == synthetic.rows(kind, 20, seed=4) != synthetic.rows(kind, 20, seed=5)
    assert synthetic.text(kind, 20, seed=4).splitlines()[3] == rows[3]["prompt"] + rows[3]["answer"]


def test_synthetic_answers_are_right() -> None:
    for row in synthetic.rows("arithmetic", 50):
        assert eval(row["prompt"].rstrip(" =")) == int(row["answer"])
    for row in synthetic.rows("reverse", 20):
        words = row["prompt"].removeprefix("reverse: ").removesuffix(" ->").split()
        assert row["answer"].split() == words[::-1]
    for row in synthetic.rows("translation", 20):
        words = row["prompt"].removeprefix("translate: ").removesuffix(" ->").split()
        assert row["answer"].split() == [synthetic.toy_word(word) for word in words[::-1]]


def test_smooth_measures_stand_beside_the_sharp_ones() -> None:
    found = _answers([Continuation(-2.0, 2, True), Continuation(-4.0, 2, False)], ["ab", "cdef"])
    assert found["accuracy"] == 0.5
    assert found["bits_per_byte"] == pytest.approx(6 / 6 / 0.6931471805599453)
    rows = [{"prompt": "p", "choices": ["a", "b"], "answer": 1}]
    chosen = _choices(rows, lambda pairs: [Continuation(-1.0, 1, False), Continuation(-1.0, 1, False)])
    assert chosen["normalised_likelihood"] == pytest.approx(0.5) and chosen["rows"] == 1
