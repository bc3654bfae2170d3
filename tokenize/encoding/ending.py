"""Which token ends a document, and how that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import InputError
from gristmill.files.inside import read_object

EOS_NAMES = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]")
# Files that lie beside a tokenizer.json and name its end token, in the order in which they count.
CONFIGURATION = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end token's id and spelling, and where it was found."""

    id: int
    token: str
    found: str


def asked_for(
    eos: int | str, file: Path, id_of: Callable[[str], int | None], token_of: Callable[[int], str | None]
) -> Ending:
    """The end token that `tokenizer.eos` names, by id or by spelling."""
    if isinstance(eos, str) and id_of(eos) is None and eos.isdecimal():
        eos = int(eos)
    if isinstance(eos, int):
        token = token_of(eos)
        if token is None:
            raise no_end(file, f"the id {eos}, which it does not have")
        return Ending(eos, token, "tokenizer.eos")
    id_ = id_of(eos)
    if id_ is None:
        raise no_end(file, f"`{eos}`")
    return Ending(id_, eos, "tokenizer.eos")


def from_configuration(file: Path, special: Mapping[str, int], words: Mapping[str, int]) -> Ending:
    """The end token of a tokenizer.json: as its configuration files say, else the one usual name it has.

    Raises InputError where it has none, and where it has several and nothing says which.
    """
    by_id = {id: token for token, id in (*words.items(), *special.items())}
    for name, value in _configured(file):
        if isinstance(value, int) and value in by_id:
            return Ending(value, by_id[value], name)
        if isinstance(value, str) and value in {*special, *words}:
            return Ending(special.get(value, words.get(value, -1)), value, name)
    found = [name for name in EOS_NAMES if name in special] or [name for name in EOS_NAMES if name in words]
    if not found:
        raise no_end(file, f"any of {', '.join(EOS_NAMES)}")
    if len(found) > 1:
        raise InputError(
            f"the tokenizer has {len(found)} tokens that may end a document: {' and '.join(found)}",
            where=str(file),
            hint=f"say which with `tokenizer.eos`, or put its {CONFIGURATION[0]} beside it",
        )
    return Ending({**words, **special}[found[0]], found[0], "its usual name")


def _configured(file: Path) -> Iterator[tuple[str, Any]]:
    for name in CONFIGURATION:
        path = file.with_name(name)
        if not path.is_file():
            continue
        values = read_object(path)
        for key in ("eos_token", "eos_token_id"):
            value = values.get(key)
            value = value.get("content") if isinstance(value, dict) else value
            value = value[0] if isinstance(value, list) and value else value
            if value is not None:
                yield name, value


def no_end(file: Path, wanted: str) -> InputError:
    return InputError(
        f"the tokenizer has no token that ends a document: {wanted}",
        where=str(file),
        hint="name it with `tokenizer.eos`, a token or an id",
    )
