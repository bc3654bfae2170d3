"""Size: one huge document, and memory that does not grow with the input."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gristmill.filters.block import MEASURED_BYTES
from gristmill.filters.passes import compile_filters
from gristmill.filters.settings import FilterSettings
from tests.support.filter_documents import documents

PRESETS = ("gopher", "gopher-repetition", "c4-code", "fineweb", "mc4-paragraphs")


def test_words_and_lines_beyond_the_measured_part_do_not_count() -> None:
    line = "Seven plain words stand on this line.\n"
    text = line * (MEASURED_BYTES // len(line) + 1000)
    outcome = compile_filters(FilterSettings(presets=PRESETS), seed=1).apply(documents([text, line]))
    signals = outcome.signals.to_pylist()
    assert signals[0]["v0.gopher.words"] * len(line) // 7 <= MEASURED_BYTES + 100
    assert signals[0]["v0.c4-code.chars"] == len(text)
    assert "c4-code.page_chars" in outcome.removed.column("rules").to_pylist()[0]
    assert outcome.decisions.column("edits").to_pylist()[0] == []


_PEAK = """
import sys, time
from gristmill.filters.passes import compile_filters
from gristmill.filters.settings import FilterSettings
from gristmill.pipeline.run.attempt import peak_bytes
from tests.support.filter_documents import documents
filters = compile_filters(FilterSettings(presets={presets!r}), seed=1)
page = "\\n".join(f"This is line {{n}} of a page about nothing much, and it ends here." for n in range(100))
{body}
print(peak_bytes() >> 20)
"""


def peak_mb(body: str) -> int:
    code = _PEAK.format(presets=PRESETS, body=body)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=500
    )
    return int(done.stdout)


@pytest.mark.slow
def test_a_document_of_200_megabytes_is_filtered_within_a_minute_and_a_gigabyte_and_a_half() -> None:
    body = (
        "start = time.process_time(); filters.apply(documents([page * 30_000])); assert time.process_time() -"
        " start < 60"
    )
    one_word = "filters.apply(documents(['x' * 200_000_000, '\\n' * 1000]))"
    assert peak_mb(body) < 1536
    assert peak_mb(one_word) < 1536


@pytest.mark.slow
def test_memory_is_flat_from_one_to_a_hundred_tables() -> None:
    one, hundred = (
        peak_mb(f"for _ in range({rounds}): filters.apply(documents([page] * 200))") for rounds in (2, 200)
    )
    assert hundred < one + 32
