"""JSON that says what it must hash to: `{"body": ..., "sha256": digest of body, "timing": ..., ...}`.

The timing has a digest of its own, which nothing else depends on: seconds and memory differ from run to run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from gristmill.errors import IntegrityError
from gristmill.hashing import canonical_json, sha256_json


def seal_json(body: dict[str, Any], timing: dict[str, Any]) -> tuple[str, bytes]:
    """The digest of a body, and the canonical JSON of body and timing."""
    spelled, times = canonical_json(body), canonical_json(timing)
    digest = _sha256(spelled)
    return digest, b"".join((_HEAD, spelled, _middle(digest), times, _tail(_sha256(times))))


@contextmanager
def understood(path: Path | str) -> Iterator[None]:
    """Read what a sealed file says; raises IntegrityError, with its name, where that is not what is said
    there: a seal only tells that it is as somebody wrote it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        raise IntegrityError(
            f"`{path}` does not say what is said there:"
            f" {type(error).__name__}: {ascii(str(error))[1:-1][:200]}",
            hint="it was written by another release, or not by gristmill: do not use its folder",
        ) from error


def whole(value: Any, what: str) -> int:
    """A whole number of JSON in 64 bits; raises TypeError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not -_LIMIT <= value < _LIMIT:
        raise TypeError(f"{what} is no whole number in 64 bits: {ascii(value)[:40]}")
    return value


_LIMIT = 1 << 63
_HEAD = b'{"body":'


def _middle(digest: str) -> bytes:
    return f',"sha256":"{digest}","timing":'.encode()


def _tail(digest: str) -> bytes:
    return f',"timing_sha256":"{digest}"}}\n'.encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def open_sealed(path: Path, raw: bytes) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return body, timing and the body's digest; raises IntegrityError where they are not as written."""
    try:
        data = orjson.loads(raw)
        body, digest, timing = data["body"], str(data["sha256"]), data["timing"]
        if not (isinstance(body, dict) and isinstance(timing, dict)):
            raise TypeError("its body and timing must be objects")
        sealed = str(data["timing_sha256"]) if len(data) > 3 else None  # absent in earlier releases' files
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"`{path}` is not a whole record: {error}", hint="remove the step's folder and run again"
        ) from error
    if not _is_as_written(raw, digest, sealed) and (sealed is not None or sha256_json(body) != digest):
        found = sha256_json(body)
        what = "its body" if found != digest else "what stands beside its body"
        raise IntegrityError(
            f"`{path}` was altered: {what} is not what was written"
            f" (the body hashes to {found[:12]}…, it says {digest[:12]}…)"
        )
    return body, timing, digest


def _is_as_written(raw: bytes, digest: str, sealed: str | None) -> bool:
    """Whether every byte is as it was written: we write canonical JSON, so it need not be built anew."""
    middle, tail = _middle(digest), _tail(sealed) if sealed else b"}\n"
    at = raw.rfind(middle)
    if at < 0 or not raw.startswith(_HEAD) or not raw.endswith(tail):
        return False
    times = raw[at + len(middle) : len(raw) - len(tail)]
    return _sha256(raw[len(_HEAD) : at]) == digest and sealed in (None, _sha256(times))
