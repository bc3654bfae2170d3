"""Bounds and stop words by language: spelled in a recipe, or from the thresholds that FineWeb-2 publishes.

FineWeb-2 sets them by statistics of each language's text (Penedo et al. 2025, arXiv:2506.20920); its
repository has a YAML file for every language in `configs/`, whose keys are named below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import yaml

from gristmill.errors import InputError, UsageError
from gristmill.files.disk import read_file
from gristmill.filters.block import Batch, Block, Measured
from gristmill.filters.files import digest_of, read_lines
from gristmill.filters.options import StopWordSettings
from gristmill.filters.rules import SIDES, Bound, Rule
from gristmill.yaml12 import BoundedLoader

if TYPE_CHECKING:
    from gristmill.filters.settings import FilterSettings

STOP_WORDS = "stop-words"
_UNSPACED = ("ja", "zh", "th", "lo", "km", "my")
_WORD = re.compile(r"\w+")
_BINS = tuple(float(number) for number in range(16))
# Key of FineWeb-2's configs: rule and side. `max_non_alpha_words_ratio` is the least share of words with a
# letter, whatever its name says (datatrove, GopherQualityFilter).
THRESHOLDS = {
    "dup_line_frac": "gopher-repetition.duplicate_lines_fraction.max",
    "language_score": "language.score.min",
    "line_punct_thr": "fineweb.end_mark_lines_fraction.min",
    "new_line_ratio": "fineweb.newlines_per_word.max",
    "max_avg_word_length": "gopher.mean_word_length.max",
    "min_avg_word_length": "gopher.mean_word_length.min",
    "max_non_alpha_words_ratio": "gopher.letter_words_fraction.min",
}
NGRAM_THRESHOLDS = {
    "top_n_grams": "gopher-repetition.top_{}gram_fraction.max",
    "dup_n_grams": "gopher-repetition.duplicate_{}gram_fraction.max",
}


def read_thresholds(path: str) -> tuple[dict[str, float], list[str]]:
    """Read a language's thresholds as FineWeb-2 publishes them; return bounds as in `set`, and stop words.

    Raises InputError for a file that is none of theirs.
    """
    try:
        data = yaml.load(read_file(Path(path)).decode(), BoundedLoader)  # a subclass of SafeLoader
        bounds = {key: float(data[name]) for name, key in THRESHOLDS.items() if name in data}
        for name, key in NGRAM_THRESHOLDS.items():
            bounds |= {key.format(int(n)): float(limit) for n, limit in data.get(name, ())}
        words = [str(word) for word in data.get("stopwords", ())]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"`{path}` is no set of thresholds as FineWeb-2 publishes them: {error}",
            hint="such as configs/deu_Latn.yml of github.com/huggingface/fineweb-2",
        ) from error
    if not bounds:
        raise InputError(
            f"`{path}` holds none of FineWeb-2's thresholds", hint=f"it may hold {', '.join(THRESHOLDS)}"
        )
    return bounds, words


def threshold_paths(settings: FilterSettings) -> list[str]:
    """The files of thresholds that a filter stage reads."""
    return [said for said in settings.by_language.values() if isinstance(said, str)]


def language_bounds(settings: FilterSettings, block: Block) -> dict[str, dict[str, Bound]]:
    """Return the bounds of a block's rules that are others for documents of a language.

    Raises UsageError for a bound of a filter that is not set, or of a rule that there is not.
    """
    found: dict[str, dict[str, Bound]] = {}
    rules = {rule.name: rule.bound for rule in block.rules}
    for language, said in settings.by_language.items():
        from_file = isinstance(said, str)
        changes = read_thresholds(said)[0] if isinstance(said, str) else said
        for key, value in changes.items():
            rule, _, side = key.rpartition(".")
            if key.partition(".")[0] != block.name or (from_file and rule not in rules):
                continue
            if side not in SIDES and key in rules and value in (None, False, "off"):
                found.setdefault(language, {})[key] = Bound()
                continue
            if rule not in rules or side not in SIDES:
                known = ", ".join(f"{name}.{'/'.join(SIDES)}" for name in rules)
                raise UsageError(f"`by_language.{language}` changes `{key}`; there are {known}")
            bounds = found.setdefault(language, {})
            bounds[rule] = bounds.get(rule, rules[rule]).with_side(side, _number(language, key, value))
    return found


def _number(language: str, key: str, value: Any) -> float | None:
    if value in (None, "off") or value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"`by_language.{language}`: `{key}` must be a number or `off`, got {value!r}")
    return float(value)


def stop_word_block(settings: StopWordSettings, by_language: Mapping[str, Any]) -> Block:
    """How many distinct stop words of its language a document has; languages without a list pass, and
    where the language is unknown any list will do."""
    paths = [said for said in settings.lists.values() if isinstance(said, str)]
    lists = {
        code: frozenset(word.lower() for word in (read_lines(said) if isinstance(said, str) else said))
        for code, said in settings.lists.items()
    }
    for code, said in by_language.items():
        if isinstance(said, str) and code not in lists and (words := read_thresholds(said)[1]):
            lists[code] = frozenset(word.lower() for word in words)
            paths.append(said)

    def distinct(text: str, code: str | None) -> int:
        if code is None:
            return max((distinct(text, known) for known in lists), default=settings.min)
        wanted = lists.get(code, frozenset())
        if code in _UNSPACED:
            return sum(word in text for word in wanted)
        return len(wanted.intersection(_WORD.findall(text.lower())))

    def measure(batch: Batch) -> Measured:
        codes = batch.documents.column("language").to_pylist()
        found = [distinct(text, code) for text, code in zip(batch.strings, codes, strict=True)]
        return Measured({"distinct": np.array(found, np.int64)})

    bound = Bound(min=settings.min)
    rule = Rule(f"{STOP_WORDS}.distinct", "distinct", None, bound, "datatrove, GopherQualityFilter", _BINS)
    return Block(
        STOP_WORDS,
        {"distinct": pa.int64()},
        (rule,),
        measure,
        languages=tuple(lists),
        digests={"lists": digest_of(paths)} if paths else {},
    )
