"""How well decontamination finds leaks: benchmark items planted into documents, verbatim and changed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.dedup.benchmarks import Item, characters_per_word, read_items
from gristmill.dedup.decontaminate import decontaminate
from gristmill.dedup.grams import index_benchmarks
from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.errors import UsageError
from gristmill.text.cores import cores_of

Change = Callable[[random.Random, list[str], list[str]], list[str]]


def _every(step: int) -> Change:
    """Replace one word in so many, at drawn places, by words of other items: what a paraphrase keeps."""

    def change(chance: random.Random, words: list[str], others: list[str]) -> list[str]:
        places = set(chance.sample(range(len(words)), max(1, len(words) // step)))
        return [chance.choice(others) if place in places else word for place, word in enumerate(words)]

    return change


def _marked(_chance: random.Random, words: list[str], _others: list[str]) -> list[str]:
    return [f"{word.upper()}," for word in words]


def _half(_chance: random.Random, words: list[str], _others: list[str]) -> list[str]:
    return words[: (len(words) + 1) // 2]


def _halves_swapped(_chance: random.Random, words: list[str], _others: list[str]) -> list[str]:
    middle = len(words) // 2
    return [*words[middle:], *words[:middle]]


CHANGES: dict[str, Change] = {
    "verbatim": lambda _chance, words, _others: words,
    "other case and punctuation": _marked,
    "halves swapped": _halves_swapped,
    "first half": _half,
    "1 word in 20 replaced": _every(20),
    "1 word in 10 replaced": _every(10),
    "1 word in 5 replaced": _every(5),
}


def evaluate_leaks(
    settings: DecontaminateSettings, documents: Sequence[str], most: int = 500, seed: int = 1
) -> dict[str, Any]:
    """Plant items into documents by each kind of change; return the share found, and of the documents as
    they are the share that is taken for a leak."""
    chance = random.Random(seed)
    items = [item for path in settings.benchmarks for item in _looked_for(settings, Path(path))]
    chosen = chance.sample(items, min(most, len(items)))
    others = [word for item in items[:1000] for word in _words(item)]
    texts, kinds = list(documents), ["clean"] * len(documents)
    for kind, change in CHANGES.items():
        for item in chosen:
            planted = " ".join(change(chance, _words(item), others))
            host = chance.choice(documents).split() if documents else []
            middle = len(host) // 2
            texts.append(" ".join([*host[:middle], planted, *host[middle:]]))
            kinds.append(kind)
    found = _found(settings, texts)
    rates = {}
    for kind in ("clean", *CHANGES):
        mine = [hit for hit, of in zip(found, kinds, strict=True) if of == kind]
        rates[kind] = sum(mine) / len(mine) if mine else None
    return {"items": len(chosen), "documents": len(documents), "found": rates}


def _looked_for(settings: DecontaminateSettings, path: Path) -> list[Item]:
    items = [item for item in read_items(path, settings) if isinstance(item, Item)]
    _hashes, bounds = cores_of(pa.chunked_array([[item.text for item in items]], pa.large_string()))
    sizes = (bounds[1:] - bounds[:-1]).tolist()
    chosen = [
        item
        for item, size in zip(items, sizes, strict=True)
        if size >= settings.min_words * characters_per_word(item.text, size)
    ]
    if not chosen:
        raise UsageError(f"`{path}` holds no item that is looked for", hint="name its text with `fields`")
    return chosen


def _words(item: Item) -> list[str]:
    """The words of an item; where spaces are rare, its characters."""
    words = item.text.split()
    return words if len(words) * 12 > len(item.text) else list("".join(words))


def _found(settings: DecontaminateSettings, texts: Sequence[str]) -> list[bool]:
    with tempfile.TemporaryDirectory() as folder:
        grams, items, path = (Path(folder) / name for name in ("grams", "items.parquet", "texts.parquet"))
        index_benchmarks(settings, grams, items)
        ids = [number.to_bytes(16, "big") for number in range(len(texts))]
        columns = {"id": pa.array(ids, pa.binary(16)), "text": pa.array(texts, pa.large_string())}
        pq.write_table(pa.table(columns), path)
        hit: set[bytes] = set()
        for _applied, hits in decontaminate(settings, grams, items, path):
            hit.update(hits["id"].to_pylist())
        return [value in hit for value in ids]
