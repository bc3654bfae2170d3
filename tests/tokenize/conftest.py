"""A small tokenizer and small encoded sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from gristmill.tokenize.encoding.encode import encode
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings
from tests.support.small_corpus import TEXTS, train_tokenizer, write_documents


@dataclass(frozen=True)
class EncodedFile:
    documents: Path
    payload: Path
    index: Path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    documents = write_documents(folder / "docs.parquet", "docs", list(TEXTS))
    train_tokenizer(TokenizerSettings(vocab_size=500), {"docs": [documents]}, {}, folder / "tokenizer.model")
    return folder / "tokenizer.model"


@pytest.fixture(scope="session")
def tokenizer(model: Path) -> Tokenizer:
    return open_tokenizer(model)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> dict[str, list[EncodedFile]]:
    """Two sources: `web` in two files of short texts, `books` in one of longer texts with weights 1 to 3."""
    folder = tmp_path_factory.mktemp("encoded")
    paragraphs = [part for text in TEXTS for part in text.split("\n\n") if part]
    parts = {"web": [paragraphs[:700], paragraphs[700:1300]], "books": [TEXTS[:60]]}
    files: dict[str, list[EncodedFile]] = {}
    for source, groups in parts.items():
        for number, texts in enumerate(groups):
            stem = folder / f"{source}-{number}"
            weights = [1.0 + n % 3 for n in range(len(texts))]
            paths = EncodedFile(*(stem.with_suffix(suffix) for suffix in (".parquet", ".bin", ".index")))
            # Ids must differ between the files of a source.
            write_documents(paths.documents, f"{source}-{number}", list(texts), worth=weights)
            encode(Encoder(tokenizer), paths.documents, paths.payload, paths.index)
            files.setdefault(source, []).append(paths)
    return files
