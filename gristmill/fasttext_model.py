"""fastText models: opened quietly, asked line by line, and never obeyed where a text spells a control token.

fastText ends a line at the token `</s>` and takes every token that begins with `__label__` for a label, so a
page could cut off what is read of it, or teach a label of its own. `one_line` respells both.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

# What fastText's own reader takes for white space, besides the line end.
SEPARATORS = " \t\v\f\r\0"
_BEFORE = rf"(?:^|(?<=[{re.escape(SEPARATORS)}\n]))"
_END = re.compile(rf"{_BEFORE}</s>(?=[{re.escape(SEPARATORS)}\n]|$)")
_LABEL = re.compile(rf"{_BEFORE}__label__")


def open_model(path: str) -> Any:
    """Open a classifier; raises FileNotFoundError, or ValueError for a file that is none, or not whole. The
    last few stay open in this process, for as long as their files are as they were."""
    if not Path(path).is_file():
        raise FileNotFoundError(path)
    found = Path(path).stat()
    return _open(path, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=4)
def _open(path: str, size: int, mtime_ns: int, inode: int) -> Any:
    import fasttext

    from gristmill.fasttext_file import check_fasttext  # compiled kernels, which few need

    check_fasttext(Path(path))
    fasttext.FastText.eprint = lambda *_: None  # load_model prints a note on stderr
    return fasttext.load_model(path)


def one_line(text: str) -> str:
    """A text as one line of fastText's input: line breaks become blanks, control tokens are respelled."""
    if "</s>" in text:
        text = _END.sub("< /s>", text)
    if "__label__" in text:
        text = _LABEL.sub("__label ", text)
    return text.replace("\n", " ")


def label_probabilities(model: Any, line: str, k: int = -1) -> list[tuple[float, str]]:
    """Return (probability, label) of the k best labels, of all where k is -1; float32's 1.00001 is 1.

    Below the package's own wrapper: given a list and k > 1, that repeats the first label's probability for
    all labels, and some builds fail on plain strings under NumPy 2.
    """
    found = model.f.predict(line + "\n", k, 0.0, "replace")
    return [(min(max(float(score), 0.0), 1.0), label) for score, label in found]
