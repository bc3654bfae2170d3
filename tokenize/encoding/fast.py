"""gigatoken as the encoder, on the files from which the literals of special tokens were taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gristmill.literals import without_literals
from gristmill.tokenize.encoding import published
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.training.model_json import model_json

# gigatoken remembers how every word was split and never forgets: new words cost about ten bytes per byte of
# text. Once the process has grown by this much since the encoder was made, it is made anew (.1 to .3 s).
CACHE_BYTES = 256 << 20
_SCHEMES: Mapping[str, str] = {
    published.GPT2_PATTERN: "gpt2",
    published.CL100K_PATTERN: "gpt4",
    published.LLAMA3_PATTERN: "gpt4",
    published.QWEN_PATTERN: "qwen2",
    published.O200K_PATTERN: "o200k",
}
# Letters and digits that Unicode 17 added: gigatoken 0.10 and the libraries split around them each by another
# version of Unicode. All other code points were found alike, each between two letters.
_NEWER = (
    (0x088F, 0x088F),
    (0x0C5C, 0x0C5C),
    (0x0CDC, 0x0CDC),
    (0xA7CE, 0xA7CF),
    (0xA7D2, 0xA7D2),
    (0xA7D4, 0xA7D4),
    (0xA7F1, 0xA7F1),
    (0x10940, 0x10959),
    (0x10EC5, 0x10EC7),
    (0x11DB0, 0x11DDB),
    (0x16EA0, 0x16EB8),
    (0x16EBB, 0x16ED3),
    (0x16FF2, 0x16FF3),
    (0x187F8, 0x187FF),
    (0x18D09, 0x18D1E),
    (0x18D80, 0x18DF2),
    (0x1E6C0, 0x1E6DE),
    (0x1E6E0, 0x1E6E2),
    (0x1E6E4, 0x1E6E5),
    (0x1E6E7, 0x1E6ED),
    (0x1E6F0, 0x1E6F4),
    (0x1E6FE, 0x1E6FF),
    (0x2B73A, 0x2B73F),
    (0x2CEA2, 0x2CEAD),
    (0x323B0, 0x33479),
)
_HOLDS_NEWER = re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in _NEWER) + "]")
_MAY_HOLD_NEWER = re.compile(rb"\xe0[\xa2\xb1\xb3]|\xea\x9f|\xf0[\x90\x91\x96\x98\x9e\xab\xac\xb2\xb3]")


def holds_newer(text: bytes) -> bool:
    """Whether a text in UTF-8 has letters that the libraries may not know as such."""
    if text.isascii() or not _MAY_HOLD_NEWER.search(text):
        return False
    return _HOLDS_NEWER.search(text.decode()) is not None


class Fast:
    """An encoder by gigatoken; raises ValueError, saying why, for a tokenizer that it does not read."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        try:
            self._make = _maker(tokenizer)
            self._backend = self._make()
        except ImportError as error:
            raise ValueError(f"gigatoken is not installed: {error}") from error
        except BaseException as error:  # a panic of Rust code is no Exception
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise ValueError(f"gigatoken does not read it: {error}") from error
        self.num_renewed = 0
        self._base_bytes = resident_bytes()

    def encode(self, text: bytes) -> npt.NDArray[np.uint32]:
        """The ids of one text in UTF-8; raises whatever gigatoken raises, panics included."""
        ids: npt.NDArray[np.uint32] = self._backend.encode(text)
        return ids

    def renew(self) -> None:
        """Make the encoder anew, without what it remembered."""
        del self._backend
        self._backend = self._make()
        self.num_renewed += 1
        self._base_bytes = resident_bytes()

    def bound(self) -> None:
        """Renew the encoder when it has outgrown `CACHE_BYTES`."""
        if resident_bytes() - self._base_bytes > CACHE_BYTES:
            self.renew()


def is_panic(error: BaseException) -> bool:
    """Whether Rust code panicked under Python: pyo3's exception class is not importable."""
    return type(error).__name__ == "PanicException"


def resident_bytes() -> int:
    """The memory this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _maker(tokenizer: Tokenizer) -> Callable[[], Any]:
    from gigatoken.gigatoken_rs import BPETokenizer, load_hf_json

    if tokenizer.kind == "tiktoken":
        pattern = getattr(tokenizer, "pattern", "")
        if pattern not in _SCHEMES:
            raise ValueError("gigatoken has no such splitting pattern")
        return lambda: BPETokenizer.from_tiktoken(tokenizer.file, _SCHEMES[pattern], None)
    closed: Any = getattr(tokenizer, "closed", None)
    data = orjson.dumps(without_literals(closed)) if tokenizer.kind == "huggingface" else model_json(closed)
    return lambda: load_hf_json(data)
