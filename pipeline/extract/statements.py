"""What a page says of its use: marks of Creative Commons, and reservations against machines, as columns.

    page.licence            cc-by-sa-4.0; several, apart by blanks, where one place names several
    page.licence_place      rel, meta, json-ld, badge or footer: the strongest of the places that name any
    page.robots             meta:*:noai header:gptbot:noindex: place, agent and directive, sorted
    page.tdm_reservation    1 or 0: TDMRep's, the page's own before the header's

Read from the page's markup (`of_page`, in the extractor's process) and from its HTTP head (`of_head`).
Sources: rel=license, microformats.org/wiki/rel-license and ccREL (W3C Member Submission 2008); the robots
meta tag and X-Robots-Tag of search engines, with `noai` and `noimageai` (DeviantArt, 2022) and `noml`;
`tdm-reservation`, W3C TDMRep (Final Community Group Report, 2024). All of it is one pass over the page with a
bound for each tag, so that a page takes time as it is long.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gristmill.pipeline.extract.head_tags import tags_of_head

COLUMNS = ("page.licence", "page.licence_place", "page.robots", "page.tdm_reservation")
_KEYS = tuple(name.removeprefix("page.") for name in COLUMNS)
PLACES = ("rel", "meta", "json-ld", "badge", "footer")  # of a mark, the strongest first
# Those that take something away; `index`, `follow` and `all` do not.
DIRECTIVES = (
    *("noai", "noimageai", "noml", "noindex", "none", "nofollow", "noarchive", "nocache", "nosnippet"),
    "noimageindex",
)

_HEAD_BYTES = 1 << 18  # where metas are looked for; up to the body, if that begins before
_TAG_BYTES = 512
_MOST_CODES = 4
SEVERAL = "several"  # more licences than are worth naming
_FOOTER_SHARE = 0.5  # a footer lies in the second half of a page's markup
_HOST = b"creativecommons.org"
# What may be a meta, up to the next tag: a page none of whose metas names a directive or mining, as most are,
# is not read tag by tag. The pattern begins with one byte and no choice, so that the engine leaps from tag to
# tag; the head is not copied.
_META = re.compile(rb"<[mM][eE][tT][aA]([^<]{0,1000}+)")
_DIRECTIVE = re.compile(rb"no(?:" + "|".join(word[2:] for word in DIRECTIVES).encode() + rb")")
_MARK = re.compile(
    rb"creativecommons\.org(?:\\?/)+(?:licenses|licences|l|publicdomain|p)(?:\\?/)+"
    rb"([a-z+-]{2,24})(?:\\?/)+(?:(\d\.\d)(?:(?:\\?/)+([a-z]{2,3})\b(?!\.))?)?",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(
    rb"""([a-zA-Z:._-]{1,40}+)\s{0,40}+=\s{0,40}+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))"""
)
_JSON_LICENCE = re.compile(rb"\"(?:license|licence|usageInfo)\"\s{0,8}:\s{0,8}(?:\[\s{0,8})?\"[^\"]{0,40}\Z")
_AGENT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_NUMBERED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_LINK = re.compile(r"<([^<>]{1,500})>([^<]{0,200})")
_REL_LICENCE = re.compile(r"\brel\s{0,8}=\s{0,8}[\"']?[^\"';,]{0,60}\blicense\b", re.IGNORECASE)
_COMMON_WORDS = {"none"}  # which metas that speak to no robot have, too
_CODES = {"zero": "cc0", "mark": "pdm", "publicdomain": "cc-pd"}

_memmem: Callable[..., int | None] | None = None
with contextlib.suppress(AttributeError, OSError, TypeError):
    _memmem = ctypes.CDLL(None).memmem
    _memmem.restype = ctypes.c_void_p  # type: ignore[attr-defined]
    _memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]  # type: ignore[attr-defined]


def of_page(html: bytes) -> dict[str, str]:
    """Return what a page's markup says, by the names of the columns without `page.`; absent where nothing
    is."""
    found: dict[str, str] = {}
    robots: set[tuple[str, str, str]] = set()
    for name, content in _metas(html):
        if name in ("tdm-reservation", "tdm_reservation"):
            found.setdefault("tdm_reservation", "1" if content.strip() == "1" else "0")
        elif agent := _agent_of(name):
            words = set(_directives(content)) - (set() if agent == "*" or "bot" in agent else _COMMON_WORDS)
            robots |= {("meta", agent, word) for word in words}
    if robots:
        found["robots"] = _spell(robots)
    if marks := list(_marks(html)):
        found |= _strongest(marks)
    return found


def of_head(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an HTTP head says, by the names of the columns without `page.`; names are in lower case."""
    found: dict[str, str] = {}
    if value := headers.get("x-robots-tag"):
        robots = set(_header_directives(value))
        found |= {"robots": _spell(robots)} if robots else {}
    if "tdm-reservation" in headers:
        found["tdm_reservation"] = "1" if headers["tdm-reservation"].strip() == "1" else "0"
    if "creativecommons.org" in (value := headers.get("link", "")):
        marks = [
            ("rel", code)
            for link in _LINK.finditer(value)
            if _REL_LICENCE.search(link[2]) and (code := licence_code(link[1]))
        ]
        found |= _strongest(marks) if marks else {}
    return found


def together(said: Mapping[str, Any], head: Mapping[str, str]) -> dict[str, str]:
    """What a page (`said`, among others) and its head say: of a mark and of a reservation the page's own
    counts, directives add up."""
    page = {name: said[name] for name in _KEYS if name in said}
    found = {**head, **page}
    if "licence" in head and PLACES.index(page.get("licence_place", "rel")):
        found |= {name: head[name] for name in ("licence", "licence_place")}
    words = {*page.get("robots", "").split(), *head.get("robots", "").split()}
    return {**found, "robots": " ".join(sorted(words))} if words else found


def licence_code(url: str) -> str | None:
    """Return `cc-by-sa-3.0-de` of the address of a licence of Creative Commons, None of any other."""
    mark = _MARK.search(url.encode("utf-8", "replace"))
    return _code(mark) if mark else None


def _code(mark: re.Match[bytes]) -> str:
    name, version, port = (part.decode("ascii", "replace").lower() if part else "" for part in mark.groups())
    return "-".join(part for part in (_CODES.get(name, f"cc-{name}"), version, port) if part)


def _metas(html: bytes) -> Iterator[tuple[str, str]]:
    """Names (in lower case) and contents of the metas of a head, where any of them speaks to a robot or of
    mining; character references stay as they are."""
    end = next(_places(html, b"<body", _HEAD_BYTES), _HEAD_BYTES)
    if not _speaks(b"\n".join(_META.findall(html, 0, end)).lower()):
        return
    for said in tags_of_head(html, end, b"meta"):
        if b"content" in said and (name := said.get(b"name") or said.get(b"property")):
            content = said[b"content"].lower().decode("utf-8", "replace")
            yield name.lower().decode("ascii", "replace").strip(), content


def _speaks(tags: bytes) -> bool:
    return _DIRECTIVE.search(tags) is not None or b"tdm" in tags


def _attributes(tag: bytes) -> dict[bytes, bytes]:
    return {name.lower(): one or two or three for name, one, two, three in _ATTRIBUTE.findall(tag)}


def _places(data: bytes, word: bytes, end: int) -> Iterator[int]:
    """Where a word stands in data[:end]; by the C library where it can be had, at twice the speed of
    `bytes.find`."""
    num, at = min(len(data), end), 0
    if _memmem is None:
        while (at := data.find(word, at, num)) >= 0:
            yield at
            at += 1
        return
    found = _memmem(data, num, word, len(word))
    if not found:
        return  # most pages have none: the second call, for the start, is not made
    base = _memmem(data, num, b"", 0) or 0
    while found:
        at = found - base
        yield at
        at += 1
        found = _memmem(base + at, num - at, word, len(word))


def _agent_of(name: str) -> str | None:
    if name == "robots":
        return "*"
    return name if _AGENT.fullmatch(name) else None


def _directives(content: str) -> Iterator[str]:
    for part in content.split(","):
        word = part.strip().lower()
        if word in DIRECTIVES:
            yield word


def _header_directives(value: str) -> Iterator[tuple[str, str, str]]:
    """`noai, gptbot: noindex, nofollow`: an agent holds until the next, or the end of the header's line."""
    for line in value.lower().split(" , "):  # as `parse_headers` joins lines
        agent = "*"
        for part in line.split(","):
            name, colon, rest = part.partition(":")
            if colon and name.strip() in _NUMBERED:
                continue
            if colon and _AGENT.fullmatch(name.strip()):
                agent, part = name.strip(), rest
            yield from (("header", agent, word) for word in _directives(part))


def _marks(html: bytes) -> Iterator[tuple[str, str]]:
    """The place and code of every mark, in the page's order."""
    footer = -2
    for at in _places(html, _HOST, len(html)):
        mark = _MARK.match(html, at, at + 120)
        if not mark:
            continue
        start = html.rfind(b"<", max(0, at - _TAG_BYTES), at)
        tag = html[start : html.find(b">", at, at + _TAG_BYTES)] if start >= 0 else b""
        kind = tag[1:6].lower()
        said = _attributes(tag)
        if kind.startswith((b"a ", b"a\n", b"a\t", b"a\r", b"link", b"area")):
            if b"license" in said.get(b"rel", b"").lower().split():
                yield "rel", _code(mark)
                continue
            if footer == -2:
                footer = html.find(b"footer", int(len(html) * _FOOTER_SHARE))
            if 0 <= footer < at:
                yield "footer", _code(mark)
        elif kind.startswith(b"meta"):
            yield "meta", _code(mark)
        elif kind.startswith(b"img"):
            yield "badge", _code(mark)
        elif _JSON_LICENCE.search(html[max(0, at - 100) : at]):
            yield "json-ld", _code(mark)


def _strongest(marks: Iterable[tuple[str, str]]) -> dict[str, str]:
    marks = list(marks)
    place = min((place for place, _ in marks), key=PLACES.index)
    codes = list(dict.fromkeys(code for at, code in marks if at == place))
    licence = SEVERAL if len(codes) > _MOST_CODES else " ".join(codes)
    return {"licence": licence, "licence_place": place}


def _spell(said: Iterable[tuple[str, str, str]]) -> str:
    return " ".join(sorted(":".join(one) for one in said))
