"""Storage behind fsspec: how it is opened, how patiently it is asked, and which requests had to be made
again.

Only whole answers count: a body that breaks off, drips or hangs is asked for anew. What the other side
refuses for good (no such object, no access) is an answer. The libraries' own silent retries are turned off,
so that each one is seen and listed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gristmill.errors import UsageError
from gristmill.redact import public_url

_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, IsADirectoryError)
_FINAL_STATUSES = (400, 401, 403, 404, 405, 410)
_FIRST_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 20.0
_LISTED_RETRIES = 100  # of one task; more are only counted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """How patiently remote storage is asked; the options hold secrets and are never shown."""

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    attempts: int = 8
    seconds: float = 60.0  # for one request
    requests_per_second: float | None = None  # of one process


class GaveUp(Exception):
    """A request that failed for good: `attempts` were made, the last one's error is the cause."""

    def __init__(self, reason: str, attempts: int, *, final: bool) -> None:
        super().__init__(reason)
        self.reason, self.attempts, self.final = reason, attempts, final


def patiently(
    attempt: Callable[[Mapping[str, float]], T],
    where: str,
    access: Access,
    filesystem: Any,
    seconds: float = 0,
) -> T:
    """Call until it succeeds; pauses double, with jitter, so that many workers do not come back at once.

    `attempt` is given its deadline (`seconds` if that is longer than the access says) as keyword arguments,
    which filesystems of fsspec's asynchronous kind take. Raises FileNotFoundError and FileExistsError as they
    are, GaveUp for all else.
    """
    timeout = {"timeout": max(seconds, access.seconds)} if getattr(filesystem, "async_impl", False) else {}
    pause = _FIRST_PAUSE_SECONDS
    for number in range(1, access.attempts + 1):
        _wait_for_turn(access.requests_per_second)
        try:
            return attempt(timeout)
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # every library behind fsspec has its own tree of errors
            final = isinstance(error, _ANSWERS) or getattr(error, "status", None) in _FINAL_STATUSES
            if final or number == access.attempts:
                raise GaveUp(one_line(error, access.options), number, final=final) from error
            _list_retry(where, number, one_line(error, access.options))
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
    raise AssertionError("unreachable")


def open_filesystem(url: str, access: Access) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL and the path in it; raises UsageError where there is none."""
    import fsspec

    if urlsplit(url).password is not None:
        raise UsageError(
            "a URL holds a password",
            where=url.split("://")[0] + "://...",
            hint="put it into `storage_options`",
        )
    options = {"use_listings_cache": False, **access.options}
    if url.startswith(("s3://", "s3a://")):
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}, **options.get("config_kwargs", {})}
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        reason = one_line(error, access.options)
        raise UsageError(
            f"cannot use this kind of URL: {reason}", where=url, hint="for s3:// install gristmill[s3]"
        ) from error
    if hasattr(filesystem, "call_s3"):
        filesystem.retries = 1
    return filesystem, path


def version_of(info: Mapping[str, Any]) -> str:
    """Return what tells one content of an object from another, as `<key>:<value>`; empty where the store says
    nothing."""
    named = (
        (key, _spell(info[key]))
        for key in ("ETag", "etag", "blob_id", "LastModified", "mtime", "created")
        if info.get(key)
    )
    return ":".join(next(named, ("", "")))


def one_line(error: BaseException, options: Mapping[str, Any]) -> str:
    """Spell an error without a line break and without a secret that the options hold."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    for secret in sorted(_texts(options), key=len, reverse=True):
        text = text.replace(secret, "***")
    return public_url(text)[:300]


_retries: list[dict[str, Any]] = []
_num_retries = 0


def _list_retry(where: str, number: int, error: str) -> None:
    global _num_retries
    _num_retries += 1
    if len(_retries) < _LISTED_RETRIES:
        _retries.append({"where": where, "attempt": number, "error": error})


def take_retries() -> dict[str, Any]:
    """Return what this process had to ask for again since the last call: their number, and the first hundred
    by name."""
    global _num_retries
    taken = {"retries": _num_retries, "retried": list(_retries)} if _num_retries else {}
    _retries.clear()
    _num_retries = 0
    return taken


_turn_lock = threading.Lock()
_next_turn = 0.0


def _wait_for_turn(requests_per_second: float | None) -> None:
    """Space the requests of this process evenly."""
    global _next_turn
    if requests_per_second:
        with _turn_lock:
            now = time.monotonic()
            _next_turn = max(_next_turn + 1 / requests_per_second, now)
            pause = _next_turn - now
        time.sleep(pause)


def _texts(value: Any) -> list[str]:
    """The strings of nested options that may be secrets; short ones are words such as a region."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return [value] if isinstance(value, str) and len(value) > 7 and "://" not in value else []


def _spell(version: Any) -> str:
    return str(version.timestamp()) if isinstance(version, datetime) else str(version).strip('"')
