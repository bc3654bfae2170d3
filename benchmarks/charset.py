"""Charset detection on real text: each encoding with the languages written in it, beside peers.

    python benchmarks/charset.py TEXTS [--pieces 20] [--quick] [--json]

TEXTS is a folder of UTF-8 files named by their language (`pl.txt`, `zh-Hant.txt`), a line a paragraph;
languages without one are left out. Pieces
of 200 and 2,000 characters are encoded, plain and inside a page that declares nothing; what the encoding
lacks becomes a character reference in a page and is left out of plain text. A piece counts as right where
its bytes, decoded by the encoding that was detected, are the text it was made from: two encodings that agree
on a piece are both right. `--pages` takes real pages instead: their own declarations are taken out, and they
are encoded in what their language was written in. Peers: charset-normalizer, resiliparse, and chardet,
chardetng_py and faust-cchardet where they are installed. All names are decoded by one set of decoders, the
Encoding Standard's where it knows the name.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gristmill.pipeline.extract.decoding.charset import decode
from gristmill.pipeline.extract.decoding.content import decode_content
from gristmill.pipeline.extract.decoding.encoding_standard import decode_as, encoding_of
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import Record
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.text.detection import detect_markup

LENGTHS = (200, 2000)
# What Python calls the encoding, and who wrote in it.
PAIRS = {
    "windows-1250": ("cp1250", "pl cs hu sk hr ro sr"),
    "iso-8859-2": ("iso8859_2", "pl cs hu sk hr ro sr"),
    "windows-1251": ("cp1251", "ru bg uk"),
    "koi8-r": ("koi8_r", "ru"),
    "koi8-u": ("koi8_u", "uk"),
    "ibm866": ("cp866", "ru"),
    "iso-8859-5": ("iso8859_5", "ru bg"),
    "x-mac-cyrillic": ("mac_cyrillic", "ru"),
    "windows-1252": ("cp1252", "en de fr es it pt nl sv fi da no gl id"),
    "iso-8859-15": ("iso8859_15", "de fr es fi"),
    "macintosh": ("mac_roman", "de fr es"),
    "windows-1253": ("cp1253", "el"),
    "iso-8859-7": ("iso8859_7", "el"),
    "windows-1254": ("cp1254", "tr"),
    "windows-1255": ("cp1255", "he"),
    "iso-8859-8": ("iso8859_8", "he"),
    "windows-1256": ("cp1256", "ar fa"),
    "iso-8859-6": ("iso8859_6", "ar"),
    "windows-1257": ("cp1257", "lt lv"),
    "iso-8859-13": ("iso8859_13", "lt lv"),
    "windows-1258": ("cp1258", "vi"),
    "windows-874": ("cp874", "th"),
    "gbk": ("gbk", "zh"),
    "gb18030": ("gb18030", "zh zh-Hant"),
    "big5": ("big5", "zh-Hant"),
    "euc-jp": ("euc_jp", "ja"),
    "shift_jis": ("cp932", "ja"),
    "iso-2022-jp": ("iso2022_jp", "ja"),
    "euc-kr": ("cp949", "ko"),
    "utf-16le": ("utf_16_le", "en de ru ja"),
    "utf-16be": ("utf_16_be", "en de ru ja"),
    "utf-8": ("utf_8", "de ru zh ja"),
}
# Typographic marks that a text of its time would have had in the letters of its encoding.
PLAIN_MARKS = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2019": "'", "\u2018": "'",
                             "\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00a0": " "})  # fmt: skip
PAGE = (
    '<!DOCTYPE html><html><head><title>{title}</title><link rel="stylesheet" href="/css/main.css">'
    "<script>var page = {{id: 17, type: 'article'}};</script></head><body class=\"home single\">"
    '<div id="header"><a href="/index.php?page=1">{title}</a></div><div class="content">{paragraphs}</div>'
    '<div id="footer"><img src="/img/logo.gif" width="1" alt=""> &copy; 2004</div></body></html>'
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("--pieces", type=int, default=20, help="of each encoding, language, length and form")
    parser.add_argument("--pages", nargs="*", default=[], help="WARC files")
    parser.add_argument("--only", help="one encoding")
    parser.add_argument("--quick", action="store_true", help="3 pieces")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    detectors = available()
    pages = real_pages(arguments.pages)
    right: dict[str, dict[str, int]] = {}
    seconds = dict.fromkeys(detectors, 0.0)
    num_bytes = 0
    counts: dict[str, int] = {}
    for name, languages in PAIRS.items():
        if arguments.only not in (None, name):
            continue
        row = right.setdefault(name, dict.fromkeys(detectors, 0))
        num_pieces = 3 if arguments.quick else arguments.pieces
        made = (
            samples_of_pages(pages, name, *languages, num_pieces)
            if arguments.pages
            else samples(arguments.texts, name, *languages, num_pieces)
        )
        for text, body in made:
            counts[name] = counts.get(name, 0) + 1
            num_bytes += len(body)
            for detector, detect in detectors.items():
                began = time.process_time()
                found = detect(body)
                seconds[detector] += time.process_time() - began
                row[detector] += found == text
        if name not in counts:
            del right[name]
            continue
        shown = "  ".join(f"{key} {value / counts[name]:.3f}" for key, value in row.items())
        print(f"{name:16s} {counts[name]:5d}  {shown}", flush=True)
    report(arguments, detectors, right, counts, seconds, num_bytes)


def samples(folder: Path, name: str, codec: str, languages: str, num_pieces: int) -> list[tuple[str, bytes]]:
    made = []
    for file in (folder / f"{language}.txt" for language in languages.split()):
        if not file.exists():
            continue
        text = " ".join(file.read_text("utf-8").split())
        for length in LENGTHS:
            step = max(length, len(text) // num_pieces)
            for start in range(0, min(len(text) - length, step * num_pieces), step):
                piece = prepared(text[start : start + length], codec)
                for form, errors in ((piece, "ignore"), (page_of(piece), "xmlcharrefreplace")):
                    body = form.encode(codec, errors)
                    if _tells(body, name):
                        made.append((decode_as(body, name), body))
    return made


def real_pages(archives: list[str]) -> dict[str, list[str]]:
    """Return pages by language, without their declarations."""
    pages: dict[str, list[str]] = {}
    for archive in archives:
        source = SourceSettings(inputs=[archive])
        for shard in plan_shards(source, 1 << 40):
            for item in read_records(shard, source):
                if not isinstance(item, Record) or not item.payload or item.status not in (200, None):
                    continue
                page, _ = decode(
                    decode_content(item.payload, item.content_encoding, 20_000_000).body, item.charset
                )
                language, share = detect_markup(page)
                if language and (share or 0) > 0.8:
                    pages.setdefault(language, []).append(_DECLARATION.sub("", page.replace("\ufffd", "")))
    return pages


_DECLARATION = re.compile(r"<meta[^>]{0,500}charset[^>]{0,500}>|<\?xml[^>]{0,500}\?>", re.IGNORECASE)


def samples_of_pages(
    pages: dict[str, list[str]], name: str, codec: str, languages: str, num_pieces: int
) -> list[tuple[str, bytes]]:
    made = []
    for language in languages.split():
        for page in pages.get(language, [])[:num_pieces]:
            body = prepared(page, codec).encode(codec, "xmlcharrefreplace")
            if _tells(body, name):
                made.append((decode_as(body, name), body))
    return made


def _tells(body: bytes, name: str) -> bool:
    """Leave out ASCII, and mojibake that in its encoding is valid UTF-8."""
    if name == "iso-2022-jp" or name.startswith("utf-"):
        return b"\x1b" in body or not name.startswith("iso")
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


def prepared(piece: str, codec: str) -> str:
    if codec == "cp1258":  # it has letters and tone marks apart
        return "".join(map(_tone_apart, piece))
    try:
        piece.encode(codec)
    except UnicodeEncodeError:
        piece = piece.translate(PLAIN_MARKS)
        if codec in ("iso8859_2", "cp1250", "iso8859_5"):  # they had the cedilla for Romanian's comma
            piece = piece.translate(str.maketrans("\u0218\u0219\u021a\u021b", "\u015e\u015f\u0162\u0163"))
    return piece


def _tone_apart(letter: str) -> str:
    try:
        letter.encode("cp1258")
        return letter
    except UnicodeEncodeError:
        parts = unicodedata.normalize("NFD", letter)
        tones = "".join(mark for mark in parts if mark in "\u0300\u0301\u0303\u0309\u0323")
        return unicodedata.normalize("NFC", "".join(mark for mark in parts if mark not in tones)) + tones


def page_of(piece: str) -> str:
    sentences = re.split(r"(?<=[.!?\u3002\uff01])\s*", piece)
    paragraphs = "".join(f"<p class='text'>{part}</p>\n" for part in sentences if part)
    return PAGE.format(title=piece[:20], paragraphs=paragraphs)


def available() -> dict[str, Callable[[bytes], str | None]]:
    found: dict[str, Callable[[bytes], str | None]] = {"ours": lambda body: decode(body)[0]}
    makers = {
        "charset-normalizer": ("charset_normalizer", _charset_normalizer),
        "resiliparse": ("resiliparse", _resiliparse),
        "chardet": ("chardet", _chardet),
        "chardetng": ("chardetng_py", _chardetng),
        "cchardet": ("cchardet", _cchardet),
    }
    for name, (module, detect) in makers.items():
        if importlib.util.find_spec(module):
            found[name] = detect
    return found


def by_name(body: bytes, name: str | None) -> str | None:
    """Decode by the standard's decoder of a label, else by Python's codec of that name."""
    known = encoding_of((name or "").replace("_", "-")) or encoding_of(name)
    if known:
        return decode_as(body, known)
    try:
        return body.decode(name or "ascii", "replace")
    except LookupError:
        return None


def _charset_normalizer(body: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(body).best()
    return by_name(body, best.encoding) if best else None


def _resiliparse(body: bytes) -> str | None:
    from resiliparse.parse.encoding import detect_encoding

    return by_name(body, detect_encoding(body))


def _chardet(body: bytes) -> str | None:
    import chardet

    return by_name(body, chardet.detect(body)["encoding"])


def _chardetng(body: bytes) -> str | None:
    import chardetng_py

    return by_name(body, chardetng_py.detect(body, allow_utf8=True))


def _cchardet(body: bytes) -> str | None:
    import cchardet

    return by_name(body, cchardet.detect(body)["encoding"])


def report(
    arguments: argparse.Namespace,
    detectors: dict[str, Any],
    right: dict[str, dict[str, int]],
    counts: dict[str, int],
    seconds: dict[str, float],
    num_bytes: int,
) -> None:
    share = {
        key: sum(row[key] / counts[name] for name, row in right.items()) / len(right) for key in detectors
    }
    for key in detectors:
        print(f"{key}: {share[key]:.4f} over encodings, {num_bytes / max(seconds[key], 1e-9) / 1e6:.2f} MB/s")
    required = [key for key in ("charset-normalizer", "resiliparse") if key in detectors]
    worse = [f"{name} ({key})" for name, row in right.items() for key in required if row[key] > row["ours"]]
    print("behind a required peer on:", ", ".join(worse) or "none")
    if arguments.json:
        print(json.dumps(summary(right, counts, share)))


def summary(
    right: dict[str, dict[str, int]], counts: dict[str, int], share: dict[str, float]
) -> dict[str, Any]:
    packages = {"chardetng": "chardetng_py", "cchardet": "faust-cchardet"}
    peers = {name: round(value, 4) for name, value in share.items() if name != "ours"}
    return {
        "what": f"undeclared text of {len(right)} encodings decoded right, mean over encodings",
        "unit": "share",
        "ours": round(share["ours"], 4),
        "peers": peers,
        "ratio": {name: round(share["ours"] / value, 3) for name, value in peers.items()},
        "by_encoding": {
            name: {"pieces": counts[name]}
            | {key: round(value / counts[name], 4) for key, value in row.items()}
            for name, row in right.items()
        },
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(packages.get(name, name)) for name in peers},
        "command": "python benchmarks/charset.py TEXTS " + " ".join(sys.argv[2:]),
    }


if __name__ == "__main__":
    main()
