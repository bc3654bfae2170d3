"""Filters on what a text holds: word lists, fastText models, functions of one's own, datatrove's blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.errors import InputError, UsageError
from gristmill.filters.block import Batch, Block, Measured
from gristmill.filters.edits import Edits, difference
from gristmill.filters.files import digest_of, load_fasttext, predict, read_lines
from gristmill.filters.options import DatatroveSettings, FunctionSettings, ModelSettings, WordListSettings
from gristmill.filters.own_code import class_file, code_digests, load_function
from gristmill.filters.rules import Bound, Rule
from gristmill.hashing import uniform

_UNIT_BINS = tuple(number / 20 for number in range(21))
_COUNT_BINS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_NOT_WORD = re.compile(r"\W")
# Languages that put no space between words: C4's code asks for no word boundary there, and allows these.
_UNSPACED = ("ja", "th", "zh")
_ALLOWED = {"ja": ("sm", "グロ", "女の子"), "zh": ("性",)}


def word_list_block(settings: WordListSettings, seed: int) -> Block:
    """C4's badwords rule: a listed word between characters that are no word characters (c4.py,
    `(?:\\W|^)(…)(?:\\W|$)`)."""
    automata = {language: _automaton(path, language) for language, path in settings.lists.items()}

    def count(text: str, language: str | None) -> int:
        code = language or settings.default_language
        if code not in automata:
            return 0
        lower = text.lower()
        return sum(
            code in _UNSPACED or _stands_alone(lower, end + 1 - size, end + 1)
            for end, size in automata[code].iter(lower)
        )

    def measure(batch: Batch) -> Measured:
        languages = batch.documents.column("language").to_pylist()
        matches = np.array(
            [count(text, language) for text, language in zip(batch.strings, languages, strict=True)], np.int64
        )
        spared = uniform(seed, settings.name, batch.documents.column("id")) < settings.keep_fraction
        return Measured({"found": matches, "matches": np.where(spared, 0, matches), "words": batch.num_words})

    rules = [Rule(f"{settings.name}.matches", "matches", None, settings.bound, "", _COUNT_BINS)]
    if settings.max_fraction is not None:
        rules.append(
            Rule(
                f"{settings.name}.fraction",
                "matches",
                "words",
                Bound(max=settings.max_fraction),
                "",
                _UNIT_BINS,
            )
        )
    signals = dict.fromkeys(("found", "matches", "words"), pa.int64())
    digests = {"lists": digest_of(settings.lists[language] for language in sorted(settings.lists))}
    return Block(settings.name, signals, tuple(rules), measure, digests=digests)


def _automaton(path: str, language: str) -> Any:
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for word in read_lines(path):
        if word not in _ALLOWED.get(language, ()):
            automaton.add_word(word.lower(), len(word.lower()))
    if not len(automaton):
        raise InputError(f"the word list `{path}` is empty")
    automaton.make_automaton()
    return automaton


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = start == 0 or _NOT_WORD.match(text[start - 1])
    return bool(before and (end == len(text) or _NOT_WORD.match(text[end])))


def model_block(settings: ModelSettings) -> Block:
    """The probability that a fastText model gives to one label."""
    model = load_fasttext(settings.path)
    label = "__label__" + settings.label.removeprefix("__label__")
    if label not in model.get_labels():
        known = ", ".join(name.removeprefix("__label__") for name in sorted(model.get_labels())[:10])
        raise UsageError(
            f"the model `{settings.path}` has no label `{settings.label}`", hint=f"it has {known}"
        )

    def score(text: str) -> float:
        return {name: value for value, name in predict(model, text, -1)}.get(label, 0.0)

    digests = {"model": digest_of([settings.path])}
    if settings.unit == "sentence":
        return _sentence_block(settings, score, digests)

    def measure(batch: Batch) -> Measured:
        found = [score(text[: settings.max_characters]) for text in batch.strings]
        return Measured({"score": np.array(found, np.float64)})

    rule = Rule(f"{settings.name}.score", "score", None, settings.bound, "", _UNIT_BINS)
    return Block(settings.name, {"score": pa.float64()}, (rule,), measure, digests=digests)


def _sentence_block(
    settings: ModelSettings, score: Callable[[str], float], digests: Mapping[str, str]
) -> Block:
    """Cut the sentences whose score lies outside the bounds; what stands behind one, up to the next, goes
    along."""

    def measure(batch: Batch) -> Measured:
        counts = np.zeros((len(batch), 2), np.int64)
        edits = []
        for row, spans in enumerate(sentence_spans(batch)):
            text = batch.data[batch.starts[row] : batch.stops[row]].tobytes()
            pieces = [text[start:stop].decode("utf-8", "replace") for start, stop in spans]
            scores = np.array([score(piece[: settings.max_characters]) for piece in pieces], np.float64)
            gone, _ = settings.bound.violated(scores)
            counts[row] = len(spans), int(gone.sum())
            edits += [(row, *spans[place], 0, b"") for place in np.flatnonzero(gone)]
        return Measured({"sentences": counts[:, 0], "cut_sentences": counts[:, 1]}, Edits.of(edits))

    signals = dict.fromkeys(("sentences", "cut_sentences"), pa.int64())
    rule = Rule(f"{settings.name}.cut_fraction", "cut_sentences", "sentences", Bound(), "", _UNIT_BINS)
    edits = (f"{settings.name}.sentence",)
    return Block(settings.name, signals, (rule,), measure, edits=edits, digests=digests)


def sentence_spans(batch: Batch) -> list[list[tuple[int, int]]]:
    """The bytes of each text's sentences, each up to where the next one begins."""
    words, found = batch.words, []
    for row, (low, high) in enumerate(pairwise(words.rows.tolist())):
        sentence, start = words.sentence[low:high], words.start[low:high] - batch.starts[row]
        begins = np.flatnonzero(np.diff(sentence, prepend=-1))
        bounds = [*start[begins].tolist(), int(batch.stops[row] - batch.starts[row])]
        found.append(list(pairwise(bounds)))
    return found


def function_block(settings: FunctionSettings) -> Block:
    """A rule over a user's own function; the digest of its file is part of the step's identity."""
    path, _, name = settings.function.rpartition(":")
    function = load_function(path, name)

    def measure_one(text: str) -> float:
        try:
            return float(function(text))
        except Exception as error:
            raise InputError(
                f"`{settings.function}` failed on a text of {len(text):,} characters that begins"
                f" {text[:40]!r}: {type(error).__name__}: {error}",
                hint="it must return a number for any text, the empty one too",
            ) from error

    def measure(batch: Batch) -> Measured:
        return Measured({"value": np.array([measure_one(text) for text in batch.strings], np.float64)})

    rule = Rule(f"rules.{settings.rule}", "value", None, settings.bound, settings.function, _COUNT_BINS)
    return Block(
        f"rules.{settings.rule}",
        {"value": pa.float64()},
        (rule,),
        measure,
        digests=code_digests(Path(path)),
    )


def datatrove_block(settings: DatatroveSettings, made_of: type) -> Block:
    """Any datatrove filter: its reason is kept as a signal and joins the rule's name, its changes of text
    become edits."""
    try:
        peer: Any = made_of(**settings.arguments)
    except Exception as error:  # a block may do anything there: download a model, read a list
        raise UsageError(
            f"cannot make the datatrove filter `{settings.filter}`: {type(error).__name__}: {error}",
            hint="`arguments` are those of its class, and what it downloads must be there or within reach",
        ) from error
    name = settings.filter.rpartition(".")[2]

    def measure(batch: Batch) -> Measured:
        from datatrove.data import Document
        from datatrove.pipeline.filters.base_filter import get_filter_result

        removed, reasons, edits = [], [], []
        columns = [
            batch.documents.column(column).to_pylist()
            for column in ("id", "url", "date", "language", "language_score")
        ]
        for row, (text, id_, url, date, language, score) in enumerate(
            zip(batch.strings, *columns, strict=True)
        ):
            metadata = {
                "url": url,
                "date": date and date.isoformat(),
                "language": language,
                "language_score": score,
            }
            document = Document(
                text=text,
                id=id_.hex(),
                metadata={key: value for key, value in metadata.items() if value is not None},
            )
            try:
                kept, reason = get_filter_result(peer.filter(document))
            except Exception as error:
                raise InputError(
                    f"`{settings.filter}` failed on document {id_.hex()}: {type(error).__name__}: {error}"
                ) from error
            removed.append(int(not kept))
            reasons.append(None if kept else reason)
            if document.text != text:
                edits.append(difference(row, text.encode(), document.text.encode()))
        return Measured({"removed": np.array(removed, np.int64), "reason": reasons}, Edits.of(edits))

    block = f"datatrove.{name}"
    rule = Rule(block, "removed", None, Bound(max=0), settings.filter, (1.0,))
    signals = {"removed": pa.int64(), "reason": pa.string()}
    source = class_file(settings.filter)
    digests = code_digests(source) if source else {}
    edits = (f"{block}.text",)
    return Block(block, signals, (rule,), measure, edits=edits, digests=digests, detail="reason")
