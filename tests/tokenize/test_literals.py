"""Text never becomes a special token, whatever the tokenizer's file says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.literals import CONTROL, closed_model, pieces_of
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from tests.support.small_corpus import TEXTS, train_tokenizer, write_documents
from tests.support.tokenizer_files import SPELLED, sentencepiece_file


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    found = Encoder(tokenizer).encode(pa.array([text], pa.large_string()))
    assert not found.refused
    return found.tokens.tolist()


def model_json(model: dict[str, Any], added: dict[str, int], *, special: bool, pre: Any = None) -> str:
    tokens = [
        {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": not special, "special": special}
        for content, id in added.items()
    ]  # fmt: skip
    return json.dumps(
        {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": None,
            "pre_tokenizer": pre, "post_processor": None, "decoder": None, "model": model,
        }
    )  # fmt: skip


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_level() -> dict[str, Any]:
    import tokenizers

    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    return {"type": "BPE", "vocab": {letter: id for id, letter in enumerate(letters)}, "merges": []}


@pytest.mark.parametrize("special", [True, False])
def test_added_tokens_are_text_whether_the_file_calls_them_special_or_not(
    tmp_path: Path, special: bool
) -> None:
    added = {"</s>": 256, "<|user|>": 257, "<think>": 258, "    ": 259}
    path = tmp_path / "tokenizer.json"
    path.write_text(model_json(byte_level(), added, special=special, pre=BYTE_LEVEL))
    tokenizer = open_tokenizer(path)
    assert max(ids_of(tokenizer, SPELLED)) < 256
    assert tokenizer.decode(ids_of(tokenizer, SPELLED)) == SPELLED
    assert (259 in ids_of(tokenizer, "if x:\n    y")) == (not special)  # white space is what text has
    allowed = open_tokenizer(path, TokenizerSettings(text_tokens=("<think>",)))
    assert 258 in ids_of(allowed, SPELLED) and max(set(ids_of(allowed, SPELLED)) - {258}) < 256


def test_a_unigram_model_does_not_take_an_end_token_from_its_own_vocabulary(tmp_path: Path) -> None:
    letters = [[letter, -5.0] for letter in sorted(set(SPELLED))]
    model = {"type": "Unigram", "unk_id": 1, "vocab": [["</s>", 0.0], ["<unk>", 0.0], *letters]}
    path = tmp_path / "tokenizer.json"
    path.write_text(model_json(model, {"</s>": 0, "<unk>": 1}, special=True))
    assert 0 not in ids_of(open_tokenizer(path), SPELLED) and 1 not in ids_of(open_tokenizer(path), SPELLED)


def test_merges_that_spell_the_end_token_are_broken_up(tmp_path: Path) -> None:
    model = byte_level()
    for left, right in (("<", "/"), ("s", ">"), ("</", "s>")):
        model["merges"].append([left, right])
        model["vocab"][left + right] = len(model["vocab"])
    path = tmp_path / "tokenizer.json"
    path.write_text(model_json(model, {"</s>": model["vocab"]["</s>"]}, special=True, pre=None))
    tokenizer = open_tokenizer(path)
    found = ids_of(tokenizer, "a</s>b</s>")
    assert tokenizer.eos_id not in found
    assert "".join(tokenizer.piece(id) for id in found) == "a</s>b</s>"


def test_user_defined_symbols_of_a_model_are_text_and_line_breaks_stay_one_token(tmp_path: Path) -> None:
    data = sentencepiece_file(tmp_path / "t.model").read_bytes()
    tokenizer = open_tokenizer(tmp_path / "t.model")
    assert not set(ids_of(tokenizer, SPELLED)) & set(tokenizer.special.values())
    assert tokenizer.decode(ids_of(tokenizer, SPELLED)) == SPELLED
    assert len(ids_of(tokenizer, "\n\n")) == 2
    pieces = dict(pieces_of(closed_model(data, (), None)))
    assert pieces["<|user|>"] == CONTROL


def test_special_tokens_of_a_trained_tokenizer_are_no_text(tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "d.parquet", "s", list(TEXTS))
    settings = TokenizerSettings(vocab_size=512, special_tokens=("<|user|>",))
    train_tokenizer(settings, {"s": [documents]}, {}, tmp_path / "t.model")
    tokenizer = open_tokenizer(tmp_path / "t.model")
    assert "<|user|>" in tokenizer.special
    found = ids_of(tokenizer, "hello <|user|> there")
    assert tokenizer.special["<|user|>"] not in found and tokenizer.decode(found) == "hello <|user|> there"


def test_any_text_around_literals_comes_back_without_special_ids(tokenizer: Tokenizer) -> None:
    rng = random.Random(5)
    parts = [*SPELLED.split(" "), " ", "\n", "▁", "é", "字", "</", "s>", "<"]
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 30))) for _ in range(300)]
    encoder = Encoder(tokenizer)
    assert "gigatoken" in encoder.facts["encoder"]
    found = encoder.encode(pa.array(texts, pa.large_string()))
    assert not set(found.tokens.tolist()) & {0, 1, 2}
    assert found.tokens.tolist() == [id for ids in tokenizer.encode_batch(texts) for id in ids]
