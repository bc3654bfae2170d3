"""The distributions that shape bytes, in groups that stages declare.

tests/pipeline/test_libraries.py walks the imports of every stage and fails on one that is neither declared
nor known to be harmless.
"""

from __future__ import annotations

import importlib.metadata
import unicodedata
from functools import cache

UNICODE = "unicodedata"  # of Python itself: what is a letter, lower case, composed
COLUMNS = ("pyarrow", "numpy", "orjson", UNICODE)
KERNELS = (*COLUMNS, "numba", "scipy")
EXTRACTION = (
    *("trafilatura", "resiliparse", "htmldate", "courlan", "justext", "lxml", "lxml_html_clean", "pycld2"),
    *("eldc", "chardet"),
    *("tld", "babel", "charset-normalizer", "dateparser", "python-dateutil"),
    *("fastwarc", "isal", "lz4", "zstandard", "brotli", "pypdfium2"),
)
FILTERS = (
    "datatrove", "fasttext-modern", "pyahocorasick", "pycld2", "eldc", "resiliparse", "xxhash", "regex",
    "nltk",
)  # fmt: skip
DEDUP = ("xxhash", "datatrove")
CLASSIFIER = ("fasttext-modern", "scikit-learn")
TOKENIZERS = ("sentencepiece", "tokenizers", "gigatoken", "tiktoken")
TRAINER = ("numpy", "torch", "safetensors", "sentencepiece", "tokenizers", "tiktoken")


@cache
def version_of(name: str) -> str:
    """The version of an installed distribution, `absent` for one that is not: an optional one decides by its
    absence, too. Of `UNICODE` it is that of the tables which this Python has."""
    if name == UNICODE:
        return unicodedata.unidata_version
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
