"""Published tiktoken encodings: what their rank files do not carry.

A rank file holds byte strings and ranks. Split pattern, special tokens and size of the vocabulary stand in
the code that defines an encoding: OpenAI's in tiktoken_ext/openai_public.py (tiktoken 0.14), Llama 3's in
meta-llama/llama3 llama/tokenizer.py, Qwen's in Qwen/Qwen-7B tokenization_qwen.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

END = "<|endoftext|>"
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CL100K_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"""
    r"""|\s*[\r\n]|\s+(?!\S)|\s"""
)
LLAMA3_PATTERN = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
    r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
QWEN_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
O200K_PATTERN = "|".join(
    (
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""\p{N}{1,3}""",
        r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
        r"""\s*[\r\n]+""",
        r"""\s+(?!\S)""",
        r"""\s+""",
    )
)

PATTERNS: Mapping[str, str] = {
    "gpt2": GPT2_PATTERN,
    "cl100k": CL100K_PATTERN,
    "llama3": LLAMA3_PATTERN,
    "qwen": QWEN_PATTERN,
    "o200k": O200K_PATTERN,
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """One published encoding: digest of its rank file, number of ranks, and what its code adds.

    `scheme` is the split pattern's name in gigatoken.
    """

    name: str
    sha256: str
    num_ranks: int
    vocab_size: int
    end: str
    special: Mapping[str, int]
    pattern: str
    scheme: str


ENCODINGS: Mapping[str, Encoding] = {
    encoding.name: encoding
    for encoding in (
        Encoding(
            "r50k_base",
            "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
            50_256,
            50_257,
            END,
            {END: 50_256},
            GPT2_PATTERN,
            "gpt2",
        ),
        Encoding(
            "p50k_base",
            "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
            50_280,
            50_281,
            END,
            {END: 50_256},
            GPT2_PATTERN,
            "gpt2",
        ),
        Encoding(
            "cl100k_base",
            "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
            100_256,
            100_277,
            END,
            {
                END: 100_257,
                "<|fim_prefix|>": 100_258,
                "<|fim_middle|>": 100_259,
                "<|fim_suffix|>": 100_260,
                "<|endofprompt|>": 100_276,
            },
            CL100K_PATTERN,
            "gpt4",
        ),
        Encoding(
            "o200k_base",
            "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
            199_998,
            200_019,
            END,
            {END: 199_999, "<|endofprompt|>": 200_018},
            O200K_PATTERN,
            "o200k",
        ),
        Encoding(
            "llama3",
            "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
            128_000,
            128_256,
            "<|end_of_text|>",
            {
                "<|begin_of_text|>": 128_000,
                "<|end_of_text|>": 128_001,
                "<|start_header_id|>": 128_006,
                "<|end_header_id|>": 128_007,
                "<|eot_id|>": 128_009,
            },
            LLAMA3_PATTERN,
            "gpt4",
        ),
        Encoding(
            "qwen",
            "",
            151_643,
            151_851,
            END,
            {END: 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645},
            QWEN_PATTERN,
            "qwen2",
        ),
    )
}
# Other names that files of an encoding go by.
_ALIASES = {"gpt2": "r50k_base", "o200k_harmony": "o200k_base", "llama-3": "llama3", "llama_3": "llama3"}


def find_encoding(file: Path, sha256: str, num_ranks: int, highest: int) -> tuple[Encoding, str] | None:
    """The published encoding of a rank file, and by what it was known: digest, name, or number of ranks.

    A name does not count where the file's ranks reach into the encoding's special tokens.
    """
    for encoding in ENCODINGS.values():
        if encoding.sha256 == sha256:
            return encoding, "its digest"
    stem = file.stem.lower()
    for name in (*ENCODINGS, *_ALIASES):
        encoding = ENCODINGS[_ALIASES.get(name, name)]
        if stem.startswith(name) and (highest < encoding.special[encoding.end] or name == "p50k_base"):
            return encoding, "its name"
    for encoding in ENCODINGS.values():
        if encoding.num_ranks == num_ranks and highest < encoding.vocab_size:
            return encoding, f"its {num_ranks:,} ranks"
    return None
