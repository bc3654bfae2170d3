"""Keeping access keys out of what is stored and shown: signatures in URLs, and options of storage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "***"
# Parameters of presigned URLs: of S3 (versions 4 and 2), CloudFront, Google Cloud Storage, Azure and what
# calls its own by a plain name.
_SIGNED = (
    r"x-amz-[a-z-]+|x-goog-[a-z-]+|signature|awsaccesskeyid|googleaccessid|expires|policy|key-pair-id"
    r"|sig|se|sp|sv|sr|st|spr|skoid|sktid|skt|ske|sks|skv|token|access_token|api[_-]?key|secret|password"
)
_SECRET = r"x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|signature|sig|token"
_SECRET += r"|access_token|api[_-]?key|secret|password"
_QUERY = re.compile(r"(?i)(?<=[a-z0-9])(://[^\s?#'\"<>`]*)\?([^\s#'\"<>`]*)")
_HAS_SECRET = re.compile(rf"(?i)(?:^|&)(?:{_SECRET})=")
_PARAMETER = re.compile(rf"(?i)(?:{_SIGNED})(?:=.*)?")
_USER = re.compile(r"(?i)(?<=[a-z0-9])://[^\s/?#@'\"<>`:]*:[^\s/?#@'\"<>`]*@")


def public_url(text: str) -> str:
    """Return a text with the signatures of URLs in it struck out, and passwords before a host; two signatures
    of one URL give one text."""
    return _QUERY.sub(_without_signature, _USER.sub(f"://{HIDDEN}@", text))


def _without_signature(found: re.Match[str]) -> str:
    if not _HAS_SECRET.search(found[2]):
        return found[0]
    kept = [part for part in found[2].split("&") if not _PARAMETER.fullmatch(part)]
    return f"{found[1]}?{'&'.join([*kept, HIDDEN])}"


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
