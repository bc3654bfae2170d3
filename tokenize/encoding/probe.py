"""Odd texts that two encoders must agree on before one may stand in for the other."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator

_WORDS = (
    "Hello, world! It's 3.14159, isn't it? DON'T you'LL we've I'M 'tis 'S",
    "def f(x):\n    if x:\n\t\treturn {'a': [1, 2]}  # ok\r\n\r\n",
    "http://example.org/a_b-c?d=e&f=%20#g user@example.com C:\\path\\file.txt ~/.bashrc",
    "1 12 123 1234 12345 123456789 1,234.5 0x1F 1e-9 ½ ² ௧ ٣ ３４５６",
    "Größe naïve Åström Łódź İstanbul ıǅ ǆ ǅ ſt ﬁ ﬂ ß ẞ",
    "Съешь ещё этих мягких булок Ελληνικά Ὀδυσσεύς ქართული հայերեն",
    "中文字符，没有空格。 日本語のテキスト、カタカナ。 한국어 텍스트 ᄒ\u1161ᆫ",
    "हिन्दी पाठ বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ไทยไม่มีช่องว่าง ພາສາລາວ မြန်မာ ខ្មែរ",
    "العربيّة مَعَ تَشْكِيل עִבְרִית עם ניקוד فارسی‌نویسی",
    "😀👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 👍🏽 ①②③ ∑∫√≠≤ α²+β² → ⇒ ★☆ ™®© €£¥",
    "a\u0301e\u0300 n\u0303 q\u0323\u0307 \u0344 Z\u0351\u032b\u0343\u036a",
    "<s></s><unk><pad><0x0A><0x41>[CLS][SEP]<|endoftext|><|im_start|><think></think>",
    "__label__a ▁ ▁▁a a▁b \ufeffbom \u200bzero\u200c\u200d\u2060 \u00ad soft",
    "'' \"\" `` -- --- ... …… ‘a’ “b” «c» ,,, ;;; !!!??? ((([[[{{{ ***_____===#####",
    "aAaAaAaA xXxX iPhone McDonald camelCaseWord snake_case_word SCREAMING_CASE",
    "\x00\x01\x02\x1b[31m\x7f\x80\x9f\xa0\xad\ufffd\ufffe\uffff\U0010ffff",
)
_SPACES = (
    " ",
    "  ",
    "    ",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    " \n ",
    "\n \n",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\x0b",
    "\x85",
)


def _odd() -> Iterator[str]:
    yield ""
    yield from _WORDS
    for space in _SPACES:
        yield space
        yield f"{space}a{space}{space}b{space}"
        yield f"word{space}1{space}.{space}"
    for first, second in itertools.product(_SPACES, repeat=2):
        yield f"x{first}{second}y"
    for word in _WORDS:
        yield from (word.upper(), word.lower(), f" {word}", f"{word}\n", word[::-1], word * 3)
        yield unicodedata.normalize("NFD", word)
    yield from ("a" * 300, "ab" * 200, "1" * 100, " " * 200, "\n" * 100, "=" * 130, "é" * 90, "字" * 90)
    for start in range(0, 0x30000, 0x60):  # every block of Unicode that has characters
        run = "".join(chr(point) for point in range(start, start + 0x60, 5) if _assigned(point))
        if run:
            yield f"{run} x{run[:3]}"


def _assigned(point: int) -> bool:
    return unicodedata.category(chr(point)) not in ("Cs", "Cn")


ODD = tuple(_odd())
