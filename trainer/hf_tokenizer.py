"""Write the tokenizer files transformers reads, so that a text gives the ids training gave it.

A sentencepiece BPE model becomes the same tokenizer in its format. Training put EOS before each document and
read no special token out of a text, so the files do the same: EOS comes first, `</s>` in a text is text.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gristmill.trainer.checkpoint import write_atomic

SPACE = "▁"  # how sentencepiece writes a space
USER_DEFINED = 4  # of sentencepiece_model.proto: read out of texts as a whole, also by training


def write_tokenizer(source: Path, out: Path, eos_id: int, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`; a model that cannot be converted exactly is only
    copied."""
    from tokenizers import Tokenizer, processors

    tokenizer: Any = (
        Tokenizer.from_file(str(source)) if source.suffix == ".json" else _from_sentencepiece(source)
    )
    if tokenizer is None:
        return
    tokenizer.no_truncation()
    tokenizer.no_padding()
    eos = tokenizer.id_to_token(eos_id)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["#", "$A"],
        pair=["#", "$A", "#", "$B"],
        special_tokens=[{"id": "#", "ids": [eos_id], "tokens": [eos]}],
    )
    tokenizer.save(str(out / "tokenizer.json"))
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": eos, "eos_token": eos, "pad_token": eos,
        "model_max_length": context, "clean_up_tokenization_spaces": False, "split_special_tokens": True,
    }  # fmt: skip
    write_atomic(out / "tokenizer_config.json", json.dumps(values, indent=2))


def _from_sentencepiece(path: Path) -> Any:
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    model: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = range(model.get_piece_size())
    pieces = [model.id_to_piece(i) for i in ids]
    scores = [model.get_score(i) for i in ids]
    as_is = model.normalize(" a  b ") == f"{SPACE}a{SPACE}{SPACE}b{SPACE}"
    if not as_is or any(
        score != round(score) for score in scores
    ):  # BPE scores are ranks; a unigram model's are not
        return None
    whole = [pieces[i] for i, kind in enumerate(_piece_types(path.read_bytes())) if kind == USER_DEFINED]
    merged = [
        i
        for i in ids
        if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i) or model.is_unused(i))
        and pieces[i] not in whole
    ]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    mergeable = {pieces[i] for i in merged}
    merges = [
        (pieces[i][:at], pieces[i][at:])
        for i in sorted(merged, key=lambda i: -scores[i])
        for at in range(1, len(pieces[i]))
        if pieces[i][:at] in mergeable and pieces[i][at:] in mergeable
    ]
    has_bytes = any(model.is_byte(i) for i in ids)
    unknown = pieces[model.unk_id()]
    bpe = models.BPE(vocab=vocab, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=has_bytes)
    tokenizer: Any = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    # Control pieces are not told to the tokenizer: it would read them out of texts.
    longer = [piece for piece in whole if len(piece) > 1]
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in longer])
    return tokenizer


def _piece_types(model: bytes) -> Iterator[int]:
    """Yield the type of each piece of a sentencepiece model, which its Python interface does not tell."""
    for field, piece in _fields(model):
        if field == 1:
            yield next((value for number, value in _fields(piece) if number == 3), 1)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of a protobuf message's fields: bytes, or an integer."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            size = varint()
            yield key >> 3, message[at : at + size]
            at += size
        else:
            size = {1: 8, 5: 4}[key & 7]
            yield key >> 3, struct.unpack_from("<Q" if size == 8 else "<I", message, at)[0]
            at += size
