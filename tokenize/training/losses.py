"""What a tokenizer loses of a text: decode(encode(text)) beside the text, by kind of loss."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from gristmill.tokenize.encoding.tokenizers import Tokenizer

META = "\u2581"
KINDS = ("line breaks", "blanks", "U+2581", "unknown", "normaliser", "other")
_BREAKS = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile(r"\s+")


def losses(tokenizer: Tokenizer, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> Counter[str]:
    """Count texts that do not come back exactly, as `lossy`, and by each kind of loss that a text shows."""
    counts: Counter[str] = Counter({"checked": len(texts)})
    for text, own in zip(texts, ids, strict=True):
        back = tokenizer.decode(own)
        if back != text:
            counts["lossy"] += 1
            counts.update(kinds(text, back, unknown=tokenizer.unknown_id in own))
    return counts


def kinds(text: str, back: str, *, unknown: bool) -> list[str]:
    """How a text differs from what was decoded; each kind is looked for once the ones before are undone."""
    found = []
    if len(_BREAKS.findall(back)) != len(_BREAKS.findall(text)):
        found.append("line breaks")
        text, back = (" ".join(_BREAKS.sub(" ", own).split()) for own in (text, back))
    if META in text and META not in back:
        found.append("U+2581")
        text = text.replace(META, " ")
    if unknown:
        found.append("unknown")
        return found  # what stands in its place says nothing of the rest
    if _SPACES.findall(text) != _SPACES.findall(back):
        found.append("blanks")
    bare, bare_back = _SPACES.sub("", text), _SPACES.sub("", back)
    if bare != bare_back:
        same = (
            unicodedata.normalize("NFKC", bare).casefold()
            == unicodedata.normalize("NFKC", bare_back).casefold()
        )
        found.append("normaliser" if same else "other")
    return found or ["other"]
