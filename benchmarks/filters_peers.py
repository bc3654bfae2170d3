"""datatrove's filter blocks over texts on stdin, run by `filters.py` in an interpreter that has datatrove and
spaCy.

Input: one JSON string a line. Output: one JSON object {block: {segmentation: {seconds, reasons}}}, where a
reason is null for a kept text. `spacy` is datatrove as it is; `split` gives its blocks words split at blanks
and sentences split behind end marks, its fastest; `shared` gives them the words of gristmill's definition.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.pipeline.filters.base_filter import get_filter_result

from gristmill.text.reference import words

MODULES = {
    "gopher": gopher_quality_filter,
    "gopher-repetition": gopher_repetition_filter,
    "fineweb": fineweb_quality_filter,
    "c4-paper": c4_filters,
}


def cores(text: str, language: str) -> list[str]:
    return [word.core or word.text for word in words(text)]


def whole(text: str, language: str) -> list[str]:
    return [word.text for word in words(text)]


def blanks(text: str, language: str = "en") -> list[str]:
    return text.split()


def at_marks(text: str, language: str = "en") -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def sentences(text: str, language: str) -> list[int]:
    found = words(text)
    return list(range(found[-1].sentence + 1)) if found else []


def blocks() -> dict[str, object]:
    return {
        "gopher": GopherQualityFilter(),
        "gopher-repetition": GopherRepetitionFilter(),
        "fineweb": FineWebQualityFilter(),
        "c4-paper": C4QualityFilter(),
    }


def judge(block: object, texts: list[str]) -> dict[str, object]:
    from datatrove.utils.text import split_into_parts

    reasons = []
    start = time.process_time()
    for number, text in enumerate(texts):
        # five texts long: blocks in a row would share the words, which is measured apart
        split_into_parts.cache_clear()
        try:
            kept, reason = get_filter_result(block.filter(Document(text=text, id=str(number))))  # type: ignore[attr-defined]
        except ZeroDivisionError:  # a text without words or lines
            kept, reason = False, "division_by_zero"
        reasons.append(None if kept else reason)
    return {"seconds": time.process_time() - start, "reasons": reasons}


def chained(texts: list[str]) -> float:
    """Time all blocks document by document, as a pipeline runs them: they share each text's words through the
    cache."""
    own = list(blocks().values())
    start = time.process_time()
    for number, text in enumerate(texts):
        for block in own:
            try:
                block.filter(Document(text=text, id=str(number)))  # type: ignore[attr-defined]
            except ZeroDivisionError:
                continue
    return time.process_time() - start


def main() -> None:
    texts = [json.loads(line) for line in sys.stdin]
    found: dict[str, dict[str, object]] = {}
    blocks()["gopher"].filter(Document(text="Warm the tokenizer up.", id="0"))  # type: ignore[attr-defined]
    for name, block in blocks().items():
        found[name] = {"spacy": judge(block, texts)}
    seconds = {"spacy": chained(texts)}
    for module in MODULES.values():
        if hasattr(module, "split_into_words"):
            module.split_into_words = blanks
    c4_filters.split_into_sentences = at_marks
    for name, block in blocks().items():
        found[name]["split"] = judge(block, texts)
    seconds["split"] = chained(texts)
    splitters: dict[str, Callable[[str, str], list[str]]] = {
        "gopher": cores,
        "gopher-repetition": whole,
        "fineweb": whole,
    }
    for name, splitter in splitters.items():
        MODULES[name].split_into_words = splitter
    c4_filters.split_into_sentences = sentences
    for name, block in blocks().items():
        found[name]["shared"] = judge(block, texts)
    print(json.dumps({"blocks": found, "chained_seconds": seconds}))


if __name__ == "__main__":
    main()
