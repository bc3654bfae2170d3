"""The language of a text or of a page: Compact Language Detector 2, resiliparse's detector where it is not
installed."""

from __future__ import annotations

import re
from typing import Any

from gristmill.text.languages import language_code

_SAMPLE_CHARS = 512
# 2 Ki characters from all over a long text: of all of it the detector would take as long as a fast extractor
_NUM_SAMPLES = 4
# What the detector refuses: controls, DEL and non-characters (surrogates cannot occur in valid text).
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff\U0002fffe-\U0010ffff]"
)

try:
    import pycld2
except ImportError:  # no wheel for this platform
    pycld2 = None


def detect(text: str) -> tuple[str | None, float | None]:
    """Return the main language (ISO 639-1 where there is one) and its share of the text; (None, None) where
    none is recognised."""
    return _detect(_sample(text), is_plain=True)


def detect_html(html: str) -> tuple[str | None, float | None]:
    """Return the main language of a page's markup and all, which is what can be known before extraction."""
    return _detect(html, is_plain=False)


def _detect(text: str, is_plain: bool) -> tuple[str | None, float | None]:
    if pycld2 is None:
        return _fallback(text)
    try:
        return _best(pycld2.detect(text, isPlainText=is_plain))
    except (pycld2.error, ValueError):
        pass  # it refuses the whole text for one such character
    try:
        return _best(pycld2.detect(_REFUSED.sub(" ", text), isPlainText=is_plain))
    except (pycld2.error, ValueError):
        return None, None


def _best(found: Any) -> tuple[str | None, float | None]:
    _, code, percent, _ = found[2][0]
    one = language_code(code)
    return (one, percent / 100) if one else (None, None)


def _fallback(text: str) -> tuple[str | None, float | None]:
    """resiliparse returns a rank (0 is certain, 1,200 a guess) instead of a share."""
    from resiliparse.parse.lang import detect_fast

    code, rank = detect_fast(text)
    one = language_code(code)
    return (one, max(0.0, 1.0 - rank / 1200)) if one else (None, None)


def _sample(text: str) -> str:
    """Return a short text whole, of a long one equal pieces from its start, its end and between."""
    if len(text) <= _NUM_SAMPLES * _SAMPLE_CHARS:
        return text
    step = (len(text) - _SAMPLE_CHARS) // (_NUM_SAMPLES - 1)
    return "\n".join(text[number * step : number * step + _SAMPLE_CHARS] for number in range(_NUM_SAMPLES))
