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

from gristmill.errors import InputError, UsageError
from gristmill.redact import public_url

_FINAL_STATUSES = (301, 400, 401, 403, 404, 405, 410, 501)
_REGION, _SILENT = "region", "silent"
_FINAL_CODES = {  # of S3, with what to do; numbers are those of answers to HEAD, which have no body
    **dict.fromkeys(("AuthorizationHeaderMalformed", "PermanentRedirect", "301"), _REGION),
    "IllegalLocationConstraintException": _REGION,
    "400": _SILENT,
    **dict.fromkeys(("InvalidBucketName", "InvalidToken", "NotImplemented"), ""),
}
_SILENT_HINT = (
    "the store gives no reason: most often the region or the endpoint is another one (AWS_REGION,"
    " `storage_options: {client_kwargs: {region_name: ...}}`), or the keys have expired"
)
_ENDPOINT_HINT = "nobody answers at this address: check it, and `endpoint_url` in `storage_options`"
_UNREACHED = ("EndpointConnectionError", "ClientConnectorError", "ClientConnectorDNSError")
_BUCKET_HINT = "create the bucket, or name the one that was meant"
_FIRST_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 20.0
_CONNECTIONS = 64  # to one store at a time, as verbs ask side by side; botocore's own bound is 10
_LISTED_RETRIES = 100  # of one task; more are only counted

_PACKAGES = {  # that bring a scheme to fsspec
    **dict.fromkeys(("s3", "s3a"), "'gristmill[s3]'"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "hf": "huggingface_hub",
    "hdfs": "pyarrow",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """How patiently remote storage is asked; the options hold secrets and are never shown."""

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    attempts: int = 8
    seconds: float = 60.0  # for one request
    requests_per_second: float | None = None  # of one process


class ObjectChanged(Exception):
    """An object is another one than when its first bytes were read."""


_ANSWERS = (
    *(FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, IsADirectoryError),
    ObjectChanged,
)


class GaveUp(Exception):
    """A request that failed for good: `attempts` were made, the last one's error is the cause."""

    def __init__(self, reason: str, attempts: int, *, final: bool, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.attempts, self.final, self.hint = reason, attempts, final, hint


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
        except (FileNotFoundError, FileExistsError) as error:
            if error_code(error) != "NoSuchBucket":
                raise
            raise GaveUp(one_line(error, access.options), number, final=True, hint=_BUCKET_HINT) from error
        except Exception as error:  # every library behind fsspec has its own tree of errors
            code = error_code(error)
            final = isinstance(error, _ANSWERS) or getattr(error, "status", None) in _FINAL_STATUSES
            final |= code in _FINAL_CODES
            if final or number == access.attempts:
                raise GaveUp(
                    one_line(error, access.options), number, final=final, hint=_hint_of(error)
                ) from error
            _list_retry(public_url(where), number, one_line(error, access.options))
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
    raise AssertionError("unreachable")


def error_code(error: BaseException) -> str:
    """What S3 calls an error; empty where it is none of its."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def _answer(error: BaseException) -> Mapping[str, Any]:
    """What botocore kept of the answer that an error was made of; empty where there is none."""
    said = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    return said if isinstance(said, Mapping) else {}


def _hint_of(error: BaseException) -> str | None:
    """What to do about a request that failed for good, where that is known."""
    if type(error).__name__ in _UNREACHED:
        return _ENDPOINT_HINT
    answer, kind = _answer(error), _FINAL_CODES.get(error_code(error))
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    if kind == _SILENT and not region:
        return _SILENT_HINT
    if kind in (_REGION, _SILENT):
        there, name = (f", {region}", region) if region else ("", "...")
        return (
            f"the bucket lies in another region{there}: set AWS_REGION, or `storage_options: {{client_kwargs:"
            f" {{region_name: {name}}}}}`"
        )
    return None


def open_filesystem(url: str, access: Access) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL and the path in it; raises UsageError where there is none, and
    InputError where one that connects at once (FTP, SFTP) does not reach its server."""
    import fsspec

    if urlsplit(url).password is not None:
        raise UsageError(
            "a URL holds a password",
            where=url.split("://")[0] + "://...",
            hint="put it into `storage_options`",
        )
    options = {"use_listings_cache": False, **access.options}
    if url.startswith(("s3://", "s3a://")):
        _check_endpoint(url, options)
        own = {"retries": {"total_max_attempts": 1}, "max_pool_connections": _CONNECTIONS}
        options["config_kwargs"] = {**own, **options.get("config_kwargs", {})}
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        reason, scheme = one_line(error, access.options), url.partition("://")[0]
        package = _PACKAGES.get(scheme)
        hint = (
            f"`pip install {package}` lets `{scheme}://` be read"
            if package
            else f"`{scheme}://` is none that fsspec knows: use s3://, gs://, az://, https:// or a path"
        )
        raise UsageError(
            f"cannot use this kind of URL: {reason}", where=public_url(url), hint=hint
        ) from error
    except Exception as error:  # every library has its own tree of errors
        raise InputError(
            f"cannot open a connection: {one_line(error, access.options)}",
            where=public_url(url),
            hint="check the host, the port and the access: `storage_options: {username: ..., password: ...}`",
        ) from error
    if hasattr(filesystem, "call_s3"):
        filesystem.retries = 1
    return filesystem, path


def _check_endpoint(url: str, options: Mapping[str, Any]) -> None:
    endpoint = options.get("endpoint_url") or (options.get("client_kwargs") or {}).get("endpoint_url")
    if endpoint and not str(endpoint).startswith(("http://", "https://")):
        raise UsageError(
            "`endpoint_url` in `storage_options` begins with neither `http://` nor `https://`",
            where=public_url(url),
            hint="write it in full, such as `http://127.0.0.1:9000`",
        )


def check_whole(num_bytes: int, asked: int, most_whole: int) -> None:
    """Raise NotImplementedError where a body is not what was asked for, and too large to be kept whole."""
    if num_bytes > max(asked, most_whole):
        raise NotImplementedError(
            f"the server ignores ranges: it sends all of {num_bytes:,} bytes where {asked:,} were asked for,"
            f" and files above {most_whole:,} bytes are not kept whole"
        )


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
