"""Which encoding a page is in that declares none: statistics of chardet, held against what languages spell.

chardet's models of letter pairs are right on running text, and wrong on pages whose few bytes beyond ASCII
are signs, or lie behind a long script. So it sees the pieces of text that have such bytes alone, and its
answer among encodings of one script is compared with the others by the alphabets they spell.
"""

from __future__ import annotations

import re
import unicodedata

from gristmill.pipeline.extract.decoding.encoding_standard import decode_as, encoding_of
from gristmill.pipeline.extract.decoding.latin import LATIN, best_latin

_DETECT_BYTES = 16_384  # pairs of letters converge on less
_SCAN_BYTES = 1_048_576  # from the first byte beyond ASCII on, to find as many bytes of text
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_EDGES = re.compile(rb"[<>\r\n]+")
_LONG_ASCII = re.compile(rb"([\x00-\x7f]{16})[\x00-\x7f]{16,}([\x00-\x7f]{16})")
_NO_CONTROLS = bytes(byte if byte >= 0x20 and byte != 0x7F else 0x20 for byte in range(256))
TAG = re.compile(rb"<(?:!|/?[a-zA-Z][a-zA-Z0-9]{0,20}[\s>])")

# Names that the standard does not know, or knows otherwise.
SPELLINGS = {
    "cp949": "euc-kr",
    "ms949": "euc-kr",
    "uhc": "euc-kr",
    "cp936": "gbk",
    "cp932": "shift_jis",
    "euc_jis_2004": "euc-jp",
    "shift_jis_2004": "shift_jis",
    "big5hkscs": "big5",
    "cp874": "windows-874",
    "mac-roman": "macintosh",
    "macroman": "macintosh",
    "mac-cyrillic": "x-mac-cyrillic",
    "maccyrillic": "x-mac-cyrillic",
}
# The standard's encodings but those that shift (told by their sequences), Unicode's and those of few pages:
# ISO 8859's parts 3, 4, 10, 14 and 16, which differ from others in a letter or two.
_CANDIDATES = (
    *(f"windows-{number}" for number in (874, *range(1250, 1259))),
    *(f"iso-8859-{number}" for number in (2, 5, 6, 7, 8, 13, 15)),
    *("koi8-r", "koi8-u", "ibm866", "macintosh", "x-mac-cyrillic"),
    *("gb18030", "big5", "euc-jp", "shift_jis", "euc-kr"),
)
_OTHER_SCRIPTS = frozenset(_CANDIDATES) - frozenset(LATIN)
_ASCII = bytes(range(128))


# What windows-1252 has of signs that are no letters: quotation marks, dashes, the copyright sign, no-break
# spaces and the like. A text with no other bytes beyond ASCII says nothing of its letters.
_SIGNS = (
    bytes(byte for byte in range(0x80, 0x100) if not bytes([byte]).decode("cp1252", "replace").isalpha())
    + b"\xaa\xba"
)
# Signs that no word has inside: a dagger is Mac OS Roman's a with its accent, and a dash before
# a last n the o of Spanish -ion.
_SIGN_INSIDE = re.compile(
    rb"[a-z][\x84\x86\x87\x89\x98\xa1-\xac\xae-\xb3\xb5\xb6\xb8-\xbf][a-z]"
    rb"|[a-z]\x97n(?![A-Za-z\x80-\xff])"
)
_FOREIGN_WORD = re.compile(
    r"[^\W\d_\x00-\u02ff\u1e00-\u1fff]{3}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{2}"
)


def detect(body: bytes) -> str:
    """Guess the encoding of bytes that are no UTF-8 and declare nothing, among the standard's; what nothing
    speaks for is windows-1252: pages whose only bytes beyond ASCII are signs, and those in which another
    script would have no word of three letters (two of East Asia's)."""
    evidence = _evidence(body)
    if not evidence.translate(None, _ASCII + _SIGNS) and not _SIGN_INSIDE.search(evidence):
        return "windows-1252"
    if _is_korean(evidence):
        return "euc-kr"
    import chardet  # few pages need it, and it takes longer to load than a page to extract

    found = chardet.detect(
        evidence, include_encodings=_CANDIDATES, no_match_encoding="windows-1252", compat_names=False
    )
    name = (found["encoding"] or "").lower()
    name = SPELLINGS.get(name) or encoding_of(name) or encoding_of(name.replace("_", "-")) or "windows-1252"
    if name in _OTHER_SCRIPTS:
        if _FOREIGN_WORD.search(decode_as(evidence, name)):
            return _twin(name, evidence)
        name = "windows-1252"
    return best_latin(evidence, name)


def _twin(name: str, evidence: bytes) -> str:
    """Tell Greek's two apart by the capital alpha with its accent, the one letter that they put elsewhere."""
    if name in ("windows-1253", "iso-8859-7"):
        iso = len(re.findall(rb"\xb6[a-z\xd0-\xfe]", evidence))
        windows = len(re.findall(rb"\xa2[a-z\xd0-\xfe]", evidence))
        if iso != windows:
            return "iso-8859-7" if iso > windows else "windows-1253"
    return name


_PAIR = re.compile(rb"[\x81-\xfe][\x41-\x5a\x61-\x7a\x81-\xfe]")


def _is_korean(body: bytes) -> bool:
    """Tell EUC-KR by where its syllables lie: KS X 1001 has them in rows B0 to C8, and Korean little else.

    Chinese spreads over B0 to F7, about half of it above C8; Japanese is mostly in A4 and A5.
    """
    pairs = _PAIR.findall(body)
    if len(pairs) < 8:
        return False
    beyond_ascii = len(body) - len(body.translate(None, bytes(range(128, 256))))
    syllables = sum(0xB0 <= pair[0] <= 0xC8 and pair[1] >= 0xA1 for pair in pairs)
    extended = sum(pair[0] <= 0xC6 and pair[1] < 0xA1 for pair in pairs)
    if syllables + extended < 0.8 * len(pairs) or syllables < 0.5 * len(pairs):
        return False
    text = decode_as(body, "euc-kr")
    hangul = sum("\uac00" <= char <= "\ud7a3" for char in text)
    return hangul * 2 >= 0.7 * beyond_ascii and text.count("\ufffd") * 50 <= hangul


def _evidence(body: bytes) -> bytes:
    """Return the pieces between tags and line ends that have bytes beyond ASCII, without controls and without
    the middle of long runs of ASCII: markup and scripts tell nothing.

    No encoding that is told from them has a tag's or a line's end as part of a character.
    """
    first = _BEYOND_ASCII.search(body)
    if first is None:
        return body[:_DETECT_BYTES]
    begin = max(body.rfind(b"\n", 0, first.start()), body.rfind(b">", 0, first.start())) + 1
    pieces, size = [], 0
    for piece in _EDGES.split(body[begin : begin + _SCAN_BYTES]):
        if piece.isascii():
            continue
        pieces.append(_LONG_ASCII.sub(rb"\1 \2", piece.translate(_NO_CONTROLS))[:_DETECT_BYTES])
        size += len(pieces[-1]) + 1
        if size >= _DETECT_BYTES:
            break
    return b"\n".join(pieces)


def wide_without_bom(body: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark by its zero bytes on one side of markup; where they are
    few, as in Cyrillic (a blank or a sign in sixteen characters), by text almost without controls and
    unassigned characters. A stray NUL or two make no UTF-16."""
    head = body[:512]
    half = len(head) // 2
    if half < 8 or b"\0" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd * 10 > half * 7 and even * 10 < half:
        return "utf-16le"
    if even * 10 > half * 7 and odd * 10 < half:
        return "utf-16be"
    for name, zeros, others in (("utf-16le", odd, even), ("utf-16be", even, odd)):
        if zeros * 16 > half and zeros > 10 * others and _is_plain_text(decode_as(body[:4096], name)):
            return name
    return None


def wide_kana(body: bytes) -> str | None:
    """Recognise Japanese in UTF-16 without a byte order mark that has no ASCII: an eighth of it is kana."""
    head = body[:512]
    if len(body) % 2 or len(head) < 16 or TAG.search(head):
        return None
    for name, at in (("utf-16le", 1), ("utf-16be", 0)):
        pairs = zip(head[at::2], head[1 - at :: 2], strict=True)
        kana = sum(high == 0x30 and low > 0x40 for high, low in pairs)
        if kana * 16 > len(head) and head[1 - at :: 2].count(0x30) * 20 < len(head):
            return name if _is_plain_text(decode_as(body[:4096], name)) else None
    return None


_WITHOUT_BLANKS = dict.fromkeys(map(ord, "\t\n\r\f"))


def _is_plain_text(text: str) -> bool:
    """Tell whether text, but for a last character that was cut off, is of assigned, visible characters."""
    strange = sum(
        char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs")
        for char in text[:-1].translate(_WITHOUT_BLANKS)
    )
    return strange * 100 <= len(text)
