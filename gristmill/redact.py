"""Keeping access keys out of what is stored and shown: signatures in URLs, and options of storage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
# Parameters of presigned URLs: of S3 (versions 4 and 2), CloudFront, Google Cloud Storage, Azure and what
# calls its own by a plain name.
_SIGNED = (
    r"x-amz-[a-z-]+|x-goog-[a-z-]+|signature|awsaccesskeyid|googleaccessid|expires|policy|key-pair-id"
    r"|sig|se|sp|sv|sr|st|spr|skoid|sktid|skt|ske|sks|skv|token|access_token|api[_-]?key|secret|password"
)
# Names that hold a secret by themselves, also behind a prefix (`x-amz-security-token`, `q-signature`): of the
# stores above, of Tencent's, of Akamai's and Cloudflare's edges, and of sessions.
_SECRET = (
    r"(?:[a-z0-9._-]{1,40}[._-])?(?:signature|sig|token|secret|password|passwd|credential|hmac|jwt|session)"
    r"|auth|authorization|bearer|hdnea|hdnts|hdntl|verify|api[_-]?key|sessionid|jsessionid|phpsessid"
)
# Of a URL with its scheme, and of a path that stands alone, as HTTP clients name it in their errors.
_QUERY = re.compile(
    r"(?i)((?<=[a-z0-9])://[^\s?#'\"<>`]*|(?<![^\s'\"<>`])/[^\s?#'\"<>`]*(?=\?))"
    r"(?:\?([^\s#'\"<>`]*))?(?:#([^\s'\"<>`]*))?"
)
_IS_SECRET = re.compile(rf"(?i)(?:{_SECRET})")
_IS_SIGNED = re.compile(rf"(?i)(?:{_SIGNED}|key|q-[a-z-]+|{_SECRET})")
_IN_PATH = re.compile(rf"(?i);(?:{_SECRET})=[^/;?#]*")
_USER = re.compile(r"(?i)(?<=[a-z0-9])://[^\s/?#@'\"<>`:]*:[^\s/?#@'\"<>`]*@")
# `key` is Google's name of an API key, and many a store's name of an object: a value that ends as a file's
# name does is no secret.
_FILE_NAME = re.compile(r"(?i)[^.]\.[a-z0-9]{1,8}")
_PARTS = re.compile(r"[&?;#]")
_MOST_DECODINGS = 5  # of what was encoded again and again; deeper, the parameter is taken for a secret


def public_url(text: str) -> str:
    """Return a text with the signatures of URLs in it struck out, and passwords before a host; two signatures
    of one URL give one text."""
    return _QUERY.sub(_without_signature, _USER.sub(f"://{HIDDEN}@", text))


def _without_signature(found: re.Match[str]) -> str:
    place, query, fragment = _IN_PATH.sub(f";{HIDDEN}", found[1]), found[2], found[3]
    name, mark, rest = _cut_at_encoded_query(place)
    if mark and _holds_secret(rest):
        place = f"{name}{mark}{HIDDEN}"
    if query is not None:
        parts = query.split("&")
        if any(map(_holds_secret, parts)):
            parts = [*(part for part in parts if not (_is_signed(part) or _holds_secret(part))), HIDDEN]
        place += f"?{'&'.join(parts)}"
    if fragment is not None:
        place += f"#{HIDDEN if any(map(_holds_secret, fragment.split('&'))) else fragment}"
    return place


_ENCODED_QUERY = re.compile(r"(?i)%(?:25)*(?:3f|26|23)")


def _cut_at_encoded_query(place: str) -> tuple[str, str, str]:
    """Cut a path where an encoded `?`, `&` or `#` stands in it: before it, the mark, and after it."""
    found = _ENCODED_QUERY.search(place)
    return (place[: found.start()], found[0], place[found.end() :]) if found else (place, "", "")


def _name(parameter: str) -> str:
    return unquote(parameter.partition("=")[0]).removeprefix("amp;")


def _is_signed(parameter: str) -> bool:
    return _IS_SIGNED.fullmatch(_name(parameter)) is not None


def _holds_secret(parameter: str) -> bool:
    """Whether a parameter is a secret, or what it is once more decoded holds one: another URL, or a query."""
    for _ in range(_MOST_DECODINGS):
        if any(map(_is_secret, _PARTS.split(parameter))) or _USER.search(parameter):
            return True
        decoded = unquote(parameter)
        if decoded == parameter:
            return False
        parameter = decoded
    return True


def _is_secret(parameter: str) -> bool:
    name, equals, value = _name(parameter), *parameter.partition("=")[1:]
    if name.lower() == "key":
        return bool(value) and _FILE_NAME.search(unquote(value)[-10:]) is None
    return bool(equals) and _IS_SECRET.fullmatch(name) is not None


def holds_secret(value: Any) -> bool:
    """Whether something said in a recipe holds options of storage, or a URL with a signature or password."""
    if isinstance(value, str):
        return public_url(value) != value
    if isinstance(value, Mapping):
        return any(
            (key == "storage_options" and bool(item)) or holds_secret(item) for key, item in value.items()
        )
    return isinstance(value, Sequence) and any(map(holds_secret, value))


def shown_override(override: str) -> str:
    """Spell `key=value` as it may be printed: a value that holds a secret is struck out."""
    key, equals, _ = override.partition("=")
    if equals and "storage_options" in override:
        return f"{key}={HIDDEN}"
    return public_url(override)


def struck_out(text: str, arguments: Sequence[str]) -> str:
    """Return a message without the secrets that these command-line arguments hold, and without signatures."""
    for argument in arguments:
        if "storage_options" in argument or argument.startswith("--storage-option="):
            for secret in sorted(_WORD.findall(argument.partition("=")[2]), key=len, reverse=True):
                text = text.replace(secret, HIDDEN)
    return public_url(text)


_WORD = re.compile(r"[^\s{}\[\],:'\"=]{6,}(?=[\s}\],'\"]|$)")
