"""The extractor's process: reads batches of pages on stdin, writes results on stdout, may be killed at any
moment.

Started by `gristmill.pipeline.extract.child` as `python -m gristmill.pipeline.extract.worker_main
'{"extractor": ...}'`. It imports nothing of Arrow, Ray or the recipe, so that it starts in tens of
milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from gristmill.pipeline.extract.decoding.charset import decode_utf8, is_declared
from gristmill.pipeline.extract.decoding.content import (
    Decoded,
    TooLarge,
    decode_content,
    is_coded,
    may_be_coded,
)
from gristmill.pipeline.extract.decoding.sniffing import binary_type, looks_like_html
from gristmill.pipeline.extract.extracted import Extracted, Form
from gristmill.pipeline.extract.extractors import Extractor, load_extractor
from gristmill.pipeline.extract.frames import (
    FAILED,
    LANGUAGE,
    READY,
    REMOVED,
    RESULT,
    TEXT,
    Page,
    read_batch,
    shared_memory,
)
from gristmill.pipeline.extract.pdf import is_pdf, pdf_text
from gristmill.pipeline.extract.statements import of_page
from gristmill.pipeline.sources.wellformed import clean_text
from gristmill.text.detection import detect_markup

_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_NEAR_LIMIT_BYTES = 128 << 20
_PIPE_BYTES = (
    1 << 20
)  # the most an ordinary user may ask Linux for; beyond a user's share pipes stay as they are
_SMALLEST_PIPE_BYTES = 4 << 10
_TOLD_SECONDS = 0.1  # of CPU time: a page that took less need not say so
_PROBE_HTML = (
    b"<html><head><title>probe</title></head><body><article>"
    + 8 * (b"<p>A plain paragraph of ordinary words, long enough to be taken for the text of a page.</p>")
    + b"</article></body></html>"
)

Result = tuple[int, dict[str, Any], bytes]


def main() -> None:
    options = json.loads(sys.argv[1])
    _die_with_parent(options["parent"])
    # Whatever an extractor prints must not end up between the frames.
    results = _Results(os.dup(1), options["wake"])
    os.dup2(2, 1)
    extract = _load(options)
    shared = shared_memory(options["shared"], writes=False)
    statm = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else -1
    problem = _probe(statm, extract, options)
    gc.collect()
    gc.freeze()
    results.write((READY, {}, b"") if problem is None else problem)
    results.ring()
    _widen(0)
    # The first page is waited for without a bound (its sender's end closes the pipe): a machine may be
    # paused between this process's start and it, and a fresh process that ends is that page's failure.
    patience: float | None = None
    while select.select([0], [], [], patience)[0] and (pages := read_batch(sys.stdin.buffer, shared)):
        patience = options["idle_seconds"]
        for page in pages:
            _limit_memory(statm, options["memory_bytes"])
            began = time.process_time()
            result = _process(page, extract, options)
            if (spent := time.process_time() - began) > _TOLD_SECONDS:
                result[1]["cpu_seconds"] = round(spent, 3)
            results.write(result)
        results.ring()


class _Results:
    """Sends results one by one, and wakes the parent when the batch is done or the pipe half full."""

    def __init__(self, descriptor: int, wake: int) -> None:
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._wake = wake
        self._half_bytes = _widen(descriptor) // 2
        self._unrung_bytes = 0

    def write(self, result: Result) -> None:
        kind, said, text = result
        data = json.dumps(said).encode()
        frame = memoryview(RESULT.pack(kind, len(data), len(text)) + data + text)
        self._unrung_bytes += len(frame)
        if self._unrung_bytes > self._half_bytes:
            self.ring()
        while frame:
            frame = frame[self._file.write(frame) or 0 :]

    def ring(self) -> None:
        os.write(self._wake, b"\0")
        self._unrung_bytes = 0


def _widen(descriptor: int) -> int:
    """Make a pipe hold a megabyte if that is allowed; returns how much it holds."""
    if sys.platform != "linux":
        return _SMALLEST_PIPE_BYTES
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)


def _load(options: dict[str, Any]) -> Extractor:
    if hostile := options.get("loader"):  # tests name an extractor of their own as module:function
        import importlib

        module, _, function = hostile.partition(":")
        factory: Callable[[], Extractor] = getattr(importlib.import_module(module), function)
        return factory()
    return load_extractor(options["extractor"], options["favor"], options["metadata"], Form(*options["form"]))


def _process(page: Page, extract: Extractor, options: dict[str, Any]) -> Result:
    """Turn one page into one result, whatever happens short of the end of this process."""
    try:
        return _extract(page, extract, options)
    except TooLarge:
        return _failed("too_large", f"the body inflates to more than {options['max_page_bytes']} bytes")
    except MemoryError:
        return _failed("memory", f"the page needs more than {options['memory_bytes']} bytes")
    except RecursionError as error:
        return _failed("too_deep", str(error))
    except Exception as error:  # an extractor may raise anything; one page must not cost the others
        return _failed("extractor_error", f"{type(error).__name__}: {error}"[:300])


def _extract(page: Page, extract: Extractor, options: dict[str, Any]) -> Result:
    content = Decoded(page.payload)
    is_signed = bool(page.content_encoding) or is_coded(page.payload)
    if is_signed or may_be_coded(page.payload):
        content = decode_content(page.payload, page.content_encoding, options["max_page_bytes"])
    if options["pdf"] == "text" and is_pdf(content.body):
        return _of_pdf(content.body)
    if page.content_type == "application/pdf":
        return REMOVED, {"rule": "extract.content_type"}, b""
    if is_signed or content.is_inflated:
        if binary_type(content.body):
            return REMOVED, {"rule": "extract.binary"}, b""
        if not page.content_type and not looks_like_html(content.body):
            return REMOVED, {"rule": "extract.content_type"}, b""
    html, charset = decode_utf8(content.body, page.charset or None)
    if options["html_languages"]:
        language, score = detect_markup(html.decode())
        if language not in options["html_languages"]:
            return LANGUAGE, {"language": language, "score": score}, b""
    found = (
        Extracted(html.decode().strip())
        if page.content_type == "text/plain"
        else extract(html, page.url or None)
    )
    text = clean_text(found.text)
    if not text and _was_near_limit():
        # Libraries turn a failed allocation into an empty tree.
        return _failed("memory", f"no text, and about {options['memory_bytes']} bytes taken")
    said: dict[str, Any] = {"charset": charset}
    if found.language is not None:
        said["language"], said["score"] = found.language
    if options["metadata"]:
        said |= {
            "title": found.title,
            "author": found.author,
            "site_name": found.site_name,
            "canonical_url": found.canonical_url,
        }
        said["date"] = found.date.isoformat() if found.date else None
    if options["statements"]:
        said |= of_page(html)
    if charset != "utf-8":
        said["charset_told"] = is_declared(content.body, page.charset or None, charset)
    if content.damage:
        said["damage"] = content.damage
    if found.taken_from != "page":
        said["from"] = found.taken_from
    if found.caps:
        said["caps"] = list(found.caps)
    return TEXT, said, text.encode()


def _of_pdf(body: bytes) -> Result:
    """Make a document of a PDF's text layer."""
    try:
        text = clean_text(pdf_text(body))
    except ValueError as error:
        return _failed("damaged_pdf", str(error)[:300])
    if not text.strip():
        return REMOVED, {"rule": "pdf.no_text_layer"}, b""
    return TEXT, {"charset": None}, text.encode()


def _failed(error: str, message: str) -> Result:
    return FAILED, {"error": error, "message": message}, b""


def _probe(statm: int, extract: Extractor, options: dict[str, Any]) -> Result | None:
    """Extract a page that anyone can, with the memory that a page is given; what keeps it from that is the
    machine's doing and no page's."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    needed = 2 * options["memory_bytes"] + (_address_bytes(statm) if statm >= 0 else 0)
    if resource.RLIM_INFINITY != hard < needed:
        message = f"its address space is limited to {hard:,} bytes, it may need {needed:,}"
        hint = "raise the limit (`ulimit -v`, or that of the batch system), or lower `extract.memory_bytes`"
        return FAILED, {"error": "start", "message": message, "hint": hint}, b""
    _limit_memory(statm, options["memory_bytes"])
    page = Page("https://probe.invalid/", "text/html", "utf-8", "", _PROBE_HTML)
    kind, said, _ = _process(page, extract, {**options, "html_languages": None})
    if kind != FAILED:
        return None
    return FAILED, {"error": "start", "message": f"it fails on a plain page: {said['message']}"}, b""


def _address_bytes(statm: int) -> int:
    return int(os.pread(statm, 64, 0).split(b" ", 1)[0]) * _PAGE_BYTES


def _limit_memory(statm: int, num_bytes: int) -> None:
    """Allow this page so much address space on top of what the process has now: the same for the first page
    and the thousandth.

    The hard limit stays: who may not raise it (CAP_SYS_RESOURCE) may not set it to infinity either.
    """
    if statm >= 0:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = _address_bytes(statm) + num_bytes
        resource.setrlimit(
            resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _was_near_limit() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or sys.platform != "linux":
        return False
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmPeak:")[2].split(None, 1)[0]) << 10
    return peak > limit - _NEAR_LIMIT_BYTES


def _die_with_parent(parent: int) -> None:
    """Leave no orphan, and be the first that an out-of-memory kernel kills."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    main()
