"""Tokenizer files without the tokens that text must never become.

A file's added tokens and user-defined symbols are found in text by their spelling, whether it marks them
special or not. Here they are taken out of reach: what is encoded is text. White space stays (runs of blanks,
line breaks), and what `tokenizer.text_tokens` lists.
"""

from __future__ import annotations

import copy
import hashlib
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

# sentencepiece_model.proto: ModelProto.pieces = 1, .trainer_spec = 2; SentencePiece.piece = 1, .score = 2,
# .type = 3; TrainerSpec.vocab_size = 4.
_PIECES, _TRAINER, _PIECE, _SCORE, _TYPE, _VOCAB_SIZE = 1, 2, 1, 2, 3, 4
_PIECE_KEY, _SCORE_KEY = 1 << 3 | 2, bytes([_SCORE << 3 | 5])  # as they stand before a field's value
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

    def is_open(piece: str, kind: int) -> bool:
        spelled = kind == USER_DEFINED and not is_white_space(piece) and piece not in text_tokens
        return spelled or (eos is not None and piece == eos and kind in (NORMAL, USER_DEFINED))

    if not any(is_open(piece, kind) for piece, kind in pieces_of(data)):
        return data
    out = bytearray()
    for field, value, raw in _fields(data):
        if field == _PIECES and isinstance(value, bytes) and is_open(*piece_of(value)):
            raw = _piece_with(value, CONTROL)
        out += raw
    return bytes(out)


def with_pieces(data: bytes, num_last: int, pieces: Sequence[str]) -> bytes:
    """A SentencePiece model whose last pieces are replaced by these, in the order of their merges."""
    fields = list(_fields(data))
    own = [at for at, (field, value, _) in enumerate(fields) if field == _PIECES and isinstance(value, bytes)]
    dropped = set(own[-num_last:])
    out, size = bytearray(), len(own) - num_last + len(pieces)
    for at, (field, value, raw) in enumerate(fields):
        if at == own[-1]:
            out += b"".join(_new_pieces(pieces))
        if field == _TRAINER and isinstance(value, bytes):
            body = b"".join(own for inner, _, own in _fields(value) if inner != _VOCAB_SIZE)
            raw = _message(_TRAINER, body + bytes([_VOCAB_SIZE << 3]) + _varint_bytes(size))
        if at not in dropped:
            out += raw
    return bytes(out)


def _new_pieces(pieces: Sequence[str]) -> Iterator[bytes]:
    """Pieces as fields of a model, each with minus its place as its score."""
    scores = struct.pack(f"<{len(pieces)}f", *(-float(place) for place in range(len(pieces))))
    for at, piece in enumerate(pieces):
        body = piece.encode()
        tail = _SCORE_KEY + scores[4 * at : 4 * at + 4]
        if len(body) < 0x78:  # lengths of one byte each, as nearly all are
            yield bytes((_PIECE_KEY, len(body) + 7, _PIECE_KEY, len(body))) + body + tail
        else:
            yield _message(_PIECES, _message(_PIECE, body) + tail)


def _message(field: int, body: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint_bytes(len(body)) + body


@lru_cache(maxsize=_OPEN_MODELS)
def pieces_of(data: bytes) -> tuple[tuple[str, int], ...]:
    """The pieces of a SentencePiece model and their types, by id."""
    return tuple((piece, kind) for piece, kind, _ in model_of(data)[0])


@lru_cache(maxsize=_OPEN_MODELS)
def model_of(data: bytes) -> tuple[tuple[tuple[str, int, bytes], ...], dict[int, int | bytes]]:
    """The pieces of a SentencePiece model, each with its type and its score, a little-endian float32; and
    the model's other fields by number.

    Raises ValueError for what is no such model.
    """
    pieces, others = list[tuple[str, int, bytes]](), dict[int, int | bytes]()
    at = 0
    while at < len(data):
        if data[at] == _PIECE_KEY and (size := data[at + 1 : at + 2]) and size[0] < 0x80:
            at, value = at + 2 + size[0], data[at + 2 : at + 2 + size[0]]
            if at > len(data):
                raise ValueError("the protobuf message ends within a field")
            pieces.append(scored_piece(value))
            continue
        field, rest, raw = next(_fields(data, at))
        at += len(raw)
        if field == _PIECES and isinstance(rest, bytes):
            pieces.append(scored_piece(rest))
        else:
            others[field] = rest
    return tuple(pieces), others


def scored_piece(message: bytes) -> tuple[str, int, bytes]:
    """A piece of a model with its type and score; nearly all are written with their fields in one order."""
    stop = 2 + message[1] if len(message) > 1 and message[0] == _PIECE_KEY else len(message)
    tail = message[stop:]
    if message[1:2] < b"\x80" and tail[:1] == _SCORE_KEY:
        if len(tail) == 5:
            return message[2:stop].decode("utf-8", "replace"), NORMAL, tail[1:]
        if len(tail) == 7 and tail[5] == _TYPE << 3 and tail[6] < 0x80:
            return message[2:stop].decode("utf-8", "replace"), tail[6], tail[1:5]
    piece, kind, score = "", NORMAL, bytes(4)
    for field, value, _ in _fields(message):
        if field == _PIECE and isinstance(value, bytes):
            piece = value.decode("utf-8", "replace")
        elif field == _SCORE and isinstance(value, bytes):
            score = value
        elif field == _TYPE and isinstance(value, int):
            kind = value
    return piece, kind, score


def piece_of(message: bytes) -> tuple[str, int]:
    """A piece of a model and its type."""
    return scored_piece(message)[:2]


def _piece_with(message: bytes, kind: int) -> bytes:
    kept = b"".join(raw for field, _, raw in _fields(message) if field != _TYPE)
    body = kept + bytes([_TYPE << 3, kind])
    return bytes([_PIECES << 3 | 2]) + _varint_bytes(len(body)) + body


def fields_of(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message by number; of one given twice the last."""
    return {field: value for field, value, _ in _fields(data)}


def _fields(data: bytes, at: int = 0) -> Iterator[tuple[int, int | bytes, bytes]]:
    """Yield each field of a protobuf message: its number, its value, and its own bytes.

    Raises ValueError for what is no such message.
    """
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
