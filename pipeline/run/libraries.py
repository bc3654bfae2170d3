"""The distributions that shape bytes, in groups that stages declare.

tests/pipeline/test_libraries.py walks the imports of every stage and fails on one that is neither declared
nor known to be harmless.
"""

from __future__ import annotations

from functools import cache

from gristmill.pipeline.run.cluster import gate

COLUMNS = ("pyarrow", "numpy", "orjson", gate.UNICODE)
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

version_of = cache(gate.version_of)
