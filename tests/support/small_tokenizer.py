"""Shards with a small sentencepiece tokenizer beside them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.write_token_shards import random_documents, write_shards


def write_small_mix(folder: Path, vocab: int = 400) -> Path:
    """Write shards of random tokens, and a tokenizer of as many as there are ids."""
    import sentencepiece as spm

    mix = write_shards(folder, [random_documents(40, 0, vocab)], vocab=vocab)
    text = folder.parent / "text.txt"
    text.write_text(Path(json.__file__).read_text())
    spm.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(mix / "tokenizer"), vocab_size=vocab,
        model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        num_threads=1, minloglevel=2,
        eos_id=0, bos_id=-1, unk_id=1,
    )  # fmt: skip
    return mix
