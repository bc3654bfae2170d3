"""Merges are those of the definition, and a trained model has SentencePiece's pieces."""

from __future__ import annotations

import io
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.literals import NORMAL, pieces_of
from gristmill.tokenize.encoding.published import PATTERNS
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.training.merges import learn
from gristmill.tokenize.training.segments import classes_of, counted_characters, covered, points_of, runs_of
from gristmill.tokenize.training.trainers import (
    _byte_level,
    _split_words,
    train_byte_bpe,
    train_sentencepiece,
)
from gristmill.tokenize.training.wordcount import count_words
from tests.support.small_corpus import TEXTS

Words = list[tuple[tuple[int, ...], int]]


def defined(words: Words, num_base: int, num_new: int, longest: int) -> list[tuple[int, int, int]]:
    """Byte pair encoding as it is defined: every pair is counted anew for every merge."""
    spelled: list[tuple[int, ...]] = [(base,) for base in range(num_base)]
    known = {one: at for at, one in enumerate(spelled)}
    sequences, merges = [[*word] for word, _ in words], list[tuple[int, int, int]]()
    while len(spelled) < num_base + num_new:
        counts: Counter[tuple[int, int]] = Counter()
        for sequence, (_, times) in zip(sequences, words, strict=True):
            ends: dict[tuple[int, int], int] = {}
            for at, pair in enumerate(pairwise(sequence)):
                if sum(len(spelled[one]) for one in pair) <= longest and ends.get(pair, -1) != at:
                    ends[pair], counts[pair] = at + 1, counts[pair] + times
        if not counts:
            break
        left, right = min(
            counts, key=lambda pair: (-counts[pair], sum(len(spelled[one]) for one in pair), pair)
        )
        text = spelled[left] + spelled[right]
        if text not in known:
            known[text] = len(spelled)
            spelled.append(text)
        merges.append((left, right, known[text]))
        sequences = [_replaced(sequence, (left, right), known[text]) for sequence in sequences]
    return merges


def _replaced(sequence: list[int], pair: tuple[int, int], made: int) -> list[int]:
    out: list[int] = []
    at = 0
    while at < len(sequence):
        hit = tuple(sequence[at : at + 2]) == pair
        out.append(made if hit else sequence[at])
        at += 2 if hit else 1
    return out


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=12).map(tuple), st.integers(1, 4))),
    st.integers(1, 30),
    st.sampled_from([2, 3, 5, 16]),
)
def test_merges_are_those_of_the_definition(words: Words, num_new: int, longest: int) -> None:
    symbols = np.array([one for word, _ in words for one in word], np.int32)
    starts = np.cumsum([0, *(len(word) for word, _ in words)])
    found = learn(symbols, starts, np.array([times for _, times in words], "i8"), 4, num_new, longest)
    merges = list(zip(found.left.tolist(), found.right.tolist(), found.made.tolist(), strict=True))
    assert merges == defined(words, 4, num_new, longest)


def test_a_model_has_the_pieces_of_sentencepieces_own_trainer() -> None:
    """But for ties, which it breaks otherwise, and pairs that it looks at too seldom."""
    import sentencepiece

    words = count_words([pa.array(TEXTS, pa.large_string())])
    lines = (
        f"{row['word'].decode()}\t{row['count']}" for row in words.to_pylist() if b"\t" not in row["word"]
    )
    wanted, buffer = TokenizerSettings(vocab_size=2048, special_tokens=("<|user|>",)), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=buffer, model_type="bpe", input_format="tsv", vocab_size=2048,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2,
        user_defined_symbols=["\n"], control_symbols=["<|user|>"], num_threads=1, character_coverage=0.9995,
    )  # fmt: skip
    own, theirs = (pieces_of(data) for data in (train_sentencepiece(wanted, words), buffer.getvalue()))
    assert len(own) == len(theirs) == 2048
    first = next(at for at, (_, kind) in enumerate(own) if at > 2 and kind == NORMAL)
    assert own[:first] == theirs[:first]
    assert len({*own} & {*theirs}) > 0.98 * len(own)
    processors = [
        sentencepiece.SentencePieceProcessor(model_proto=data)
        for data in (train_sentencepiece(wanted, words), buffer.getvalue())
    ]
    assert processors[0].vocab_size() == 2048
    ours, reference = (sum(map(len, one.encode(TEXTS))) for one in processors)
    assert ours < 1.003 * reference


def test_runs_end_at_digits_scripts_and_characters_without_a_piece() -> None:
    words = {
        " ab": 2,
        "a1b": 1,
        "ab-cd": 1,
        "xyЖы": 3,
        "漢字かな": 1,
        "éx": 1,
        "e\u0301x": 1,
        "a☃b": 1,
        "   ": 1,
    }
    table = pa.table({"word": [word.encode() for word in words], "count": list(words.values())})
    points, starts = points_of(table)
    counted = dict(counted_characters(points, starts, table["count"].to_numpy()))
    assert counted["a"] == 5 and counted["Ж"] == 3
    runs = runs_of(points, starts, table["count"].to_numpy(), [char for char in counted if char != "☃"])
    spelled = [
        "".join(runs.characters[one] for one in runs.symbols[begin:end])
        for begin, end in pairwise(runs.starts)
    ]
    assert spelled == [" ab", "ab", "cd", "xy", "Жы", "漢字かな", "éx", "e\u0301x", "   "]
    assert classes_of(["a", "1", " "]).tolist()[1:] == [1, 2]
    assert covered([("a", 90), ("b", 9), ("c", 1)], 0.95) == ["a", "b"]


@pytest.mark.parametrize("train", [train_sentencepiece, train_byte_bpe])
def test_too_little_text_says_how_much_there_was(train: object) -> None:
    words = count_words([pa.array(["the cat and the hat"], pa.large_string())])
    with pytest.raises(ValueError, match=r"pieces|merges"):
        train(TokenizerSettings(vocab_size=2048), words)  # type: ignore[operator]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_words_that_are_taken_as_one_piece_are_what_the_pattern_cuts(pattern: str) -> None:
    words = count_words(
        [
            pa.array(
                [
                    *TEXTS,
                    "a B cD Ef gH's I'm x1 -y (z) été \tb c\u3000d  e \x85f  \u2028 \x1cg don't ... 1,2 水水",
                ],
                pa.large_string(),
            )
        ]
    )
    pre, cut = _byte_level(pattern), Counter[str]()
    for word, count in zip(words["word"].to_pylist(), words["count"].to_pylist(), strict=True):
        for piece, _ in pre.pre_tokenize_str(word.decode()):
            cut[piece] += count
    assert _split_words(pre, words, pattern) == cut
