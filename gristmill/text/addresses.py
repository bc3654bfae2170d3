"""Hosts of whole columns of URLs: `gristmill.urls.host_of` of each, by a kernel where the address is plain.

    hosts = hosts_of(table["url"])        # large_string, "" where a URL is null or names no host
    domains = domains_of(table["url"])    # the same without a leading `www.`

Plain is `scheme://name` with a name of ASCII letters, digits, dots, hyphens and underscores, and a port at
most: nearly all of a crawl. Any other (a user, an address in brackets, other scripts) is read one by one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.words import text_spans
from gristmill.urls import host_of

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_ENDS = types.Array(types.int64, 1, "C")
_OUT = types.Array(types.uint8, 1, "C")
_LONGEST_NAME = 255  # octets (RFC 1035 section 2.3.4): a longer one is for the careful reader


def hosts_of(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the host of each URL in lower case, without user, port and last dots; "" where there is none."""
    return _read(urls, without_www=False)


def domains_of(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the host of each URL without a leading `www.`."""
    return _read(urls, without_www=True)


def _read(urls: pa.Array | pa.ChunkedArray, *, without_www: bool) -> pa.Array:
    starts, stops, data = text_spans(urls)
    starts, stops = (np.ascontiguousarray(places) for places in (starts, stops))
    ends = np.empty(len(starts) + 1, np.int64)
    out = np.empty(int(np.minimum(stops - starts, _LONGEST_NAME + 1).sum()), np.uint8)
    odd = np.zeros(len(starts), np.uint8)
    _hosts(data, starts, stops, without_www, ends, out, odd)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]])]
    hosts = pa.Array.from_buffers(pa.large_string(), len(starts), buffers)
    places = np.flatnonzero(odd)
    return _with_odd(hosts, urls, places, without_www) if len(places) else hosts


def _with_odd(
    hosts: pa.Array, urls: pa.Array | pa.ChunkedArray, places: npt.NDArray[np.int64], without_www: bool
) -> pa.Array:
    """Put in what the careful reader says of the URLs at `places`."""
    read = [host_of(url) for url in urls.take(pa.array(places)).to_pylist()]
    said = [host.removeprefix("www.") for host in read] if without_www else read
    which = np.arange(len(hosts))
    which[places] = len(hosts) + np.arange(len(places))
    both = pa.concat_arrays([hosts, pa.array(said, pa.large_string())])
    return both.take(pa.array(which))


@part
def _is_www(out, at):  # type: ignore[no-untyped-def]
    return out[at] == 119 and out[at + 1] == 119 and out[at + 2] == 119 and out[at + 3] == 46


@kernel(types.void(BYTES, _PLACES, _PLACES, types.boolean, _ENDS, _OUT, _OUT))
def _hosts(data, starts, stops, without_www, ends, out, odd):  # type: ignore[no-untyped-def]
    at = 0
    ends[0] = 0
    for row in range(len(starts)):
        place, stop = starts[row], stops[row]
        begun = at
        if place < stop:
            # A scheme: a letter, then letters, digits, `+`, `-`, `.`, up to `://`.
            plain = 97 <= (data[place] | 32) <= 122
            while plain and place < stop and data[place] != 58:
                code = data[place]
                plain = 97 <= (code | 32) <= 122 or 48 <= code <= 57 or (43 <= code <= 46 and code != 44)
                place += 1
            plain = plain and place + 2 < stop and data[place + 1] == 47 and data[place + 2] == 47
            place += 3
            first = place
            while plain and place < stop:
                code = data[place]
                if 65 <= code <= 90:
                    code += 32
                if 97 <= code <= 122 or 48 <= code <= 57 or code == 46 or code == 45 or code == 95:
                    plain = place - first < _LONGEST_NAME
                    if plain:
                        out[at] = code
                        at += 1
                    place += 1
                else:
                    break
            if plain and place < stop and data[place] == 58:
                place += 1
                while place < stop and 48 <= data[place] <= 57:
                    place += 1
            # What follows a plain name is a path, a query or a fragment of plain characters.
            plain = plain and (place >= stop or data[place] == 47 or data[place] == 63 or data[place] == 35)
            if plain:
                while at > begun and out[at - 1] == 46:
                    at -= 1
                if without_www and at - begun >= 4 and _is_www(out, begun):
                    for i in range(begun + 4, at):
                        out[i - 4] = out[i]
                    at -= 4
            else:
                at, odd[row] = begun, 1
        ends[row + 1] = at
