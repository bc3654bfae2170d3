"""A SentencePiece model of BPE as the tokenizer.json by which gigatoken encodes.

A model holds pieces with scores and no merges: every division of a piece into two others is one, ranked by
the score of what it makes, as transformers' `generate_merges` recovers them. gigatoken converts models alike;
here merges into, or of, pieces that SentencePiece never merges (control, unknown, unused, bytes) are left out
from the start, and the file is read once.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import orjson

from gristmill.literals import NORMAL, USER_DEFINED, fields_of, model_of

# sentencepiece_model.proto: ModelProto, TrainerSpec, NormalizerSpec.
_TRAINER, _NORMALIZER = 2, 3
_MODEL_TYPE, _BLANK_AS_SUFFIX, _BYTE_FALLBACK, _UNKNOWN_PIECE = 3, 24, 35, 45
_CHARSMAP, _DUMMY_PREFIX, _EXTRA_BLANKS, _ESCAPE_BLANKS = 2, 3, 4, 5
_UNIGRAM, _BPE = 1, 2
_META = "\u2581"

Piece = tuple[str, int, bytes]  # with its type and its score


def model_json(data: bytes) -> bytes:
    """The tokenizer.json of a model; raises ValueError, saying why, for one that gigatoken has no like of."""
    pieces, others = model_of(data)
    trainer, normalizer = (_message(others, number) for number in (_TRAINER, _NORMALIZER))
    if not pieces:
        raise ValueError("the model has no pieces")
    if trainer.get(_MODEL_TYPE, _UNIGRAM) != _BPE:
        raise ValueError("the model is no BPE model")
    if not trainer.get(_BYTE_FALLBACK, 0):
        raise ValueError("the model has no byte fallback")
    if not normalizer.get(_ESCAPE_BLANKS, 1):
        raise ValueError("the model does not write blanks as U+2581")
    if trainer.get(_BLANK_AS_SUFFIX, 0):
        raise ValueError("the model takes a blank with the word before it")
    unknown = trainer.get(_UNKNOWN_PIECE, b"<unk>")
    assert isinstance(unknown, bytes)
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown.decode(),
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": {piece: id for id, (piece, *_) in enumerate(pieces)},
        "merges": _merges(pieces),
    }
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(id, piece) for id, (piece, kind, _) in enumerate(pieces) if kind == USER_DEFINED
        ],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(normalizer)},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    return orjson.dumps(whole)


def _message(fields: dict[int, int | bytes], number: int) -> dict[int, int | bytes]:
    body = fields.get(number, b"")
    return fields_of(body) if isinstance(body, bytes) else {}


def _normalizers(fields: dict[int, int | bytes]) -> list[dict[str, Any]]:
    """What a model does to a text before it looks for pieces, in order."""
    found: list[dict[str, Any]] = []
    charsmap = fields.get(_CHARSMAP, b"")
    if charsmap and isinstance(charsmap, bytes):
        found.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()})
    if fields.get(_EXTRA_BLANKS, 1):
        found.append({"type": "Strip", "strip_left": True, "strip_right": True})
        found.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if fields.get(_DUMMY_PREFIX, 1):
        found.append({"type": "Prepend", "prepend": _META})
    return [*found, {"type": "Replace", "pattern": {"String": " "}, "content": _META}]


def _added(id_: int, content: str) -> dict[str, Any]:
    """A user-defined symbol, which is found in text before anything is merged."""
    no = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id_, "content": content, **no}


def _merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Every division of a piece into two, by score of the piece, then by the length of what stands left."""
    apart = {piece for piece, kind, _ in pieces if kind not in (NORMAL, USER_DEFINED)}
    merged = {piece for piece, *_ in pieces} - apart
    ranked: list[tuple[float, int, int, str, str]] = []
    for piece, score in dict(zip(map(itemgetter(0), pieces), _scores(pieces), strict=True)).items():
        if piece in apart:
            continue
        for cut in range(len(piece) - 1, 0, -1):  # a model's pieces lie by score: this is all but sorted
            left = piece[:cut]
            if left in merged:
                right = piece[cut:]
                if right in merged:
                    ranked.append((score, cut, len(right), left, right))
    ranked.sort(key=itemgetter(0, 1, 2), reverse=True)
    return [(left, right) for *_, left, right in ranked]


def _scores(pieces: Sequence[Piece]) -> tuple[float, ...]:
    return struct.unpack(f"<{len(pieces)}f", b"".join(score for *_, score in pieces))
