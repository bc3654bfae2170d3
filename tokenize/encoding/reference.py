"""The reference encoders: SentencePiece, Hugging Face tokenizer.json, tiktoken, each by its own library."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from gristmill.errors import InputError
from gristmill.files.disk import read_file
from gristmill.hashing import sha256_file
from gristmill.literals import (
    CONTROL,
    USER_DEFINED,
    closed_json,
    closed_model,
    is_text,
    is_white_space,
    pieces_of,
)
from gristmill.tokenize.encoding.bounds import check_ids, check_json, check_ranks
from gristmill.tokenize.encoding.ending import Ending, asked_for, from_configuration, no_end
from gristmill.tokenize.encoding.published import (
    ENCODINGS,
    END,
    GPT2_PATTERN,
    PATTERNS,
    Encoding,
    find_encoding,
)
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenizer_files import Reading

_TEXTS_AT_ONCE = 16


class SentencePiece:
    """A `.model` file of SentencePiece."""

    kind, library = "sentencepiece", "sentencepiece"

    def __init__(self, file: Path, settings: TokenizerSettings) -> None:
        import sentencepiece

        data = read_file(file)
        try:
            pieces = pieces_of(data)
            self.processor: Any = sentencepiece.SentencePieceProcessor(model_proto=data)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"`{file}` is not a SentencePiece model: {error}") from error
        ids = {piece: id for id, (piece, _) in enumerate(pieces)}
        self.file, self.vocab_size = file, len(pieces)
        self.ending = self._ending(settings, ids, pieces)
        self.eos_id = self.ending.id
        self.special = {
            piece: id
            for id, (piece, kind) in enumerate(pieces)
            if kind == CONTROL
            or id == self.ending.id
            or (kind == USER_DEFINED and not is_white_space(piece) and piece not in settings.text_tokens)
        }
        self.unknown_id: int | None = self.processor.unk_id()
        self.reading = Reading(settings.text_tokens)
        self.closed = closed_model(data, settings.text_tokens, self.ending.token)
        if self.closed != data:
            self.processor = sentencepiece.SentencePieceProcessor(model_proto=self.closed)

    def _ending(
        self, settings: TokenizerSettings, ids: dict[str, int], pieces: Sequence[tuple[str, int]]
    ) -> Ending:
        if settings.eos is not None:
            return asked_for(
                settings.eos,
                self.file,
                ids.get,
                lambda id: pieces[id][0] if 0 <= id < len(pieces) else None,
            )
        id_ = self.processor.eos_id()
        if id_ < 0:
            raise no_end(self.file, "the model declares none")
        return Ending(id_, pieces[id_][0], "the model itself")

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]:
        encode = self.processor.encode  # a list of one makes a pool of threads first: 50 us
        return [encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.processor.decode([int(id) for id in ids]))

    def piece(self, id: int) -> str:
        return str(self.processor.id_to_piece(id))


class HuggingFace:
    """A `tokenizer.json` of the tokenizers library."""

    kind, library = "huggingface", "tokenizers"

    def __init__(self, file: Path, settings: TokenizerSettings) -> None:
        self.file = file
        try:
            self.config: dict[str, Any] = orjson.loads(read_file(file))
            self.closed = closed_json(self.config, settings.text_tokens)
            check_json(file, self.config)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"`{file}` is not a tokenizer.json: {error!r}") from error
        self._closed: Any = _tokenizers(self.closed, file)
        self._closed.encode_special_tokens = True  # text that spells a special token is still text
        added = {token["content"]: int(token["id"]) for token in self.config.get("added_tokens") or ()}
        words: dict[str, int] = self._vocabulary.get_vocab(with_added_tokens=True)
        self.vocab_size = 1 + max({**words, **added}.values())
        if settings.eos is not None:
            self.ending = asked_for(settings.eos, file, words.get, self._vocabulary.id_to_token)
        else:
            self.ending = from_configuration(file, added, words)
        self.eos_id = self.ending.id
        unknown = self.config["model"].get("unk_token")
        if isinstance(self.config["model"].get("unk_id"), int):
            self.unknown_id: int | None = self.config["model"]["unk_id"]
        else:
            self.unknown_id = words.get(unknown) if unknown else None
        self.special = {
            token["content"]: token["id"]
            for token in self.config.get("added_tokens") or ()
            if not is_text(token, settings.text_tokens) and token["id"] != self.unknown_id
        }
        self.special[self.ending.token] = self.ending.id
        self.reading = Reading(settings.text_tokens)

    @cached_property
    def _vocabulary(self) -> Any:
        """The file as it is, for pieces and for decoding."""
        whole = _tokenizers(self.config, self.file)
        if whole.decoder is None and "ByteLevel" in str(self.config.get("pre_tokenizer")):
            from tokenizers import decoders

            whole.decoder = decoders.ByteLevel()
        return whole

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]:
        # An Encoding holds some hundred bytes per token: a few texts at a time stay in the processor's cache.
        groups = (
            list(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE)
        )
        encode = self._closed.encode_batch_fast  # without offsets
        return [encoding.ids for group in groups for encoding in encode(group, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._vocabulary.decode([int(id) for id in ids], skip_special_tokens=False))

    def piece(self, id: int) -> str:
        return str(self._vocabulary.id_to_token(id))


class Tiktoken:
    """A `.tiktoken` file: lines of base64 token and rank, completed by what is published of its encoding."""

    kind, library = "tiktoken", "tiktoken"

    def __init__(self, file: Path, settings: TokenizerSettings) -> None:
        try:
            import tiktoken
        except ImportError:
            raise InputError(
                "a .tiktoken file needs the package tiktoken", hint="pip install 'gristmill[tiktoken]'"
            ) from None
        try:
            rows = (line.split() for line in read_file(file).splitlines() if line)
            pairs = [(base64.b64decode(token), int(rank)) for token, rank in rows]
            highest = max(rank for _, rank in pairs)
        except (OSError, ValueError) as error:
            raise InputError(f"`{file}` is not a tiktoken file: {error}") from error
        self.ranks = check_ranks(file, pairs)
        self.file = file
        self.encoding, self.known_by = self._published(settings, highest)
        known = self.encoding.special if self.encoding else {}
        self.ending = self._ending(settings, known, highest)
        self.eos_id = self.ending.id
        size = self.encoding.vocab_size if self.encoding else 0
        self.vocab_size = max(size, highest + 1, self.ending.id + 1)
        self.special = {**known, self.ending.token: self.ending.id}
        self.unknown_id: int | None = None
        named = PATTERNS.get(settings.pattern or "", settings.pattern)
        self.pattern = named or (self.encoding.pattern if self.encoding else GPT2_PATTERN)
        self.reading = Reading(pattern=self.pattern, special=self.special)
        check_ids(file, self.special.values())
        try:
            self.codec = tiktoken.Encoding(
                file.stem, pat_str=self.pattern, mergeable_ranks=self.ranks, special_tokens=self.special
            )
        except ValueError as error:
            raise InputError(
                f"`{file}` cannot be read with the pattern {self.pattern[:60]!r}: {error}",
                hint="`tokenizer.pattern` is a regular expression, or the name of a published one",
            ) from error

    def _published(self, settings: TokenizerSettings, highest: int) -> tuple[Encoding | None, str]:
        if settings.encoding is not None:
            return ENCODINGS[settings.encoding], "tokenizer.encoding"
        found = find_encoding(self.file, sha256_file(self.file), len(self.ranks), highest)
        return found or (None, "")

    def _ending(self, settings: TokenizerSettings, known: dict[str, int] | Any, highest: int) -> Ending:
        taken = set(self.ranks.values())

        def token_of(id_: int) -> str | None:
            own = next((token for token, number in known.items() if number == id_), None)
            return own or (None if id_ in taken or id_ < 0 else END)

        def id_of(token: str) -> int | None:
            return known.get(token, None if self.encoding or token.isdecimal() else highest + 1)

        if settings.eos is not None:
            return asked_for(settings.eos, self.file, id_of, token_of)
        if self.encoding:
            found = f"{self.encoding.name}, known by {self.known_by}"
            return Ending(known[self.encoding.end], self.encoding.end, found)
        return Ending(highest + 1, END, "the id after the last rank: no published encoding")

    def encode_batch(self, texts: Sequence[str]) -> list[Sequence[int]]:
        return [self.codec.encode_ordinary(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.codec.decode([int(id) for id in ids]))

    def piece(self, id: int) -> str:
        try:
            return str(self.codec.decode_single_token_bytes(id), "utf-8", "backslashreplace")
        except KeyError:  # between the ranks and the special tokens
            return f"<{id}>"


def _tokenizers(config: dict[str, Any], file: Path) -> Any:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread per task: the engine places the tasks
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_str(orjson.dumps(config).decode())
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"`{file}` is not a tokenizer.json: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
