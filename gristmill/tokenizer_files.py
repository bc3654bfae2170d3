"""Tokenizer files: which library reads one, and how a text is read with it besides what its bytes say.

Needs the standard library only, so that a trainer reads them on a machine that has nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gristmill.errors import InputError
from gristmill.files.disk import read_file

Kind = Literal["sentencepiece", "huggingface", "tiktoken"]
# The name under which a tokenizer lies beside shards, by kind.
FILE_NAMES: Mapping[str, str] = {
    "sentencepiece": "tokenizer.model",
    "huggingface": "tokenizer.json",
    "tiktoken": "tokenizer.tiktoken",
}
READING = "tokenizer_reading.json"  # beside a run's copy of the tokenizer; in shards the manifest holds it
_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n?")


def kind_of(file: Path) -> Kind:
    """What a tokenizer file is, by its content: Llama 3's rank file is called `tokenizer.model`."""
    if not file.is_file():
        raise InputError(f"there is no tokenizer at `{file}`")
    with file.open("rb") as opened:
        head = opened.read(4096)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "huggingface"
    if _RANK_LINE.fullmatch(head.splitlines(keepends=True)[0] if head else b""):
        return "tiktoken"
    return "sentencepiece"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file does not say of how texts were encoded with it.

    `text_tokens` are added tokens that text may spell. A rank file holds neither `pattern`, the regular
    expression that splits a text, nor `special`, the tokens beside its ranks.
    """

    text_tokens: tuple[str, ...] = ()
    pattern: str = ""
    special: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What is said here, without what is left at its default."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reading:
        return cls(
            tuple(values.get("text_tokens", ())), values.get("pattern", ""), dict(values.get("special", {}))
        )

    @classmethod
    def beside(cls, file: Path) -> Reading:
        """The reading that lies beside a copy of a tokenizer; the default one if none does.

        Raises InputError for one that is damaged.
        """
        path = file.with_name(READING)
        if not path.is_file():
            return cls()
        try:
            return cls.from_json(json.loads(read_file(path).decode()))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"it does not say how the tokenizer is read: {error}", where=str(path),
                hint="copy it again from beside the tokenizer",
            ) from error  # fmt: skip
