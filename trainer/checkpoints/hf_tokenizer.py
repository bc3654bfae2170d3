"""Write the tokenizer files transformers reads, so that a text gives the ids training gave it.

A sentencepiece BPE model and a rank file become the same tokenizer in its format. Training put EOS before
each document and read no special token out of a text, so the files do the same: EOS comes first, `</s>` in a
text is text.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from gristmill.files.disk import read_file
from gristmill.files.inside import read_object
from gristmill.files.stores import write_text
from gristmill.literals import USER_DEFINED, closed_model, is_text, pieces_of
from gristmill.tokenizer_files import Reading, kind_of
from gristmill.trainer.evaluation.tokenizer import read_ranks

SPACE = "▁"  # how sentencepiece writes a space


def write_tokenizer(source: Path, out: Path, eos_id: int, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`; a model that cannot be converted exactly is only
    copied."""
    from tokenizers import processors

    reading = Reading.beside(source)
    made = {"huggingface": _from_json, "sentencepiece": _from_sentencepiece, "tiktoken": _from_ranks}
    tokenizer: Any = made[kind_of(source)](source, reading, eos_id)
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
    write_text(out / "tokenizer_config.json", json.dumps(values, indent=2))


def _from_json(path: Path, reading: Reading, eos_id: int) -> Any:
    """The same file, with every added token that is no text marked special: those are split in a text."""
    from tokenizers import Tokenizer

    config = read_object(path)
    for token in config.get("added_tokens") or ():
        if not is_text(token, reading.text_tokens):
            token |= {"special": True, "normalized": False}
    return Tokenizer.from_str(json.dumps(config))


def _from_ranks(path: Path, reading: Reading, eos_id: int) -> Any:
    """Byte-level BPE whose merges are the ranks: a word that has a rank is one token, as tiktoken has it."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    ranks = read_ranks(path, reading)
    letters = _letters()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [
        (rank, ranks[token[:at]], ranks[token[at:]], token[:at], token[at:])
        for token, rank in ranks.items()
        for at in range(1, len(token))
        if token[:at] in ranks and token[at:] in ranks
    ]
    bpe = models.BPE(
        vocab={spelled[token]: rank for token, rank in ranks.items()},
        merges=[(spelled[left], spelled[right]) for *_, left, right in sorted(merges)],
        ignore_merges=True,
    )
    tokenizer: Any = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(reading.pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Special tokens are numbered in a row: ids that nothing has are filled up before each.
    at = 1 + max(ranks.values())
    for token, id in sorted(reading.special.items(), key=lambda item: item[1]):
        unused = [f"<|unused_{number}|>" for number in range(at, id)]
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name in (*unused, token)])
        at = id + 1
    if any(tokenizer.token_to_id(token) != id for token, id in reading.special.items()):
        return None  # a special token lies among the ranks
    return tokenizer


def _letters() -> list[str]:
    """The letters that stand for bytes in byte-level BPE (GPT-2's bytes_to_unicode)."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(0x100)
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def _from_sentencepiece(path: Path, reading: Reading, eos_id: int) -> Any:
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    whole_model = read_file(path)
    data = closed_model(whole_model, reading.text_tokens, pieces_of(whole_model)[eos_id][0])
    model: Any = sentencepiece.SentencePieceProcessor(model_proto=data)
    ids = range(model.get_piece_size())
    pieces = [model.id_to_piece(i) for i in ids]
    scores = [model.get_score(i) for i in ids]
    as_is = model.normalize(" a  b ") == f"{SPACE}a{SPACE}{SPACE}b{SPACE}"
    if not as_is or any(
        score != round(score) for score in scores
    ):  # BPE scores are ranks; a unigram model's are not
        return None
    whole = [piece for piece, kind in pieces_of(data) if kind == USER_DEFINED]
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
