"""Build the quickstart's inputs: a crawl, source files and curated prose, all found on the machine it runs
on.

    facts = build_corpus(Path("demo/corpus"), seed=1)

The same machine and seed give the same bytes, and files that are there already are left alone: what was
milled stays milled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from gristmill.errors import InputError
from gristmill.files.storage import write_atomic
from gristmill.hashing import digest16, sha256_file, sha256_json
from gristmill.pipeline.demo import harvest, markup
from gristmill.pipeline.demo.crawl import CRAWLED, write_crawl
from gristmill.pipeline.demo.harvest import DemoPassage
from gristmill.pipeline.demo.pages import build_pages, draw, num_by_host

FACTS = "corpus.json"
_NUM_CRAWL_FILES = 8
_CODE_BYTES, _PROSE_BYTES = 3_000_000, 3_000_000
_MIN_PROSE_CHARACTERS, _MAX_PROSE_CHARACTERS = 1_500, 30_000
_MIN_PAGES = 200


def build_corpus(out: Path, seed: int) -> dict[str, Any]:
    """Write the inputs below `out` unless they are there; return what they are.

    Raises InputError on a Python without the sources of its standard library.
    """
    key = sha256_json({"seed": seed, "code": _code(), "machine": _machine()})
    if (facts := read_facts(out)) and facts["key"] == key and _all_there(out, facts):
        return facts
    pages = build_pages(seed)
    if len(pages) < _MIN_PAGES:
        raise InputError(
            f"this Python documents itself on {len(pages)} pages only, the quickstart needs {_MIN_PAGES}",
            where=sys.prefix,
            hint=(
                "use a Python that has the sources of its standard library, or run a recipe on files of"
                " your own"
            ),
        )
    aside = out / "unfinished"
    aside.mkdir(parents=True, exist_ok=True)
    paths = write_crawl(aside, pages, _NUM_CRAWL_FILES)
    paths += [_write_jsonl(aside / "code.jsonl", _within(harvest.sources(), _CODE_BYTES))]
    paths += [_write_jsonl(aside / "prose.jsonl", _within(_prose(seed), _PROSE_BYTES))]
    files: dict[str, dict[str, Any]] = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in paths
    }
    for path in paths:
        _settle(path, out / path.name, files[path.name]["sha256"])
    aside.rmdir()
    facts = {"key": key, "seed": seed, "pages": len(pages), "hosts": num_by_host(pages), "files": files}
    write_atomic(out / FACTS, orjson.dumps(facts, option=orjson.OPT_INDENT_2) + b"\n")
    return facts


def read_facts(out: Path) -> dict[str, Any] | None:
    try:
        return dict(orjson.loads((out / FACTS).read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None


def _all_there(out: Path, facts: dict[str, Any]) -> bool:
    sizes = {name: (out / name).stat().st_size if (out / name).is_file() else -1 for name in facts["files"]}
    return all(sizes[name] == entry["bytes"] for name, entry in facts["files"].items())


def _settle(path: Path, target: Path, sha256: str) -> None:
    """Move a file to its place unless the same bytes are there: a new time of change would make what was
    milled stale."""
    if target.is_file() and sha256_file(target) == sha256:
        path.unlink()
    else:
        path.replace(target)


def _code() -> dict[str, str]:
    """What the bytes depend on besides: the modules and templates beside this one."""
    return {
        path.name: sha256_file(path)
        for path in sorted(Path(__file__).parent.iterdir())
        if path.suffix in (".py", ".html")
    }


def _machine() -> list[str]:
    """What the texts depend on: the interpreter and everything installed beside it."""
    return [sys.version, *(f"{name} {dist.version}" for name, dist in harvest.distributions())]


def _prose(seed: int) -> Iterator[DemoPassage]:
    """Long texts that people wrote to be read: half of the long descriptions, licences, help topics,
    introductions of modules."""
    for passage in [*harvest.topics(), *harvest.descriptions(), *harvest.licences()]:
        if not (passage.key.startswith("description:") and draw(seed, "web", passage.key) < 0.5):
            yield _reflowed(passage)
    for module in harvest.standard_library_modules():
        if len(module.text) >= _MIN_PROSE_CHARACTERS:
            yield _reflowed(DemoPassage(f"introduction:{module.name}", module.name, module.text))


def _reflowed(passage: DemoPassage) -> DemoPassage:
    """Hard line ends become paragraphs, markup goes, and what is very long ends early."""
    return DemoPassage(
        passage.key, passage.title, markup.to_text(markup.parse(passage.text[:_MAX_PROSE_CHARACTERS]))
    )


def _within(passages: Iterable[DemoPassage], max_bytes: int) -> list[DemoPassage]:
    """Choose passages by the hash of their key until the bytes are used up; the chosen stay in the order they
    came."""
    listed = list(passages)
    order = sorted(range(len(listed)), key=lambda number: digest16("within", listed[number].key))
    chosen: list[int] = []
    taken = 0
    for number in order:
        size = len(listed[number].text.encode())
        if taken + size <= max_bytes:
            taken += size
            chosen.append(number)
    return [listed[number] for number in sorted(chosen)]


def _write_jsonl(path: Path, passages: Iterable[DemoPassage]) -> Path:
    date = CRAWLED.isoformat()
    rows = [
        {"id": passage.key, "date": date, "title": passage.title, "text": passage.text}
        for passage in passages
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path
