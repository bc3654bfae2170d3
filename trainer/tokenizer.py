"""The tokenizer that lies beside shards and checkpoints: sentencepiece or Hugging Face, loaded when text is
asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from gristmill.errors import InputError

FILES = ("tokenizer.json", "tokenizer.model")


class ShardTokenizer(Protocol):
    """Text to ids and back, without any special tokens; ids from `size` on have no text."""

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


class SentencePiece:
    def __init__(self, path: Path) -> None:
        import sentencepiece

        self.processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))

    @property
    def size(self) -> int:
        return int(self.processor.vocab_size())

    def encode(self, text: str) -> list[int]:
        return list(self.processor.encode(text))

    def decode(self, ids: list[int]) -> str:
        return str(self.processor.decode(ids))


class HuggingFace:
    def __init__(self, path: Path) -> None:
        import tokenizers

        self.tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # as the shards were encoded: in a text it is text

    @property
    def size(self) -> int:
        return int(1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values()))

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))


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


def load_tokenizer(folder: Path) -> ShardTokenizer:
    """Load the tokenizer of a folder; its absence is an error that says where it is looked for."""
    path = find_tokenizer(folder)
    if path is None:
        raise InputError(
            f"there is no tokenizer here: {' or '.join(FILES)}",
            where=str(folder),
            hint=(
                "copy the sentencepiece model or tokenizer.json the shards were encoded with beside the"
                " checkpoints"
            ),
        )
    return HuggingFace(path) if path.suffix == ".json" else SentencePiece(path)
