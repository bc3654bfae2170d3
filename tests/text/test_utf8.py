"""Bytes are UTF-8 where Python's decoder takes them, wherever a window of 64 bytes ends."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.extract.decoding.charset import decode_utf8
from gristmill.text.utf8 import is_utf8

# Bytes on both sides of every border of the Unicode Standard's table 3-7.
BORDERS = (
    0x00, 0x01, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
    0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
)  # fmt: skip
POINTS = "\x01A\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"


def by_decoder(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("before", [0, 61, 62, 63])
def test_every_sequence_of_bytes_at_borders_is_judged_as_the_decoder_does(before: int) -> None:
    for length in (1, 2, 3):
        for sequence in itertools.product(BORDERS, repeat=length):
            data = b"a" * before + bytes(sequence)
            assert is_utf8(data) == by_decoder(data), data
            assert is_utf8(data + b"z" * 70) == by_decoder(data), data


@given(
    st.integers(0, 130),
    st.lists(st.sampled_from(POINTS), max_size=40),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(BORDERS)), max_size=2),
    st.integers(0, 5),
)
def test_texts_with_bytes_changed_or_cut_off_are_judged_as_the_decoder_does(
    before: int, points: list[str], changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(b"a" * before + "".join(points).encode())
    for at, byte in changes:
        if at < len(data):
            data[at] = byte
    whole = bytes(data[: max(len(data) - cut, 0)])
    assert is_utf8(whole) == by_decoder(whole)


@pytest.mark.parametrize(
    "body",
    [b"", b"plain", "caf\xe9".encode(), b"caf\xe9", b"\xef\xbb\xbfmark", b"nul\0", "\ud7ff".encode() * 99],
)
def test_a_page_is_decoded_alike_where_kernels_are_loaded_and_where_not(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = decode_utf8(body)
    monkeypatch.delitem(sys.modules, "gristmill.text.utf8")
    assert decode_utf8(body) == compiled
