"""What each code point is: classes and lower case as two-level tables, pinned to one version of Unicode.

`unicode.npz` holds them; `python -m gristmill.text.tables` writes it anew from this Python's `unicodedata`.
The file's digest stands here because machine code bakes the tables in (numba freezes globals of an njit
function): a new file needs a new digest, and that makes the cached kernels stale.

A class is a set of bits. White space, letters and line breaks are those of `str.isspace`, `str.isalpha` and
`str.splitlines`.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

UNICODE_VERSION = "14.0.0"
TABLES_SHA256 = "055e569307134e928f6b99410b908075cde62fad518477520109c2d2754b124e"
_PATH = Path(__file__).parent / "unicode.npz"
_NUM_POINTS = 0x110000

SPACE = 1  # str.isspace: the 29 characters that str.split splits at
LETTER = 2  # str.isalpha
CORE = 4  # letters, marks and numbers: what the core of a word begins and ends with
UNIT = 8  # a word by itself: Han, Kana, Thai, Lao, Khmer
BREAK = 16  # where str.splitlines ends a line
END = 32  # Sentence_Terminal
WIDE_END = 64  # an end mark of scripts that put no space after it
CLOSE = 128  # quotes and brackets that may stand between an end mark and the space
DIGIT = 256  # \d of regular expressions: decimal digits
UPPER = 512  # str.isupper

# Unicode's property Sentence_Terminal (PropList), which unicodedata lacks, and U+FF0E, U+FE52 as in FineWeb's
# stop_chars.
_SENTENCE_TERMINAL = """
21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736
17D4-17D6 17D9-17DA
1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E 2E3C
2E53-2E54
3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01
FF0E FF1F
FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF
11238-11239
1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946 11A42-11A43
11A9B-11A9C
11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16E98 1BC9F 1DA88
"""
_UNIT_SCRIPTS = """
E00-EFF 1780-17FF 2E80-2FDF 3005-3007 3021-3029 3038-303B 3041-30FF 31F0-31FF 3400-4DBF 4E00-9FFF F900-FAFF
FF66-FF9F
1AFF0-1AFFF 1B000-1B16F 20000-3FFFD
"""
_WIDE_ENDS = "。！？｡．"
_EXTRA_CLOSE = "\"'»”’)]}"


@cache
def _ranges(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split():
        low, _, high = part.partition("-")
        found.update(range(int(low, 16), int(high or low, 16) + 1))
    return found


def point_class(point: int) -> int:
    """Compute the class of one code point from this Python's `unicodedata`."""
    char, category = chr(point), unicodedata.category(chr(point))
    core = category[0] in "LMN"
    closes = char in _EXTRA_CLOSE or category in ("Pe", "Pf")
    bits = (
        (char.isspace(), SPACE),
        (char.isalpha(), LETTER),
        (core, CORE),
        (core and point in _ranges(_UNIT_SCRIPTS), UNIT),
        (len(f"a{char}b".splitlines()) > 1, BREAK),
        (point in _ranges(_SENTENCE_TERMINAL), END),
        (char in _WIDE_ENDS, WIDE_END),
        (closes, CLOSE),
        (category == "Nd", DIGIT),
        (char.isupper(), UPPER),
    )
    return sum(bit for holds, bit in bits if holds)


def lower_delta(point: int) -> int:
    """Return what lower-casing adds to a code point; U+0130, the only one whose lower case is two, gives `i`
    (and U+0307)."""
    return ord(chr(point).lower()[0]) - point


def write(path: Path = _PATH) -> str:
    """Write the tables of this Python's Unicode version and return the digest of the file."""
    arrays: dict[str, Any] = {}
    for name, values in (
        ("class", np.array([point_class(point) for point in range(_NUM_POINTS)], np.uint16)),
        ("lower", np.array([lower_delta(point) for point in range(_NUM_POINTS)], np.int32)),
    ):
        pages, index = np.unique(values.reshape(-1, 256), axis=0, return_inverse=True)
        arrays[f"{name}_pages"], arrays[f"{name}_index"] = (
            pages.reshape(-1),
            index.reshape(-1).astype(np.uint16),
        )
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return digest(np.load(path))


def digest(arrays: Any) -> str:
    """Digest the tables' content: the compressed file itself may differ between zlib versions."""
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()


def _load() -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(_PATH.read_bytes())) as file:
        return {name: file[name] for name in file.files}


if __name__ == "__main__":
    print(unicodedata.unidata_version, write())
else:
    _tables = _load()
    CLASS_INDEX, CLASS_PAGES = _tables["class_index"], _tables["class_pages"]
    LOWER_INDEX, LOWER_PAGES = _tables["lower_index"], _tables["lower_pages"]
    if digest(_tables) != TABLES_SHA256:
        raise ImportError(
            f"`{_PATH.name}` is not the file that tables.py names: write it anew, put its digest into"
            " TABLES_SHA256"
        )
