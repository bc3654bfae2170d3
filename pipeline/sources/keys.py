"""Keys of an object store that a glob names, listed a thousand a request.

Stores have no folders: a key may also be the beginning of others, and hold any character. What lists them as
a file system would (fsspec's `glob` and `find`) takes such a key for a folder, and leaves it out.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gristmill.files.s3_objects import Page, list_page

Ask = Callable[[Callable[[Mapping[str, float]], Page]], Page]  # runs a request, again if need be
_MARKS = re.compile(r"[*?\[]")


def below_prefix(filesystem: Any, folder: str, ask: Ask) -> dict[str, Mapping[str, Any]]:
    """Return every object below a prefix, by name; markers of folders are none."""
    return {item["name"]: item for item in _objects(filesystem, f"{folder.rstrip('/')}/", ask)}


def match_keys(filesystem: Any, pattern: str, ask: Ask) -> dict[str, Mapping[str, Any]]:
    """Return the objects that a glob names, by name: `*`, `?` and `[...]` within one part, `**` over any
    number of them."""
    bucket, *parts = pattern.split("/")
    found: dict[str, Mapping[str, Any]] = {}
    prefixes = [f"{bucket}/"]
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            rest = re.compile(_anywhere("/".join(parts[number:]))).fullmatch
            for prefix in prefixes:
                for item in _objects(filesystem, prefix, ask):
                    if rest(item["name"][len(prefix) :]):
                        found[item["name"]] = item
            return found
        matches = re.compile(fnmatch.translate(part)).match
        head = part[: mark.start()] if (mark := _MARKS.search(part)) else part
        deeper = []
        for prefix in prefixes:
            if not is_last and head == part:
                deeper.append(f"{prefix}{part}/")
                continue
            for page in _pages(filesystem, prefix + head, "/", ask):
                if is_last:
                    named = (item for item in page.files if matches(item["name"][len(prefix) :]))
                    found.update((item["name"], item) for item in named)
                else:
                    deeper += [name for name in page.prefixes if matches(name[len(prefix) : -1])]
        prefixes = deeper
    return found


def _anywhere(pattern: str) -> str:
    """A regular expression for the rest of a key, `**` at its head."""
    parts = [
        r"(?:[^/]*/)*" if part == "**" else fnmatch.translate(part).removesuffix(r"\Z").replace(".*", "[^/]*")
        for part in pattern.split("/")
    ]
    spelled = "".join(
        part if part.endswith("/)*") or number == len(parts) - 1 else f"{part}/"
        for number, part in enumerate(parts)
    )
    return spelled if not parts[-1].endswith("/)*") else f"{spelled}[^/]*"


def _objects(filesystem: Any, prefix: str, ask: Ask) -> Iterator[Mapping[str, Any]]:
    for page in _pages(filesystem, prefix, "", ask):
        yield from (item for item in page.files if not item["name"].endswith("/"))


def _pages(filesystem: Any, prefix: str, delimiter: str, ask: Ask) -> Iterator[Page]:
    token: str | None = None
    while True:

        def request(timeout: Mapping[str, float], token: str | None = token) -> Page:
            return list_page(filesystem, prefix, timeout, delimiter=delimiter, token=token)

        page = ask(request)
        yield page
        token = page.token
        if token is None:
            return
