"""Tokenizers behind one face, whatever library they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from gristmill.errors import InputError
from gristmill.hashing import sha256_file
from gristmill.token_shards import token_dtype
from gristmill.tokenize.encoding.bounds import check_ids
from gristmill.tokenize.encoding.ending import Ending
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenizer_files import Reading, kind_of


class Tokenizer(Protocol):
    """Text to ids and back; no special token is added or read out of text.

    `special` holds the tokens that text must never become, the end token among them; `unknown_id` is the one
    that stands for what the vocabulary cannot spell.
    """

    kind: str
    library: str
    file: Path
    vocab_size: int
    ending: Ending
    eos_id: int
    special: dict[str, int]
    unknown_id: int | None
    reading: Reading

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def piece(self, id: int) -> str: ...


def open_tokenizer(file: Path, settings: TokenizerSettings | None = None) -> Tokenizer:
    """Open a tokenizer; raises InputError when it is unreadable or has no token that ends a document."""
    from gristmill.tokenize.encoding import reference

    opened: dict[str, Any] = {
        "sentencepiece": reference.SentencePiece,
        "huggingface": reference.HuggingFace,
        "tiktoken": reference.Tiktoken,
    }
    tokenizer: Tokenizer = opened[kind_of(file)](file, settings or TokenizerSettings())
    check_ids(file, [tokenizer.vocab_size - 1])  # that of the end token may come from the recipe
    if not tokenizer.ending.token.strip():
        raise InputError(
            f"white space cannot end a document: `tokenizer.eos` is {tokenizer.ending.token!r}",
            where=str(file),
            hint="name a token that no text spells",
        )
    return tokenizer


def facts_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """What shards and later steps must know of a tokenizer; `resolved` reads it back."""
    encoding = getattr(tokenizer, "encoding", None)
    return {
        "kind": tokenizer.kind,
        "vocab": tokenizer.vocab_size,
        "eos_id": tokenizer.ending.id,
        "eos": tokenizer.ending.token,
        "eos_found": tokenizer.ending.found,
        "encoding": encoding.name if encoding else None,
        "sha256": tokenizer_sha256(tokenizer),
    }


def resolved(settings: TokenizerSettings, facts: Mapping[str, Any]) -> TokenizerSettings:
    """The settings with which a copy of a tokenizer opens as the original did, away from its own folder."""
    return settings.model_copy(
        update={
            "eos": facts.get("eos_id", settings.eos),
            "encoding": facts.get("encoding", settings.encoding),
        }
    )


def checked(ids: npt.NDArray[Any], vocab_size: int, where: str) -> npt.NDArray[Any]:
    """Return ids in the shards' type; one outside the vocabulary is an error, never wrapped around."""
    if ids.size and (int(ids.max()) >= vocab_size or int(ids.min()) < 0):
        raise InputError(
            f"the tokenizer gave the id {int(ids.max())}, beyond its vocabulary of {vocab_size}",
            where=where,
            hint="the file declares fewer tokens than it uses",
        )
    return ids.astype(token_dtype(vocab_size))


def tokenizer_sha256(tokenizer: Tokenizer) -> str:
    return sha256_file(tokenizer.file)
