"""Tokenizer files without the tokens that text must never become.

A file's added tokens and user-defined symbols are found in text by their spelling, whether it marks them
special or not. Here they are taken out of reach: what is encoded is text. White space stays (runs of blanks,
line breaks), and what `tokenizer.text_tokens` lists.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

# sentencepiece_model.proto: ModelProto.pieces = 1; SentencePiece.piece = 1, .type = 3.
_PIECES, _PIECE, _TYPE = 1, 1, 3
_OPEN_MODELS = 4  # read once by a process: a run opens its tokenizer in every step
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def is_white_space(content: str) -> bool:
    """Whether a token is made of blanks and line breaks only; U+2581 is how SentencePiece writes a blank."""
    return not content.replace("\u2581", " ").strip()


def is_text(token: Mapping[str, Any], text_tokens: Collection[str]) -> bool:
    """Whether an added token of a tokenizer.json may be found in text."""
    content = token["content"]
    return content in text_tokens or (is_white_space(content) and not token.get("special"))


def unspellable(content: str) -> str:
    """A name that stands for a token in place of its spelling, and that no text holds by accident."""
    return "\U0010ffff" + hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def closed_json(config: Mapping[str, Any], text_tokens: Collection[str]) -> dict[str, Any]:
    """A tokenizer.json whose added tokens no text spells; ids stay.

    The model's own vocabulary may hold them as well: a Unigram model takes `</s>` from there, a WordLevel
    model any word. Post-processing is left out: it adds tokens around a text.
    """
    closed: dict[str, Any] = {**config, "post_processor": None, "truncation": None, "padding": None}
    names = {}
    closed["added_tokens"] = []
    for token in config.get("added_tokens") or ():
        content = token["content"]
        if is_text(token, text_tokens):
            token = {**token, "special": False}
        else:
            names[content] = unspellable(content)
            token = {**token, "content": names[content], "special": True, "normalized": False}
        closed["added_tokens"].append(token)
    model = dict(config["model"])
    merged = {part for merge in model.get("merges") or () for part in _merge_pieces(merge)}
    renamed = {content: name for content, name in names.items() if content not in merged}
    if isinstance(model.get("vocab"), dict):
        model["vocab"] = {renamed.get(piece, piece): id for piece, id in model["vocab"].items()}
    elif model.get("vocab"):  # Unigram: pairs of piece and score, by id
        model["vocab"] = [[renamed.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token") in renamed:
        model["unk_token"] = renamed[model["unk_token"]]
    closed["model"] = model
    return closed


def without_literals(closed: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a reader that looks for every added token: those that no text spells are left out."""
    reduced = copy.copy(dict(closed))
    reduced["added_tokens"] = [
        token for token in closed["added_tokens"] if not token["content"].startswith("\U0010ffff")
    ]
    return reduced


def _merge_pieces(merge: Any) -> tuple[str, str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right, left + right


@lru_cache(maxsize=_OPEN_MODELS)
def closed_model(data: bytes, text_tokens: tuple[str, ...], eos: str | None) -> bytes:
    """A SentencePiece model whose user-defined symbols and end token no text spells: control symbols."""
    out = bytearray()
    for field, value, raw in _fields(data):
        if field == _PIECES and isinstance(value, bytes):
            piece, kind = piece_of(value)
            spelled = kind == USER_DEFINED and not is_white_space(piece) and piece not in text_tokens
            if spelled or (eos is not None and piece == eos and kind in (NORMAL, USER_DEFINED)):
                raw = _piece_with(value, CONTROL)
        out += raw
    return bytes(out)


def renamed_pieces(data: bytes, old: str, new: str) -> bytes:
    """A SentencePiece model with a string replaced in all its pieces."""
    out, name = bytearray(), old.encode()
    for field, value, raw in _fields(data):
        if field == _PIECES and isinstance(value, bytes) and name in value:
            body = bytearray()
            for inner, content, own in _fields(value):
                if inner == _PIECE and isinstance(content, bytes):
                    content = content.replace(name, new.encode())
                    own = bytes([_PIECE << 3 | 2]) + _varint_bytes(len(content)) + content
                body += own
            raw = bytes([_PIECES << 3 | 2]) + _varint_bytes(len(body)) + bytes(body)
        out += raw
    return bytes(out)


@lru_cache(maxsize=_OPEN_MODELS)
def pieces_of(data: bytes) -> tuple[tuple[str, int], ...]:
    """The pieces of a SentencePiece model and their types, by id."""
    return tuple(
        piece_of(value) for field, value, _ in _fields(data) if field == _PIECES and isinstance(value, bytes)
    )


def piece_of(message: bytes) -> tuple[str, int]:
    piece, kind = "", NORMAL
    for field, value, _ in _fields(message):
        if field == _PIECE and isinstance(value, bytes):
            piece = value.decode("utf-8", "replace")
        elif field == _TYPE and isinstance(value, int):
            kind = value
    return piece, kind


def _piece_with(message: bytes, kind: int) -> bytes:
    kept = b"".join(raw for field, _, raw in _fields(message) if field != _TYPE)
    body = kept + bytes([_TYPE << 3, kind])
    return bytes([_PIECES << 3 | 2]) + _varint_bytes(len(body)) + body


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes, bytes]]:
    """Yield each field of a protobuf message: its number, its value, and its own bytes.

    Raises ValueError for what is no such message.
    """
    at = 0
    while at < len(data):
        begin = at
        key, at = _varint(data, at)
        value: int | bytes
        if key & 7 == 0:
            value, at = _varint(data, at)
        else:
            if key & 7 == 2:
                length, at = _varint(data, at)
            elif key & 7 in (1, 5):
                length = 8 if key & 7 == 1 else 4
            else:
                raise ValueError(f"no protobuf message: wire type {key & 7} at byte {begin}")
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise ValueError("the protobuf message ends within a field")
        yield key >> 3, value, data[begin:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the protobuf message ends within a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
