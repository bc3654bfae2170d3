"""A prompt gives the trainer the ids that the text had in the shards, whatever the tokenizer's file says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.errors import InputError
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenizer_files import READING, Reading
from gristmill.trainer.checkpoints.hf import export_hf
from gristmill.trainer.checkpoints.hf_tokenizer import write_tokenizer
from gristmill.trainer.evaluation.tokenizer import copy_tokenizer, load_tokenizer
from tests.support.small_corpus import TEXTS
from tests.support.tokenizer_files import SPELLED, byte_bpe_file, rank_file, sentencepiece_file

Corpus = Callable[..., Path]

PROMPTS = [
    SPELLED,
    "",
    " ",
    TEXTS[3][:500],
    "naïve café — 漢字 🙂\n\n\tit's 12345",
    "<|user|><|user|> x</s>",
    "a\u2028b",
]
FILES: dict[str, Callable[[Path], Path]] = {
    "own.json": byte_bpe_file,
    "special.json": lambda path: byte_bpe_file(path, special=True),
    "own.tiktoken": rank_file,
    "own.model": sentencepiece_file,
}


def shard_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    encoder = Encoder(tokenizer)
    return [encoder.encode(pa.array([text], pa.large_string())).tokens.tolist() for text in texts]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text_tokens", [(), ("<|user|>",)])
def test_a_prompt_has_the_ids_of_the_shards(tmp_path: Path, name: str, text_tokens: tuple[str, ...]) -> None:
    encoded = open_tokenizer(FILES[name](tmp_path / name), TokenizerSettings(text_tokens=text_tokens))
    (tmp_path / "run").mkdir()
    copy_tokenizer(encoded.file, encoded.reading, tmp_path / "run")
    trained = load_tokenizer(tmp_path / "run", encoded.eos_id)
    assert [trained.encode(prompt) for prompt in PROMPTS] == shard_ids(encoded, PROMPTS)
    assert [trained.decode(trained.encode(prompt)) for prompt in PROMPTS] == PROMPTS
    assert trained.size <= encoded.vocab_size


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_transformers_reads_no_special_token_out_of_a_text_either(tmp_path: Path, name: str) -> None:
    transformers: Any = pytest.importorskip("transformers")
    encoded = open_tokenizer(FILES[name](tmp_path / name))
    (tmp_path / "out").mkdir()
    copy = copy_tokenizer(encoded.file, encoded.reading, tmp_path / "out")
    write_tokenizer(copy, tmp_path / "out", encoded.eos_id, 64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    prompts = [*PROMPTS, *(text[:2000] for text in TEXTS[40:70])]
    for prompt, ids in zip(prompts, shard_ids(encoded, prompts), strict=True):
        assert theirs(prompt)["input_ids"] == [encoded.eos_id, *ids], prompt
        assert theirs.decode(ids) == prompt
    assert theirs.eos_token_id == encoded.eos_id


def test_a_model_trained_on_tiktoken_shards_completes_and_is_exported(corpus: Corpus, tmp_path: Path) -> None:
    from gristmill.trainer.evaluation.generate import Sampling, complete
    from gristmill.trainer.train import run

    encoded = open_tokenizer(rank_file(tmp_path / "r50k_base.tiktoken"), TokenizerSettings(eos=700))
    mix = corpus(vocab=encoded.vocab_size, eos_id=encoded.eos_id)
    manifest = json.loads((mix / "manifest.json").read_text())
    manifest |= {"tokenizer": "tokenizer.tiktoken", "tokenizer_reading": encoded.reading.as_json()}
    (mix / "manifest.json").write_text(json.dumps(manifest))
    (mix / "tokenizer.tiktoken").write_bytes(encoded.file.read_bytes())
    shape = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 64}
    folder = tmp_path / "run"
    run({"shards": str(mix), "run": str(folder), "model": shape, "device": "cpu", "steps": 1, "batch": 2,
         "threads": 1})  # fmt: skip
    (text,) = complete(folder, ["def f <|endoftext|>"], Sampling(max_tokens=4), "cpu")
    assert isinstance(text, str)
    assert {"tokenizer.tiktoken", "tokenizer.json", READING} <= {
        p.name for p in export_hf(folder, tmp_path / "hf").iterdir()
    }


def test_a_rank_file_alone_says_what_is_missing(tmp_path: Path) -> None:
    rank_file(tmp_path / "tokenizer.model")  # as Llama 3's is called
    with pytest.raises(InputError, match="does not say how a text is split") as refused:
        load_tokenizer(tmp_path)
    assert READING in str(refused.value.where) and "pattern" in str(refused.value.hint)
    (tmp_path / READING).write_text("[]")
    with pytest.raises(InputError, match="how the tokenizer is read"):
        Reading.beside(tmp_path / "tokenizer.model")
