"""How much of a text is no text: what is left of bytes that were read in the wrong charset, or were none."""

from __future__ import annotations

import re

# U+FFFD, and controls but for tab, line feed, form feed, carriage return: C1 are bytes 80 to 9F of another
# charset.
_BROKEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd]")
_CONTROLS = bytes([*range(9), 11, *range(14, 32), 127])
_FEW = 100


def broken_fraction(text: str, data: bytes) -> float:
    """Return the share of a text's characters that are replacement characters or controls; `data` is its
    UTF-8.

    Texts in which they can be no more than one in a hundred are not searched.
    """
    if not text:
        return 0.0
    controls = len(data) - len(data.translate(None, _CONTROLS))
    if (data.count(b"\xef\xbf\xbd") + data.count(b"\xc2") + controls) * _FEW < len(text):
        return 0.0
    return len(_BROKEN.findall(text)) / len(text)
