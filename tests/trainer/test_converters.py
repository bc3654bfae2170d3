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


def test_hellaswag_is_asked_of_its_halves_as_the_harness_asks_it() -> None:
    row = {
        "activity_label": "Sailing",
        "ctx_a": "A boat leaves.",
        "ctx_b": "the Man",
        "ctx": "A boat leaves. the Man",
    }
    made = next(convert("hellaswag", [json.dumps(row | {"endings": ["waves.", "sinks."], "label": "1"})]))
    assert (made["prompt"], made["answer"]) == ("Sailing: A boat leaves. The man", 1)


def test_winograndes_blank_keeps_what_stands_around_it() -> None:
    row = {"option1": "Ann", "option2": "Sue", "answer": "1"}
    made = next(convert("winogrande", [json.dumps(row | {"sentence": "They met (_ was late)."})]))
    assert made["prompt"] + made["choices"][0] == "They met (Ann was late)."
    made = next(convert("winogrande", [json.dumps(row | {"sentence": "_ was late."})]))
    assert (made["prompt"], made["choices"][1]) == ("", "Sue was late.")


@pytest.mark.parametrize(
    ("answer", "number"), [(False, 0), ("false", 0), ("no", 0), (0, 0), ("yes", 1), (1, 1)]
)
def test_boolqs_answer_is_read_in_every_spelling(answer: Any, number: int) -> None:
    row = PUBLISHED["boolq"][0] | {"answer": answer}
    assert next(convert("boolq", [json.dumps(row)]))["answer"] == number


HIDDEN: list[tuple[str, dict[str, Any]]] = [  # as test sets are published
    ("boolq", {"question": "q", "passage": "p", "label": -1}),
    ("piqa", PUBLISHED["piqa"][0] | {"label": -1}),
    ("hellaswag", PUBLISHED["hellaswag"][0] | {"label": ""}),
    ("hellaswag", PUBLISHED["hellaswag"][0] | {"label": 2}),
    ("mmlu", PUBLISHED["mmlu"][0] | {"answer": "C"}),
    ("mmlu", PUBLISHED["mmlu"][0] | {"answer": -1}),
    ("winogrande", PUBLISHED["winogrande"][0] | {"answer": ""}),
    ("winogrande", PUBLISHED["winogrande"][0] | {"answer": "0"}),
    ("gsm8k", {"question": "How many?", "answer": "Seven, I think."}),
]


@pytest.mark.parametrize(("layout", "row"), HIDDEN)
def test_a_row_without_a_right_answer_is_refused(layout: str, row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"not of {layout}'s layout"):
        list(convert(layout, [json.dumps(row)]))


def test_labels_of_another_file_are_refused() -> None:
    lines = [json.dumps({"goal": "g", "sol1": "a", "sol2": "b"})] * 2
    assert [row["answer"] for row in convert("piqa", lines, ["1", "0", ""])] == [1, 0]
    with pytest.raises(InputError, match="1 labels are left over"):
        list(convert("piqa", lines, ["1", "0", "1"]))
    with pytest.raises(InputError, match="not of piqa's layout"):
        list(convert("piqa", lines, ["1"]))
    with pytest.raises(InputError, match="left over"):
        list(convert("piqa", [json.dumps(PUBLISHED["piqa"][0])], ["1"]))


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
