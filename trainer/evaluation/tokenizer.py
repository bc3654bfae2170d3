"""The tokenizer that lies beside shards and checkpoints, loaded when text is asked for.

A text gives the ids that it had in training: no special token is read out of it, whatever its file says.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from gristmill.errors import InputError
from gristmill.files.disk import read_file
from gristmill.files.inside import read_object
from gristmill.files.stores import write_text
from gristmill.literals import CONTROL, closed_json, closed_model, is_text, pieces_of
from gristmill.tokenizer_files import FILE_NAMES, READING, Reading, kind_of

FILES = tuple(sorted(FILE_NAMES.values()))


class ShardTokenizer(Protocol):
    """Text to ids and back, without any special tokens; ids from `size` on have no text."""

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


class SentencePiece:
    def __init__(self, path: Path, reading: Reading, eos_id: int | None) -> None:
        import sentencepiece

        data = read_file(path)
        pieces = pieces_of(data)
        self.size = len(pieces)
        known = eos_id is not None and 0 <= eos_id < self.size
        closed = closed_model(data, reading.text_tokens, pieces[eos_id or 0][0] if known else None)
        self.special = {piece: id for id, (piece, kind) in enumerate(pieces_of(closed)) if kind == CONTROL}
        self.processor: Any = sentencepiece.SentencePieceProcessor(model_proto=closed)

    def encode(self, text: str) -> list[int]:
        return _without(self.special, text, self.processor.encode)

    def decode(self, ids: list[int]) -> str:
        return str(self.processor.decode(ids))


class HuggingFace:
    def __init__(self, path: Path, reading: Reading, eos_id: int | None) -> None:
        import tokenizers

        config = read_object(path)
        made = (json.dumps(part) for part in (closed_json(config, reading.text_tokens), config))
        self.closed, self.whole = (tokenizers.Tokenizer.from_str(part) for part in made)
        self.closed.no_truncation()
        self.closed.no_padding()
        self.closed.encode_special_tokens = True
        self.special = {
            token["content"]: int(token["id"])
            for token in config.get("added_tokens") or ()
            if not is_text(token, reading.text_tokens)
            and token["content"] != config["model"].get("unk_token")
        }
        end = None if eos_id is None else self.whole.id_to_token(eos_id)
        if end is not None and eos_id is not None:
            self.special[end] = eos_id
        if self.whole.decoder is None and "ByteLevel" in str(config.get("pre_tokenizer")):
            self.whole.decoder = tokenizers.decoders.ByteLevel()

    @property
    def size(self) -> int:
        return int(1 + max(self.whole.get_vocab(with_added_tokens=True).values()))

    def encode(self, text: str) -> list[int]:
        return _without(
            self.special, text, lambda part: self.closed.encode(part, add_special_tokens=False).ids
        )

    def decode(self, ids: list[int]) -> str:
        return str(self.whole.decode(ids, skip_special_tokens=False))


class Tiktoken:
    """A rank file: lines of base64 bytes and rank; what it does not hold is in its `Reading`."""

    def __init__(self, path: Path, reading: Reading, eos_id: int | None) -> None:
        try:
            import tiktoken
        except ImportError as error:
            raise InputError(
                "the tokenizer is a rank file, which the package tiktoken reads", where=str(path),
                hint="pip install tiktoken",
            ) from error  # fmt: skip
        self.special = dict(reading.special)
        self.ranks = read_ranks(path, reading)
        self.size = 1 + max(*self.ranks.values(), *self.special.values())
        self.codec: Any = tiktoken.Encoding(
            path.stem, pat_str=reading.pattern, mergeable_ranks=self.ranks, special_tokens=self.special
        )

    def encode(self, text: str) -> list[int]:
        return list(self.codec.encode_ordinary(text))

    def decode(self, ids: list[int]) -> str:
        known = (id for id in ids if id < self.size)  # between ranks and special tokens ids have no text
        return b"".join(self._bytes.get(id, b"") for id in known).decode("utf-8", "replace")

    @property
    def _bytes(self) -> Mapping[int, bytes]:
        spelled = {id: token.encode() for token, id in self.special.items()}
        return {rank: token for token, rank in self.ranks.items()} | spelled


def read_ranks(path: Path, reading: Reading) -> dict[bytes, int]:
    """Read a rank file; raises InputError if it is none, or if nothing says how it splits a text."""
    try:
        rows = (line.split() for line in read_file(path).splitlines() if line)
        ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    except ValueError as error:
        raise InputError(f"it is no rank file: {error}", where=str(path)) from error
    if not reading.pattern or not reading.special:
        raise InputError(
            "a rank file does not say how a text is split, nor its special tokens",
            where=str(path.with_name(READING)),
            hint=f'write {READING} beside it: {{"pattern": REGULAR EXPRESSION, "special": {{TOKEN: ID}}}}',
        )
    return ranks


def _without(special: Mapping[str, int], text: str, encode: Callable[[str], Iterable[int]]) -> list[int]:
    """Encode a text; where its pieces spell a special token, encode it cut after the first character of
    each."""
    found = list(encode(text))
    if not set(special.values()).intersection(found):
        return found
    literals = sorted(special, key=len, reverse=True)
    cuts = [match.start() + 1 for match in re.finditer("|".join(map(re.escape, literals)), text)]
    parts = (text[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(text)]))
    return [id for part in parts if part for id in encode(part)]


def check_text(text: str) -> str:
    """Return a text that can be encoded; raises ValueError for lone surrogates, which are no characters."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = text[error.start]
        raise ValueError(f"it holds a lone surrogate, {found!a}, at character {error.start}") from error
    return text


def find_tokenizer(folder: Path) -> Path | None:
    """Return the tokenizer file of a shard, run or checkpoint folder, if it has one."""
    places = (
        [folder, folder.parent, folder.parent.parent] if folder.parent.name == "checkpoints" else [folder]
    )
    return next((place / name for place in places for name in FILES if (place / name).is_file()), None)


def copy_tokenizer(file: Path, reading: Reading, folder: Path) -> Path:
    """Copy a tokenizer into a folder under its usual name, with how it is read; return the copy."""
    copy = folder / FILE_NAMES[kind_of(file)]
    shutil.copyfile(file, copy)
    if values := reading.as_json():
        write_text(folder / READING, json.dumps(values, indent=1))
    return copy


def load_tokenizer(folder: Path, eos_id: int | None = None) -> ShardTokenizer:
    """Load the tokenizer of a folder, with the id that ends its documents.

    Its absence is an error that says where it is looked for.
    """
    path = find_tokenizer(folder)
    if path is None:
        raise InputError(
            f"there is no tokenizer here: {' or '.join(FILES)}",
            where=str(folder),
            hint="copy the one that the shards were encoded with beside the checkpoints",
        )
    return open_tokenizer(path, eos_id)


def open_tokenizer(path: Path, eos_id: int | None = None) -> ShardTokenizer:
    """Load a tokenizer by its file, with the id that ends its documents."""
    opened: dict[str, Callable[[Path, Reading, int | None], ShardTokenizer]] = {
        "sentencepiece": SentencePiece,
        "huggingface": HuggingFace,
        "tiktoken": Tiktoken,
    }
    return opened[kind_of(path)](path, Reading.beside(path), eos_id)
