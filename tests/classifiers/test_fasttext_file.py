"""A fastText model that somebody else gives is whole, or refused before the library believes its sizes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gristmill.errors import InputError
from gristmill.fasttext_model import label_probabilities, open_model
from gristmill.filters.files import load_fasttext

WORDS, LABELS = ["</s>", "good", "bad"], ["__label__hq", "__label__lq"]
DIM, BUCKET = 4, 5


def head(
    *, dim: int = DIM, word_ngrams: int = 2, loss: int = 3, model: int = 3, bucket: int = BUCKET
) -> bytes:
    settings = (dim, 5, 5, 1, 5, word_ngrams, loss, model, bucket, 0, 0, 100)
    return struct.pack("<ii12id", 793_712_314, 12, *settings, 1e-4)


def entries(
    labels: Sequence[str] = LABELS, kept: Sequence[int] | None = None, seen: int = 3, kind: int = 0
) -> bytes:
    num_kept = -1 if kept is None else len(kept)
    sizes = struct.pack("<iiiqq", len(WORDS) + len(labels), len(WORDS), len(labels), 99, num_kept)
    named = [word.encode() + b"\0" + struct.pack("<qb", 7, kind) for word in WORDS]
    named += [label.encode() + b"\0" + struct.pack("<qb", seen, 1) for label in labels]
    pairs = [struct.pack("<ii", number, row) for number, row in enumerate(kept or ())]
    return sizes + b"".join(named) + b"".join(pairs)


def dense(rows: int, columns: int = DIM) -> bytes:
    values = np.linspace(-1, 1, rows * columns, dtype="<f4")
    return struct.pack("<?qq", False, rows, columns) + values.tobytes()


def quantised(rows: int, num_codes: int | None = None, last: int = 2) -> bytes:
    parts, width = 2, 2
    codes = bytes(number % 256 for number in range(rows * parts if num_codes is None else num_codes))
    centroids = struct.pack("<iiii", DIM, parts, width, last) + bytes(4 * 256 * DIM)
    norms = bytes(rows) + struct.pack("<iiii", 1, 1, 1, 1) + bytes(4 * 256)
    return struct.pack("<??qqi", True, True, rows, DIM, len(codes)) + codes + centroids + norms


PLAIN = head() + entries() + dense(len(WORDS) + BUCKET) + dense(len(LABELS))
SMALL = head() + entries(kept=[1, 0]) + quantised(len(WORDS) + 2) + dense(len(LABELS))


@pytest.mark.parametrize("data", [PLAIN, SMALL])
def test_a_whole_model_opens(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    found = label_probabilities(open_model(str(path)), "good bad words")
    assert sorted(label for _, label in found) == LABELS and sum(p for p, _ in found) == pytest.approx(
        1.0, abs=1e-3
    )


@pytest.mark.parametrize("data", [PLAIN, SMALL])
def test_a_model_that_is_cut_anywhere_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.bin"
    for length in range(len(data)):
        if length < 400 or length % 97 == 0 or length > len(data) - 50:
            path.write_bytes(data[:length])
            with pytest.raises(
                InputError, match=r"model\.bin` is not a fastText model: it (is cut|has wrong)"
            ):
                load_fasttext(str(path))
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="it ends at byte"):
        load_fasttext(str(path))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"some text, of no model whatever", "wrong file format"),
        (PLAIN[:4] + struct.pack("<i", 13) + PLAIN[8:], "its format is 13"),
        (head(model=1) + PLAIN[64:], "it is no classifier"),
        (head(dim=0) + PLAIN[64:], "its head says dim 0"),
        (head(dim=1 << 30) + PLAIN[64:], "cut off in its input matrix"),
        (head(loss=9) + PLAIN[64:], "its head says loss 9"),
        (head(bucket=0) + PLAIN[64:], "its head says bucket 0"),
        (head(bucket=6) + PLAIN[64:], "input matrix is 8 x 4, and its head says 9 x 4"),
        (head(word_ngrams=1 << 30) + PLAIN[64:], "its head says wordNgrams 1,073,741,824"),
        (head() + entries(seen=10**15) + PLAIN[-500:], "a label was seen 1,000,000,000,000,000 times"),
        (head() + entries(seen=-1) + PLAIN[-500:], "a label was seen -1 times"),
        (head() + entries(labels=[]) + PLAIN[-500:], "3 words, 0 labels"),
        (head() + entries(kind=1) + PLAIN[-500:], "in their order"),
        (head() + entries(kept=[0, 2]) + quantised(5) + dense(2), "names one beyond them"),
        (head() + entries(kept=[0]) + dense(4) + dense(2), "is not quantised"),
        (head() + entries(kept=[0]) + quantised(4, num_codes=7) + dense(2), "has 7 codes for 4 rows"),
        (head() + entries(kept=[0]) + quantised(4, last=1) + dense(2), "2 parts of 2 and 1 columns"),
    ],
)  # fmt: skip
def test_a_model_with_false_sizes_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said):
        open_model(str(path))
