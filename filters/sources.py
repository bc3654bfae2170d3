"""Filters on where and when a document comes from: age, URL, language."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from gristmill.errors import InputError
from gristmill.filters.block import Batch, Block, Measured
from gristmill.filters.files import digest_of, load_fasttext, predict, read_lines
from gristmill.filters.options import AgeSettings, LanguageSettings, UrlSettings
from gristmill.filters.rules import Bound, Rule
from gristmill.hashing import uniform
from gristmill.text.languages import keeps, language_code, script_code, script_of
from gristmill.urls import listed_host, normalise_url

_EPOCH = datetime.date(1970, 1, 1)
_DAY_BINS = tuple(float((datetime.date(year, 1, 1) - _EPOCH).days) for year in range(1996, 2031))
_FLAG_BINS = (0.0, 1.0)  # no or yes
_COUNT_BINS = (0.0, 1.0, 2.0, 3.0, 5.0)
_UNIT_BINS = tuple(number / 20 for number in range(21))
_NOT_WORD = re.compile(r"[^a-zA-Z0-9]+")
# CLD2 refuses controls, DEL and non-characters.
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff\U0002fffe-\U0010ffff]"
)
_LANGUAGE_CHARACTERS = 8192
_HOST_CHARACTERS = 253  # RFC 1035: 255 octets with the lengths of labels


def sample_block(fraction: float, seed: int) -> Block:
    """A share of documents by hash of seed and id: a larger share holds a smaller one."""

    def measure(batch: Batch) -> Measured:
        return Measured({"draw": uniform(seed, "sample", batch.documents.column("id"))})

    rule = Rule("sample.draw", "draw", None, Bound(below=fraction), "", _UNIT_BINS)
    return Block("sample", {"draw": pa.float64()}, (rule,), measure)


def age_block(settings: AgeSettings) -> Block:
    """Dates as days since 1970; a document without a date has none (NaN) and is judged by `undated` alone."""

    def day(date: datetime.date | None) -> float | None:
        return None if date is None else float((date - _EPOCH).days)

    def measure(batch: Batch) -> Measured:
        dates = batch.documents.column("date").combine_chunks()
        days = np.asarray(pc.fill_null(pc.cast(dates, pa.int64(), safe=False), 0)) // 86_400_000
        dated = np.asarray(dates.is_valid()).astype(np.int64)
        return Measured({"dated": dated, "day": np.where(dated, days.astype(np.float64), np.nan)})

    rules = [
        Rule(
            "age.day", "day", None, Bound(min=day(settings.after), below=day(settings.before)), "", _DAY_BINS
        )
    ]
    if settings.undated == "remove":
        rules.append(Rule("age.dated", "dated", None, Bound(min=1), "", _FLAG_BINS))
    return Block("age", {"dated": pa.int64(), "day": pa.float64()}, tuple(rules), measure)


def domains_above(host: str) -> Iterator[str]:
    """Yield a host and the domains above it; of a longer host than DNS allows only those that DNS allows."""
    yield host
    place = host.find(".", max(0, len(host) - _HOST_CHARACTERS - 1)) + 1
    while place:
        yield host[place:]
        place = host.find(".", place) + 1


class HashList:
    """Millions of strings as sorted 64-bit hashes, memory-mapped where the file is one that `build_list`
    wrote.

    A string that is not listed is taken for listed with probability n / 2^64.
    """

    def __init__(self, paths: tuple[str, ...], normalise: Callable[[str], str]) -> None:
        self.parts = [_load_hashes(path, normalise) for path in paths]

    def __contains__(self, entry: str) -> bool:
        key = np.uint64(xxhash.xxh3_64_intdigest(entry.encode()))
        for part in self.parts:
            place = int(np.searchsorted(part, key))
            if place < len(part) and part[place] == key:
                return True
        return False


def _load_hashes(path: str, normalise: Callable[[str], str]) -> npt.NDArray[np.uint64]:
    if path.endswith(".u64"):
        try:
            return np.memmap(path, np.dtype("<u8"), "r")
        except (OSError, ValueError) as error:
            raise InputError(f"cannot map the list `{path}`: {error}") from error
    return _hashes(read_lines(path), normalise)


def _hashes(entries: list[str], normalise: Callable[[str], str]) -> npt.NDArray[np.uint64]:
    return np.unique(
        np.array([xxhash.xxh3_64_intdigest(normalise(entry).encode()) for entry in entries], np.uint64)
    )


def build_list(kind: str, text: Path, out: Path) -> int:
    """Compile a text list of `domains` or `urls` into a `.u64` file that every worker maps; return the number
    of entries."""
    hashes = _hashes(read_lines(str(text)), {"domains": listed_host, "urls": normalise_url}[kind])
    out.write_bytes(hashes.astype("<u8").tobytes())
    return len(hashes)


def url_block(settings: UrlSettings) -> Block:
    import ahocorasick

    domains, urls = HashList(settings.domains, listed_host), HashList(settings.urls, normalise_url)
    curated = HashList(settings.curated, listed_host)
    scores = {}
    words = settings.words if isinstance(settings.words, dict) else dict.fromkeys(settings.words, 1.0)
    for path, usual in words.items():
        for line in read_lines(path):
            word, _, score = line.partition("\t")
            try:
                scores[word.lower()] = float(score or usual)
            except ValueError:
                raise InputError(f"`{path}` gives `{word}` the score {score!r}, which is no number") from None
    automaton = ahocorasick.Automaton()
    for path in settings.substrings:
        for line in read_lines(path):
            if entry := _NOT_WORD.sub("", line).lower():
                automaton.add_word(entry, 1)
    automaton.make_automaton()

    def measure_one(url: str) -> tuple[float, ...]:
        blocked = any(name in domains for name in domains_above(listed_host(url)))
        score = sum(scores.get(word, 0.0) for word in sorted({*_NOT_WORD.split(url.lower())}))
        found = sum(1 for _ in automaton.iter(_NOT_WORD.sub("", url).lower())) if len(automaton) else 0
        values = (float(blocked), float(normalise_url(url) in urls), score, float(found))
        if not settings.curated:
            return values
        return (*values, float(any(name in curated for name in domains_above(listed_host(url)))))

    names: tuple[str, ...] = ("blocked_domain", "blocked_url", "word_score", "substrings")
    limits: tuple[float, ...] = (0.0, 0.0, settings.max_word_score, 0.0)
    if settings.curated:
        names, limits = (*names, "curated_domain"), (*limits, 0.0)

    def measure(batch: Batch) -> Measured:
        rows = [measure_one(url or "") for url in batch.documents.column("url").to_pylist()]
        values = np.array(rows, np.float64).reshape(-1, len(names))
        return Measured({name: values[:, index] for index, name in enumerate(names)})

    rules = tuple(
        Rule(f"url.{name}", name, None, Bound() if settings.mark else Bound(max=limit), "", _COUNT_BINS)
        for name, limit in zip(names, limits, strict=True)
    )
    paths = (*settings.domains, *settings.urls, *words, *settings.substrings, *settings.curated)
    return Block(
        "url",
        dict.fromkeys(names, pa.float64()),
        rules,
        measure,
        digests={"lists": digest_of(paths)} if paths else {},
    )


def language_block(settings: LanguageSettings) -> Block:
    """The score counts for the language found; a language not in `keep` fails `language.kept`."""
    detector = settings.detector
    digests = {}
    if detector not in ("document", "auto", "pycld2"):
        load_fasttext(detector)
        digests = {"model": digest_of([detector])}

    asks_script = any(script_code(name) for name in settings.keep)

    def measure(batch: Batch) -> Measured:
        if detector == "document":
            codes = batch.documents.column("language").to_pylist()
            scores = [score or 0.0 for score in batch.documents.column("language_score").to_pylist()]
        elif detector == "auto":
            from gristmill.text.detection import detect_batch

            codes, shares = detect_batch(batch.documents.column("text").combine_chunks())
            scores = np.nan_to_num(shares).tolist()
        else:
            found = (
                [_cld2(text) for text in batch.strings]
                if detector == "pycld2"
                else _fasttext(detector, batch.strings)
            )
            codes, scores = [code for code, _ in found], [score for _, score in found]
        scripts = [script_code(code) for code in codes]
        codes = [language_code(code) for code in codes]
        if asks_script:
            scripts = [
                script or script_of(text[:_LANGUAGE_CHARACTERS], code)
                for script, code, text in zip(scripts, codes, batch.strings, strict=True)
            ]
        kept = np.array(
            [keeps(settings.keep, code, script) for code, script in zip(codes, scripts, strict=True)],
            np.int64,
        )
        return Measured({"code": codes, "kept": kept, "score": np.array(scores, np.float64)})

    rules = (
        Rule("language.kept", "kept", None, Bound(min=1), "", _FLAG_BINS),
        Rule("language.score", "score", None, Bound(min=settings.min_score), "", _UNIT_BINS),
    )
    return Block(
        "language",
        {"kept": pa.int64(), "score": pa.float64(), "code": pa.string()},
        rules,
        measure,
        digests=digests,
    )


def _cld2(text: str) -> tuple[str | None, float]:
    import pycld2

    try:
        _, _, details = pycld2.detect(_REFUSED.sub(" ", text[:_LANGUAGE_CHARACTERS]))
    except (pycld2.error, ValueError):
        return None, 0.0
    code, share = details[0][1], details[0][2] / 100
    return (None, 0.0) if code == "un" else (code, share)


def _fasttext(path: str, texts: list[str]) -> list[tuple[str | None, float]]:
    model = load_fasttext(path)
    found = [predict(model, text[:_LANGUAGE_CHARACTERS]) for text in texts]
    return [(best[0][1].removeprefix("__label__"), best[0][0]) if best else (None, 0.0) for best in found]
