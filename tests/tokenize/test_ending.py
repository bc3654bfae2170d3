"""Each tokenizer ends documents with its own end token, and says how that is known."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from gristmill.errors import InputError
from gristmill.tokenize.encoding.tokenizers import facts_of, open_tokenizer, resolved
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenizer_files import kind_of
from tests.tokenize.test_literals import BYTE_LEVEL, byte_level, model_json


def ranks(path: Path, count: int) -> Path:
    """A rank file of `count` tokens: the bytes, then longer strings that no text has."""
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [b"\xff\xfe" + number.to_bytes(4, "big") for number in range(count - 256)]
    path.write_bytes(b"\n".join(base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens)))
    return path


@pytest.mark.parametrize(
    ("name", "count", "end", "vocab"),
    [
        ("cl100k_base.tiktoken", 300, 100_257, 100_277),
        ("o200k_base.tiktoken", 300, 199_999, 200_019),
        ("tokenizer.model", 128_000, 128_001, 128_256),
        ("r50k_base.tiktoken", 300, 50_256, 50_257),
    ],
)
def test_published_rank_files_have_their_published_end(
    tmp_path: Path, name: str, count: int, end: int, vocab: int
) -> None:
    tokenizer = open_tokenizer(ranks(tmp_path / name, count))
    assert (tokenizer.kind, tokenizer.eos_id, tokenizer.vocab_size) == ("tiktoken", end, vocab)
    assert "known by its" in tokenizer.ending.found


def test_a_copy_under_another_name_opens_as_its_original(tmp_path: Path) -> None:
    original = open_tokenizer(ranks(tmp_path / "cl100k_base.tiktoken", 300))
    shutil.copy(original.file, tmp_path / "tokenizer.tiktoken")
    settings = resolved(TokenizerSettings(), facts_of(original))
    copy = open_tokenizer(tmp_path / "tokenizer.tiktoken", settings)
    assert (copy.eos_id, copy.vocab_size) == (100_257, 100_277)
    assert copy.encode_batch(["12345 it's"]) == original.encode_batch(["12345 it's"])


def test_tokenizer_eos_sets_an_id_or_a_token_and_is_used(tmp_path: Path) -> None:
    path = ranks(tmp_path / "own.tiktoken", 260)
    assert open_tokenizer(path).eos_id == 260
    assert open_tokenizer(path, TokenizerSettings(eos=300)).eos_id == 300
    assert open_tokenizer(path, TokenizerSettings(eos=300)).vocab_size == 301
    path = ranks(tmp_path / "cl100k_base.tiktoken", 300)
    assert open_tokenizer(path, TokenizerSettings(eos="<|endofprompt|>")).eos_id == 100_276
    with pytest.raises(InputError, match="no token that ends a document: `<nothing>`"):
        open_tokenizer(path, TokenizerSettings(eos="<nothing>"))
    with pytest.raises(InputError, match="the id 7, which it does not have"):
        open_tokenizer(path, TokenizerSettings(eos=7))


def test_two_candidates_are_asked_about_or_settled_by_the_tokenizers_own_configuration(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tokenizer.json"
    added = {"</s>": 256, "<|endoftext|>": 257, "<|im_end|>": 258}
    path.write_text(model_json(byte_level(), added, special=True, pre=BYTE_LEVEL))
    with pytest.raises(InputError, match="2 tokens that may end a document: </s> and ") as caught:
        open_tokenizer(path)
    assert "tokenizer.eos" in str(caught.value)
    assert open_tokenizer(path, TokenizerSettings(eos="<|endoftext|>")).eos_id == 257
    assert open_tokenizer(path, TokenizerSettings(eos=256)).ending.token == "</s>"
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [258, 256]}))
    assert open_tokenizer(path).eos_id == 258
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|endoftext|>"}}))
    tokenizer = open_tokenizer(path)
    assert (tokenizer.eos_id, tokenizer.ending.found) == (257, "tokenizer_config.json")


def test_a_file_is_known_by_its_content_not_by_its_name(tmp_path: Path, model: Path) -> None:
    shutil.copy(model, tmp_path / "a.json")
    (tmp_path / "b.model").write_text(model_json(byte_level(), {"</s>": 256}, special=True, pre=BYTE_LEVEL))
    ranks(tmp_path / "c.bin", 256)
    names = ("a.json", "b.model", "c.bin")
    assert [kind_of(tmp_path / name) for name in names] == ["sentencepiece", "huggingface", "tiktoken"]
    (tmp_path / "d.model").write_bytes(b"no tokenizer at all")
    with pytest.raises(InputError, match="is not a SentencePiece model"):
        open_tokenizer(tmp_path / "d.model")


def test_white_space_cannot_end_a_document(model: Path) -> None:
    with pytest.raises(InputError, match="white space cannot end a document"):
        open_tokenizer(model, TokenizerSettings(eos="\n"))
