"""URLs: the one reading of a host, and the one normalisation that tells equal addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# An authority longer than DNS allows names no host; Python's parser would normalise it, which is quadratic in
# combining marks. 255 octets of a name (RFC 1035 section 2.3.4), a user, a password and a port.
_AUTHORITY_CHARACTERS = 1024
_SCHEME = re.compile(r"https?:\/\/(www\.)?")
_TRACKING = re.compile(r"\?(utm_|ref|feed).*")


def listed_host(entry: str) -> str:
    """Return the host of a line of a list of domains, with or without a scheme, however long it is."""
    rest = entry.partition("://")[2] or entry
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return authority.rpartition("@")[2].partition(":")[0].lower().strip(".")


def host_of(url: str | None) -> str:
    """Return the host of a URL in lower case, without user, port and a last dot; "" where there is none."""
    url = url or ""
    authority = re.split("[/?#]", url[url.find("//") + 2 :], maxsplit=1)[0]
    if len(authority) > _AUTHORITY_CHARACTERS:
        return ""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # such as an unfinished IPv6 address
        return ""


def domain_of(url: str | None) -> str:
    """Return the host of a URL without a leading `www.`."""
    return host_of(url).removeprefix("www.")


def normalise_url(url: str) -> str:
    """Reduce a URL as C4 does: without scheme and `www.`, tracking, and last slashes.

    TFDS 4.9.10, text/c4_utils.py, normalize_url: a scheme goes wherever it stands, also within a path.
    """
    return _TRACKING.sub("", _SCHEME.sub("", url)).rstrip("/")
