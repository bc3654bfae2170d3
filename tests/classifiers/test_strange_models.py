"""Models that somebody else gives: what they say of themselves is bounded before kernels go by it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram.perplexity import NgramModel
from gristmill.classifiers.quality.hashing_tf import HashingTF, open_hashing_tf
from gristmill.classifiers.settings import NgramSettings
from gristmill.classifiers.topics.learning import CARD, CENTRES, SPACE, LearnedTopics
from gristmill.classifiers.topics.settings import TopicSettings
from gristmill.errors import IntegrityError
from gristmill.text.cores import cores_of
from gristmill.text.embedding import Space


@pytest.fixture
def table(tmp_path: Path) -> Path:
    settings, folder = NgramSettings(order=2, min_count=1), tmp_path / "table"
    hashes, rows = cores_of(pa.array(["a b a b c d"], pa.large_string()))
    keys = np.concatenate(ngrams.keys_by_length(hashes, rows, 2))
    merged = ngrams._merged([ngrams._distinct(keys)])
    ngrams.write_array(tmp_path / "0.merged", merged)
    ngrams.write_table(settings, [tmp_path / "0.merged"], folder, len(hashes), {"en": len(hashes)})
    return folder


def test_a_table_of_ngrams_is_read_and_scores(table: Path) -> None:
    documents = pa.table({"text": pa.array(["a b c", ""], pa.large_string())})
    assert NgramModel(table).perplexity(documents).null_count == 1


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"order": 1 << 40}, "`order` must be a whole number from 1 to 8, it is 1099511627776"),
        ({"order": "2"}, "`order` must be a whole number"),
        ({"lines": 1 << 30}, "1,073,741,824 lines make"),
        ({"lines": 0}, "`lines` must be a whole number from 1"),
        ({"lines": -64}, "`lines` must be"),
        ({"words": None}, "`words` must be a number from 0"),
        ({"words": 1e400}, "`words` must be a number from 0 to inf, it is inf"),
        ({"backoff": 0}, "`backoff` must be a number from 1e-30 to 1, it is 0"),
        ({"backoff": float("nan")}, "`backoff` must be"),
        ({"languages": {"en": "many"}}, "`languages` must be numbers of words"),
        ({"languages": {"en": True}}, "`languages` must be numbers of words"),
        ({"languages": [1]}, "`languages` must be"),
        ({"smoothing": "kneser_ney", "discounts": [0.5]}, "`discounts` must be 2 numbers from 0 to 1"),
        ({"smoothing": "kneser_ney", "discounts": [0.5, 10**400]}, "`discounts` must be 2 numbers"),
        ({"smoothing": "kneser_ney", "discounts": [0.5, 0.5], "total": 3}, "`types` must be a number"),
    ],
)
def test_a_card_of_ngrams_out_of_bounds_is_refused(table: Path, said: dict[str, Any], match: str) -> None:
    card = json.loads((table / ngrams.CARD).read_text())
    (table / ngrams.CARD).write_text(json.dumps({**card, **said}))
    with pytest.raises(IntegrityError, match=match) as told:
        NgramModel(table)
    assert str(table) in str(told.value) and "get a copy that is whole" in str(told.value)


@pytest.mark.parametrize("last", [None, 128, 255, 13])
def test_a_table_whose_last_line_leads_out_of_it_is_refused(table: Path, last: int | None) -> None:
    data = (table / ngrams.LINES).read_bytes()
    (table / ngrams.LINES).write_bytes(data[:-64] if last is None else data[:-1] + bytes([last]))
    with pytest.raises(IntegrityError, match="lines make" if last is None else "n-grams lie behind it"):
        NgramModel(table)


def hashing_tf(**said: Any) -> bytes:
    head = json.dumps({"labels": ["a", "b"], "bias": 0.5, "features": 16, **said}).encode()
    return b"GMHASHTF" + len(head).to_bytes(8, "little") + head + bytes(4 * 16 + 2)


def test_a_model_of_hashed_features_is_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(hashing_tf())
    assert isinstance(open_hashing_tf(path), HashingTF)
    wrong = [hashing_tf(features=number) for number in (0, -1, 15, 1 << 40, 1e400, "16", None)]
    wrong += [hashing_tf(bias=bias) for bias in (float("nan"), "0", None, 10**400)]
    wrong += [hashing_tf(labels=labels) for labels in (None, ["a"], [1, 2], "ab")]
    whole = hashing_tf()
    wrong += [whole[:9], whole[:30], whole[:-1], whole + b"\0", whole[:16] + b"[" * 60 + whole[76:]]
    wrong += [whole[:-66] + struct.pack("<f", float("nan")) + whole[-62:]]
    for number, data in enumerate(wrong):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data)
        with pytest.raises(ValueError):  # of any words: who opens it names the file
            open_hashing_tf(path)


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    features = np.array([1, 5], np.uint32)
    Space(4, features, np.ones(2, np.float32), np.ones((2, 3), np.float32)).save(tmp_path / SPACE)
    (tmp_path / CENTRES).write_bytes(np.ones(6, "<f4").tobytes())
    card = {"topics": [{"name": "sea"}, {"name": "law"}], "window_chars": 100}
    (tmp_path / CARD).write_text(json.dumps(card))
    return tmp_path


def test_learned_topics_out_of_bounds_are_refused(topics: Path) -> None:
    assert LearnedTopics(topics, TopicSettings()).names == ["sea", "law"]
    card = (topics / CARD).read_text()
    for said, match in (
        ({"topics": []}, "a list of topics"),
        ({"topics": [{"name": 3}]}, "a list of topics"),
        ({"topics": [{"name": "sea"}]}, "it has 6 numbers, and 1 topics 3 each"),
        ({"window_chars": -1}, "`window_chars` must be"),
    ):
        (topics / CARD).write_text(json.dumps({**json.loads(card), **said}))
        with pytest.raises(IntegrityError, match=match):
            LearnedTopics(topics, TopicSettings())
    (topics / CARD).write_text(card)
    whole = (topics / SPACE).read_bytes()
    for data, match in (
        (whole.replace(b'"bits": 4', b'"bits": 60'), "`bits` must be a whole number from 1 to 26, it is 60"),
        (whole.replace(b'"bits": 4', b'"bits": 2'), r"its features must rise below 2\^2"),
        (whole.replace(struct.pack("<II", 1, 5), struct.pack("<II", 5, 5)), "its features must rise"),
        (whole.replace(b'"features"', b"[features["), "a head that is not JSON"),
        (whole[:-1], "bytes, its head says"),
    ):
        length = struct.pack("<Q", len(whole[: whole.index(b"}") + 1]) - 16 + len(data) - len(whole))
        (topics / SPACE).write_bytes(
            data[:8] + (length if data[-1:] == whole[-1:] else whole[8:16]) + data[16:]
        )
        with pytest.raises(IntegrityError, match=match):
            LearnedTopics(topics, TopicSettings())
