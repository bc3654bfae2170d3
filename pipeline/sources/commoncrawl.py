"""A Common Crawl snapshot as a source: its list of files resolved, a sample of them drawn, their sizes asked
for once.

    sources:
      web:
        commoncrawl: {snapshot: CC-MAIN-2025-05, kind: warc, files: 100, seed: 1}

A snapshot never changes, so what is learned of it (the list, then each file's size and version) is kept in
the user's cache folder: planning again asks for nothing, and planning that was interrupted goes on where it
was.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gristmill.errors import InputError, UsageError
from gristmill.files.remote import Access
from gristmill.hashing import digest16
from gristmill.pipeline.sources.record import InputRange
from gristmill.pipeline.sources.remote import list_remote, read_whole

_NUM_THREADS = 8


class CommonCrawl(BaseModel):
    """Which files of which snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot: str = Field(
        pattern=r"^CC-MAIN-\d{4}-\d{2}$",
        description="As named on the crawl's site, for instance CC-MAIN-2025-05.",
    )
    kind: Literal["warc", "wet", "robotstxt"] = Field(
        default="warc",
        description="Pages as fetched, the crawl's own texts, or sites' robots.txt (for `rights.archives`).",
    )
    files: int | None = Field(
        default=None, ge=1, description="How many of the snapshot's (80,000 or so) files; all when unset."
    )
    seed: int = Field(
        default=1, ge=0, description="Of the draw; a larger sample of the same seed contains the smaller."
    )
    base: str = Field(
        default="https://data.commoncrawl.org",
        description="Where it is served; s3://commoncrawl inside that cloud.",
    )
    requests_per_second: float = Field(
        default=5.0, gt=0, description="Of one worker; the servers answer greed with refusals."
    )


def resolve(crawl: CommonCrawl, access: Access) -> list[InputRange]:
    """Return the chosen files with their sizes, sorted by path."""
    cache = _cache_file(crawl)
    known: dict[str, list[str]] = json.loads(cache.read_text()) if cache.exists() else {}
    paths = known.get("paths") or _read_listing(crawl, access)
    chosen = sample(paths, crawl)
    sizes: dict[str, list[str]] = {path: known[path] for path in chosen if path in known}
    try:
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            missing = [path for path in chosen if path not in sizes]
            for path, found in zip(
                missing,
                pool.map(lambda path: list_remote(_url(crawl, path), access)[0], missing),
                strict=True,
            ):
                sizes[path] = [str(found.size), found.version]
    finally:
        _write(cache, {**known, **sizes, "paths": paths})
    return [
        InputRange(_url(crawl, path), int(size), version, 0, int(size))
        for path, (size, version) in sorted(sizes.items())
    ]


def sample(paths: Sequence[str], crawl: CommonCrawl) -> list[str]:
    """Draw files by the hash of (seed, path), so that neither their order nor their number matters."""
    if crawl.files is None:
        return sorted(paths)
    if crawl.files > len(paths):
        raise UsageError(
            f"`commoncrawl.files` is {crawl.files}, but {crawl.snapshot} has {len(paths)} {crawl.kind} files"
        )
    return sorted(
        sorted(paths, key=lambda path: digest16("commoncrawl", str(crawl.seed), path))[: crawl.files]
    )


def _read_listing(crawl: CommonCrawl, access: Access) -> list[str]:
    url = _url(crawl, f"crawl-data/{crawl.snapshot}/{crawl.kind}.paths.gz")
    data = read_whole(url, access)
    try:
        paths = gzip.decompress(data).decode().split()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"the snapshot's list of files cannot be read: {error}", where=url) from error
    if not paths or any(
        not path.startswith(f"crawl-data/{crawl.snapshot}/") or ".." in path for path in paths
    ):
        raise InputError(
            "the snapshot's list of files names something else", where=url, hint="check `snapshot` and `base`"
        )
    return paths


def _url(crawl: CommonCrawl, path: str) -> str:
    return f"{crawl.base.rstrip('/')}/{path}"


def _cache_file(crawl: CommonCrawl) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gristmill" / "commoncrawl"
    return (
        folder / f"{crawl.snapshot}-{crawl.kind}-{hashlib.sha256(crawl.base.encode()).hexdigest()[:12]}.json"
    )


def _write(cache: Path, known: dict[str, list[str]]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    aside = cache.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(known))
    aside.replace(cache)
