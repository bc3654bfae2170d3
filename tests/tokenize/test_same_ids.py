"""The fast encoder gives the reference's ids on every real text there is, and on strings of any Unicode."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from tests.support.small_corpus import train_tokenizer, write_documents

BATCH = 200


def realweb(folder: Path) -> Iterator[str]:
    """The text of every page, whatever of it is worth reading."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    for path in sorted((folder / "realweb").glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                page = record.reader.read()
                yield extract_plain_text(bytes_to_str(page, detect_encoding(page)), main_content=False)


def sources(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "sources").rglob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from (str(json.loads(line)["text"]) for line in lines)


def any_unicode(count: int) -> Iterator[str]:
    """Strings of code points of all planes, each plane and length alike; a third with real words between."""
    rng = random.Random(11)
    for number in range(count):
        planes = [rng.randrange(17) << 16 | rng.randrange(1 << 16) for _ in range(rng.randrange(60))]
        low = [rng.randrange(1 << rng.randrange(7, 17)) for _ in range(rng.randrange(60))]
        points = [point for point in planes + low if not 0xD800 <= point < 0xE000]
        rng.shuffle(points)
        text = "".join(map(chr, points))
        yield text if number % 3 else f" the {text} and\n\n{text[::-1]}'s 1234"


def check(encoder: Encoder, tokenizer: Tokenizer, texts: Iterator[str]) -> int:
    """Hold the encoder to the library on texts, in batches; return their bytes."""
    size = 0
    while some := [text.encode("utf-8", "replace").decode() for text in islice(texts, BATCH)]:
        found = encoder.encode(pa.array(some, pa.large_string()))
        assert not found.refused
        reference = tokenizer.encode_batch(some)
        assert np.array_equal(found.tokens, np.fromiter(chain.from_iterable(reference), np.uint32))
        assert found.lengths.tolist() == [len(ids) for ids in reference]
        size += sum(len(text.encode()) for text in some)
    return size


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentencepiece", "byte-bpe"])
def test_ids_are_the_references_on_realweb_sources_and_any_unicode(
    shared_data: Path, tmp_path: Path, kind: str
) -> None:
    documents = write_documents(tmp_path / "d.parquet", "s", list(islice(sources(shared_data), 0, None, 20)))
    file = tmp_path / ("t.json" if kind == "byte-bpe" else "t.model")
    settings = TokenizerSettings(vocab_size=32_000, kind=kind)  # type: ignore[arg-type]
    train_tokenizer(settings, {"s": [documents]}, {}, file)
    tokenizer = open_tokenizer(file)
    encoder = Encoder(tokenizer)
    assert not encoder.why, encoder.why
    check(encoder, tokenizer, any_unicode(10_000))
    assert check(encoder, tokenizer, realweb(shared_data)) > 10_000_000
    assert check(encoder, tokenizer, sources(shared_data)) > 80_000_000
