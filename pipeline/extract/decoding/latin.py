"""Which of the encodings of Latin letters a text is in: the one that spells a language.

They share most of their letters, and a page may have a few beyond ASCII alone, so that statistics of pairs
often cannot tell them apart. Languages can: no alphabet has both a Polish and a Czech letter, and no word a
sign in its middle.
"""

from __future__ import annotations

import re

from gristmill.pipeline.extract.decoding.encoding_standard import decode_as

# In the order in which one is taken where they spell a text equally well.
LATIN = (
    *("windows-1252", "windows-1250", "windows-1254", "windows-1257", "iso-8859-2", "iso-8859-15"),
    *("iso-8859-13", "windows-1258", "macintosh"),
)

# Letters beyond ASCII of each alphabet (CLDR's main exemplars, with what its loan words use).
_ALPHABETS = tuple(
    frozenset(letters + letters.upper())
    for letters in (
        "àâæçéèêëîïôœùûüÿ",  # French
        "äöüßé",  # German
        "áéíóúüñçªº",  # Spanish
        "àáâãçéêíóôõúüªº",  # Portuguese
        "àèéìíîòóùúªº",  # Italian
        "àçéèíïóòúü",  # Catalan
        "áéëïóöúüèêçñà",  # Dutch
        "åäöéàüæø",  # Swedish, Danish, Norwegian
        "äöåšžõ",  # Finnish, Estonian
        "áéíóúýþæöð",  # Icelandic
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "ăâîşţșț",  # Romanian
        "čćđšž",  # Croatian, Bosnian, Serbian, Slovene
        "çëâêîôûäöüğışİ",  # Turkish, Albanian
        "ąčęėįšųūž",  # Lithuanian
        "āčēģīķļņōŗšūž",  # Latvian
        "àáâãèéêìíòóôõùúýăđĩũơưạ\u0300\u0301\u0303\u0309\u0323",  # Vietnamese, its tones apart
    )
)
_ASCII = bytes(range(128))
_FEW = 3  # bytes that any language may have by chance
_RARE = ("windows-1258", "macintosh")  # taken against statistics only where they are much better
_BEYOND = re.compile(r"[^\x00-\x7f]")
_INSIDE = re.compile(r"(?<=[A-Za-z\xdf-\xff])[^\x00-\x7f](?=[a-z\xdf-\xff])")
# What stands inside words without being a letter: apostrophes, hyphens, dashes, dots.
_JOINERS = frozenset("\u2019\u2018\u2010\u2011\u2013\u2014\u2026\xad\xb7\xb4")
_FRACTION = re.compile(r"(?<=[\s\d])[\u0152\u0153\u0178](?=[\s\d])")


def best_latin(evidence: bytes, name: str) -> str:
    """Return the encoding that spells a language with the fewest misfits; `name` where none does better."""
    fewest = misfits(decode_as(evidence, name))
    if len(evidence.translate(None, _ASCII)) < _FEW and not misfits(decode_as(evidence, LATIN[0])):
        return LATIN[0]
    if not fewest:
        return name
    for other in LATIN:
        if other == name:
            continue
        found = misfits(decode_as(evidence, other))
        if found * (3 if other in _RARE else 1) < fewest:
            name, fewest = other, found
    return name


def misfits(text: str) -> int:
    """Count the characters that the alphabet closest to a text does not explain."""
    counts: dict[str, int] = {}
    for letter in _BEYOND.findall(text):
        counts[letter] = counts.get(letter, 0) + 1
    odd: int = sum(
        count for letter, count in counts.items() if "\x7f" < letter < "\xa0" or letter in "\ufffd\xa4\xa6"
    )
    letters = {
        letter: count for letter, count in counts.items() if letter.isalpha() or "\u0300" <= letter < "\u0370"
    }
    total = sum(letters.values())
    explained = max(
        sum(count for letter, count in letters.items() if letter in alphabet) for alphabet in _ALPHABETS
    )
    in_words = sum(
        found.isupper() or not (found.isalpha() or found in _JOINERS or "\u0300" <= found < "\u0370")
        for found in _INSIDE.findall(text)
    )
    return int(odd + total - explained + in_words + len(_FRACTION.findall(text)))
