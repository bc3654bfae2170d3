"""The kernel over eldc's tables answers as eldc does, to the bit; without its tables eldc itself is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.text import detection
from gristmill.text.eldc_tables import open_tables
from tests.text.test_detection import TEXTS

pytestmark = pytest.mark.skipif(detection.eldc is None, reason="eldc has no wheel for this Python")

# What its own walk over characters makes an exception of.
ODD = (
    *(
        "",
        "a",
        "it's",
        "'it's'",
        "it''s",
        "`a`b`",
        "l’eau",
        "’eau’",
        "l’’eau",
        "o’ ",
        "rock'n'roll'",
        "d'É'a",
    ),
    *(
        "ȺȾ letters of three bytes",
        "ȺbcdȾ",
        "ẞ Ẁ Ⴀ Ⴠ Ḁ ẞẟ",
        "ＡＢＣ ａｂｃ",
        "한국어 日本語 中文",
        "𠀀𠀁 a𠀂b",
        "🙂 ok 🙂a",
        "zero\0behind",
    ),
    *(
        "İstanbul IŞIK ı",
        "ЁЖИК ёжик",
        "Ελλάς ΕΛΛΆΣ",
        "x" * 1002,
        "é" * 501,
        "ab " * 333,
        "日" * 340,
        "a b " * 260,
    ),
    *("abcdef abcdefg abcdefghijkl abcdefghijklm " * 8, "y" * 999 + "é", "y" * 998 + "é" + "z"),
)


def told_both(texts: list[str]) -> tuple[list[tuple[int, float, int]], list[tuple[int, float, int]]]:
    raw = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, raw)])
    places = np.frombuffer(b"".join(raw) or b" ", np.uint8), ends[:-1].copy(), ends[1:].copy()
    both = detection._told_all(*places), detection._asked(*places)
    mine, its = ([*zip(*(column.tolist() for column in told), strict=True)] for told in both)
    return mine, its


def test_the_tables_of_the_release_that_is_asked_for_are_read() -> None:
    assert detection._tables() is not None


def test_pieces_are_told_as_eldc_tells_them() -> None:
    texts = [*ODD, *TEXTS.values(), *(text.upper() for text in TEXTS.values())]
    texts += [
        text[at : at + 300] for text in (" ".join(TEXTS.values()), "".join(ODD)) for at in range(0, 1500, 7)
    ]
    mine, its = told_both(texts)
    assert [(text, one) for text, one in zip(texts, mine, strict=True)] == [*zip(texts, its, strict=True)]
    assert len({code for code, _, _ in mine}) >= 10


@given(st.lists(st.text(max_size=400), max_size=6))
def test_any_text_is_told_as_eldc_tells_it(texts: list[str]) -> None:
    mine, its = told_both(texts)
    assert mine == its


def test_another_build_is_not_read(tmp_path: Path) -> None:
    whole = bytearray(Path(detection.eldc._eldc.__file__).read_bytes())
    at = whole.index(bytes.fromhex("00b5304700612c47003e2a4700f52847"))
    whole[at - 5000] ^= 1  # a letter less
    path = tmp_path / "other.so"
    languages = detection.eldc.LANGUAGES
    for content in (bytes(whole), bytes(whole[: at + 4096]), b"no tables"):
        path.write_bytes(content)
        other = SimpleNamespace(_eldc=SimpleNamespace(__file__=str(path)), LANGUAGES=languages)
        assert open_tables(other) is None


def test_without_tables_a_batch_is_told_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array([*ODD, *TEXTS.values(), *(text * 60 for text in TEXTS.values())], pa.large_string())
    codes, shares = detection.detect_batch(texts)
    monkeypatch.setattr(detection, "_tables", lambda: None)
    others, other_shares = detection.detect_batch(texts)
    assert codes == others
    assert np.array_equal(shares, other_shares, equal_nan=True)
