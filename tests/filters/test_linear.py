"""A stranger's text takes time in proportion to its length: CPU time at n and at 4n."""

from __future__ import annotations

import base64
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.classifiers.quality.known import KnownWords
from gristmill.classifiers.quality.lines import prepare
from gristmill.classifiers.quality.parts import least_shingles
from gristmill.fasttext_model import one_line
from gristmill.filters.block import Batch
from gristmill.filters.passes import compile_filters
from gristmill.filters.pii import KINDS, find
from gristmill.filters.settings import FilterSettings
from gristmill.urls import domain_of
from tests.support.filter_documents import documents

LENGTH = 40_000  # characters; what was quadratic took seconds for them


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of three: other processes can only add, and so can the collection of other tests' garbage."""
    found = []
    gc.disable()
    try:
        for _ in range(3):
            began = time.process_time()
            work()
            found.append(time.process_time() - began)
    finally:
        gc.enable()
    return min(found)


def assert_linear(work: Callable[[int], Callable[[], object]]) -> None:
    """Four times the length takes at most eight times as long, and little in all."""
    work(100)()
    short, long = (cpu_seconds(work(length)) for length in (LENGTH, 4 * LENGTH))
    assert long < 8 * short + 0.05, f"{LENGTH} characters take {short:.3f} s, four times as many {long:.3f} s"


def of_length(piece: str) -> Callable[[int], str]:
    return lambda length: (piece * (length // len(piece) + 1))[:length]


def base64_text(length: int) -> str:
    return base64.b64encode(random.Random(0).randbytes(length)).decode()[:length]


TEXTS: dict[str, Callable[[int], str]] = {
    "base64": base64_text,
    "one local part": lambda length: "a" * (length - 2) + "@b",
    "base64 and an address": lambda length: base64_text(length) + "@b.co",
    "dots": of_length("a."),
    "double dots": lambda length: "a.." * (length // 3) + "@b.co",
    "at signs": of_length("@"),
    "addresses": of_length("a@b.co "),
    "half addresses": of_length("a@b"),
    "hyphens behind an at": lambda length: "a@b" + "-" * length,
    "labels behind ats": of_length("a@b-b-b-b-"),
    "an open bracket": lambda length: "a@[1.2.3." + "a" * length,
    "brackets": of_length("[1"),
    "digits": of_length("1"),
    "octets": of_length("1.1"),
    "almost octets": of_length("1.1.1. "),
    "almost telephones": of_length(" 123 - - - "),
    "a telephone's blanks": lambda length: " 123" + " " * length,
    "blanks": of_length(" "),
    "line ends": of_length("\n"),
    "carriage returns": of_length("\r"),
    "counters": lambda length: "1" + "," * length + " likes",
    "marks before a button": lambda length: "!" * length + "sign",
    "buttons": of_length("read more!!"),
    "one line of words": of_length("word "),
    "equal lines": of_length("a b\n"),
    "quotes": of_length('."'),
    "braces": of_length("{"),
    "combining marks": of_length("a\u0301\u0323"),
    "control tokens": of_length("</s> __label__"),
    "han": of_length("\u4e2d"),
    "capitals with dots": of_length("\u0130"),
}
PRESETS = ("gopher", "gopher-repetition", "fineweb", "c4-code", "refinedweb-lines", "mc4-paragraphs")


@pytest.mark.parametrize("name", TEXTS)
def test_personal_data_is_found_in_linear_time(name: str) -> None:
    kinds = dict.fromkeys(KINDS, ("X",))

    def work(length: int) -> Callable[[], object]:
        body = TEXTS[name](length).encode()
        return lambda: find(body, kinds)

    assert_linear(work)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_every_filter_of_text_is_linear(name: str) -> None:
    settings = FilterSettings(
        presets=PRESETS, pii={"phone": True}, set={"c4-code.page_chars": "off", "c4-code.languages": None}
    )
    filters = compile_filters(settings, seed=1)
    assert_linear(lambda length: lambda: filters.apply(documents([TEXTS[name](length)])))


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_classifier_reads_is_linear(name: str) -> None:
    def work(length: int) -> Callable[[], object]:
        text = TEXTS[name](length)

        def read() -> None:
            for how in ("spaces", "folded", "lines"):
                prepare(text, how)  # type: ignore[arg-type]
            one_line(text)
            least_shingles(pa.array([text], pa.large_string()))

        return read

    assert_linear(work)


def test_counting_known_words_is_linear() -> None:
    class Model:
        class f:  # as fastText names it
            @staticmethod
            def getArgs() -> Any:
                return type("Arguments", (), {"maxn": 0})

        @staticmethod
        def get_words(on_unicode_error: str) -> list[str]:
            return ["word"]

    words = KnownWords(Model())
    assert_linear(lambda length: lambda: words.count(["\t\0 " * (length // 3), "9" * length]))


URLS: dict[str, Callable[[int], str]] = {
    "labels": lambda length: "http://" + "a." * (length // 2) + "com/",
    "dots": lambda length: "http://" + "." * length,
    "path": lambda length: "http://a.org/" + "a/" * (length // 2),
    "queries": lambda length: "http://a.org/" + "?a" * (length // 2),
    "ats": lambda length: "http://" + "@" * length,
    "schemes": lambda length: "http://" * (length // 7),
    "words": lambda length: "http://a.org/" + "-a1" * (length // 3),
    "marks": lambda length: "http://" + "a\u0301\u0323" * (length // 3) + ".org/",
    "brackets": lambda length: "http://[" + ":" * length,
}


@pytest.mark.parametrize("name", URLS)
def test_urls_are_judged_in_linear_time(tmp_path: Path, name: str) -> None:
    lists = {}
    for key, line in (("domains", "b.org"), ("urls", "b.org/x"), ("words", "bad\t1"), ("substrings", "bad")):
        (tmp_path / key).write_text(line + "\n")
        lists[key] = [str(tmp_path / key)]
    (block,) = compile_filters(FilterSettings(url=lists), seed=1).passes[0].blocks

    def work(length: int) -> Callable[[], object]:
        url = URLS[name](length)
        table = documents(["x"]).drop(["url"]).append_column("url", pa.array([url]))
        return lambda: (block.measure(Batch(table)), domain_of(url))

    assert_linear(work)


def test_a_listed_domain_is_found_below_a_host_longer_than_dns_allows(tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("bad.org\n")
    settings = FilterSettings(url={"domains": [str(tmp_path / "domains")]})
    (block,) = compile_filters(settings, seed=1).passes[0].blocks
    urls = ["http://" + "a." * 5000 + "bad.org/", "http://" + "a." * 5000 + "good.org/", "http://bad.org"]
    table = documents(["x"] * 3).drop(["url"]).append_column("url", pa.array(urls))
    assert block.measure(Batch(table)).signals["blocked_domain"].tolist() == [1, 0, 1]
