"""Tokenizers behind one face: SentencePiece, Hugging Face tokenizer.json, and tiktoken files."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from gristmill.errors import InputError
from gristmill.hashing import sha256_file
from gristmill.token_shards import token_dtype
from gristmill.tokenize.settings import TokenizerSettings

EOS_NAMES = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]")
_TEXTS_AT_ONCE = 16
# GPT-2's splitting pattern; tiktoken files carry ranks only.
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


class Tokenizer(Protocol):
    """Text to ids and back; no special token is added or read out of text."""

    file: Path
    vocab_size: int
    eos_id: int

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def piece(self, id: int) -> str: ...


class SentencePiece:
    """A `.model` file of SentencePiece."""

    def __init__(self, file: Path, eos: str | None = None) -> None:
        import sentencepiece

        try:
            self.processor: Any = sentencepiece.SentencePieceProcessor(model_file=os.fspath(file))
        except (OSError, RuntimeError) as error:
            raise InputError(f"`{file}` is not a SentencePiece model: {error}") from error
        self.file, self.vocab_size = file, self.processor.vocab_size()
        self.eos_id = self.processor.piece_to_id(eos) if eos else self.processor.eos_id()
        if self.eos_id < 0 or (eos and self.processor.id_to_piece(self.eos_id) != eos):
            raise _no_eos(file, eos)

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]:
        return list(self.processor.encode(list(texts), num_threads=1))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.processor.decode([int(id) for id in ids]))

    def piece(self, id: int) -> str:
        return str(self.processor.id_to_piece(id))


class HuggingFace:
    """A `tokenizer.json` of the tokenizers library."""

    def __init__(self, file: Path, eos: str | None = None) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread per task: the engine places the tasks
        import tokenizers

        try:
            self.tokenizer: Any = tokenizers.Tokenizer.from_file(os.fspath(file))
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"`{file}` is not a tokenizer.json: {error}") from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # text that spells a special token is still text
        self.file, self.vocab_size = file, 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        found = (self.tokenizer.token_to_id(name) for name in ([eos] if eos else EOS_NAMES))
        self.eos_id = next((id for id in found if id is not None), -1)
        if self.eos_id < 0:
            raise _no_eos(file, eos)

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]:
        # An Encoding holds some hundred bytes per token: a few texts at a time stay in the processor's cache.
        groups = (
            list(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE)
        )
        encode = self.tokenizer.encode_batch_fast  # without offsets
        return [encoding.ids for group in groups for encoding in encode(group, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode([int(id) for id in ids], skip_special_tokens=False))

    def piece(self, id: int) -> str:
        return str(self.tokenizer.id_to_token(id))


class Tiktoken:
    """A `.tiktoken` file: lines of base64 token and rank; the id after the last rank ends a document."""

    def __init__(self, file: Path, eos: str | None = None, pattern: str | None = None) -> None:
        try:
            import tiktoken
        except ImportError:
            raise InputError(
                "a .tiktoken file needs the package tiktoken", hint="pip install 'gristmill[tiktoken]'"
            ) from None
        try:
            rows = (line.split() for line in file.read_bytes().splitlines() if line)
            self.ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
        except (OSError, ValueError) as error:
            raise InputError(f"`{file}` is not a tiktoken file: {error}") from error
        self.file, self.eos_id = file, 1 + max(self.ranks.values())
        self.vocab_size, self.eos = self.eos_id + 1, eos or "<|endoftext|>"
        self.encoding = tiktoken.Encoding(
            file.stem,
            pat_str=pattern or GPT2_PATTERN,
            mergeable_ranks=self.ranks,
            special_tokens={self.eos: self.eos_id},
        )

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]:
        return [self.encoding.encode_ordinary(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.encoding.decode([int(id) for id in ids]))

    def piece(self, id: int) -> str:
        return str(self.encoding.decode_single_token_bytes(id), "utf-8", "backslashreplace")


def open_tokenizer(file: Path, settings: TokenizerSettings | None = None) -> Tokenizer:
    """Open a tokenizer by its file's ending; raises InputError when it is unreadable or has no token that
    ends a document."""
    settings = settings or TokenizerSettings()
    if not file.is_file():
        raise InputError(f"there is no tokenizer at `{file}`")
    if file.suffix == ".json":
        return HuggingFace(file, settings.eos)
    if file.suffix == ".tiktoken":
        return Tiktoken(file, settings.eos, settings.pattern)
    return SentencePiece(file, settings.eos)


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


def _no_eos(file: Path, eos: str | None) -> InputError:
    wanted = f"`{eos}`" if eos else f"any of {', '.join(EOS_NAMES)}"
    return InputError(
        f"the tokenizer has no token that ends a document: {wanted}",
        where=str(file),
        hint="name it with `tokenizer.eos`",
    )
