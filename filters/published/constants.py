"""Words and phrases that the published rules name."""

from __future__ import annotations

import re

# Rae et al. 2021, appendix A1.1.
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

# tensorflow_datasets/text/c4_utils.py.
CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
ELLIPSIS = "..."
LOREM_IPSUM = "lorem ipsum"
POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
