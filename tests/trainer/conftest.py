"""Small shard folders for the trainer's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import write_token_shards


@pytest.fixture(scope="session")
def shards() -> ModuleType:
    """Return the module that writes shards from the byte table."""
    return write_token_shards


@pytest.fixture
def corpus(tmp_path: Path, shards: ModuleType) -> Callable[..., Path]:
    """Return a function that writes a folder of random documents, `counts[i]` in shard i."""

    def write(name: str = "mix", counts: tuple[int, ...] = (30, 20, 25), **how: Any) -> Path:
        vocab = how.get("vocab", 300)
        documents = [shards.random_documents(count, seed, vocab) for seed, count in enumerate(counts)]
        folder: Path = shards.write_shards(tmp_path / name, documents, **how)
        return folder

    return write
