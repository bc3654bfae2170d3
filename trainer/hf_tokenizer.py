"""Write the tokenizer files transformers reads: a sentencepiece BPE model becomes the same tokenizer in its
format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gristmill.trainer.checkpoint import write_atomic

SPACE = "▁"  # how sentencepiece writes a space


def write_tokenizer(source: Path, out: Path, eos_id: int, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`; a model that cannot be converted exactly is only
    copied."""
    import tokenizers

    tokenizer: Any = (
        tokenizers.Tokenizer.from_file(str(source))
        if source.suffix == ".json"
        else _from_sentencepiece(source)
    )
    if tokenizer is None:
        return
    tokenizer.save(str(out / "tokenizer.json"))
    eos = tokenizer.id_to_token(eos_id)
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": eos, "eos_token": eos, "pad_token": eos,
        "model_max_length": context, "clean_up_tokenization_spaces": False,
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
    merged = [
        i
        for i in ids
        if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i) or model.is_unused(i))
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
    special = [pieces[i] for i in ids if model.is_control(i) or model.is_unknown(i)]
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in special])
    return tokenizer
