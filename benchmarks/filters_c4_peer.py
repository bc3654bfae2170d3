"""C4's own page cleaning over texts on stdin, run by `filters.py` in an interpreter that has
tensorflow-datasets and nltk.

    python benchmarks/filters_c4_peer.py NLTK_DATA < texts

Input: one JSON string a line. Output: one JSON object {seconds, pages: [{text, why}], paragraphs: [bool]};
the text is null where `is_valid_length` or `clean_page` drops the page, and `why` is the counter that the
source then increments. The functions are those of `tensorflow_datasets.text.c4_utils` as they are. NLTK_DATA
holds `tokenizers/punkt_tab/english`, read by NLTK itself: the pickle that the source downloads holds the same
model.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import nltk
from tensorflow_datasets.text import c4_utils


def clean(text: str, clean_page: Any) -> dict[str, str | None]:
    said: list[str] = []
    page = c4_utils.PageFeatures(text=text)
    if not c4_utils.is_valid_length(page):
        return {"text": None, "why": "too_long"}
    cleaned = next(iter(clean_page(page, counter_inc_fn=said.append)), None)
    return {"text": cleaned and cleaned.text, "why": None if cleaned else said[-1].removeprefix("filtered:")}


def main() -> None:
    from nltk.tokenize.punkt import PunktTokenizer

    nltk.data.path[:] = [sys.argv[1]]
    c4_utils._SENTENCE_TOKENIZER = PunktTokenizer("english")
    c4_utils.get_counter_inc_fn = lambda namespace: lambda *counter: None  # Beam's, which needs a pipeline
    texts = [json.loads(line) for line in sys.stdin]
    clean_page = c4_utils.get_clean_page_fn()
    clean("Warm the tokenizer up, for it loads late.", clean_page)
    start = time.process_time()
    pages = [clean(text, clean_page) for text in texts]
    seconds = time.process_time() - start
    paragraphs = [c4_utils.paragraph_filter(c4_utils.PageFeatures(text=text)) for text in texts]
    print(json.dumps({"seconds": seconds, "pages": pages, "paragraphs": paragraphs}))


if __name__ == "__main__":
    main()
