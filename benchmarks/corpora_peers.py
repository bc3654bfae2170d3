"""The originals' own code over texts on stdin, run by `corpora.py` in an interpreter that has it.

    PYTHON corpora_peers.py fineweb [spacy] | redpajama FOLDER | importance FOLDER COUNTS | ccnet FOLDER
        | dolma | data-juicer

Input: one JSON string a line; output: one JSON value a text. `fineweb`: [removing rule or null, text] of
datatrove's four filters in the order of its examples/fineweb.py, given the words of gristmill's definition.
`redpajama`: the signals of app/src, each a number or a list by line. `importance`: its importance weights by
the counts of a folder, and the buckets of a text's words and pairs with their counts. `ccnet`:
normalize_for_dedup of each line. `dolma`: the attributes of its taggers by name: code_redpajama_taggers_v1,
code_copyright_comments_v1, gopher_v1, gopher_v2, c4_v2, pii_regex_with_counts_fast_v2, char_length_v1 and
whitespace_tokenizer_v1; of a type with many spans their number. `data-juicer`: what its filters measure, and
what its mappers leave and find. `fineweb spacy`: the same blocks with datatrove's default words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

BUCKETS = 10_000  # RedPajama's configs/rp_v2.0.conf
MATCHES = 20  # of a pattern in a text that are told


def fineweb(words: str = "") -> Callable[[str], Any]:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.filters.base_filter import get_filter_result
    from filters_peers import MODULES, c4_filters, cores, sentences, whole

    if words != "spacy":
        for name, splitter in (("gopher", cores), ("gopher-repetition", whole), ("fineweb", whole)):
            MODULES[name].split_into_words = splitter
        c4_filters.split_into_sentences = sentences
    blocks = (
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    )

    def judge(text: str) -> Any:
        document = Document(text=text, id="0")
        for block in blocks:
            try:
                kept, reason = get_filter_result(block.filter(document))
            except ZeroDivisionError:  # a text without words or lines
                kept, reason = False, "division_by_zero"
            if not kept:
                return [f"{type(block).__name__}: {reason}", None]
        return [None, document.text]

    return judge


def redpajama(folder: str) -> Callable[[str], Any]:
    sys.path.insert(0, folder)
    from core.document import Document
    from core.quality_signals.content import RPS_Doc_Curly_Bracket, RPS_Doc_Lorem_Ipsum
    from core.quality_signals.lines import register_lines_callables
    from core.quality_signals.natural_language import register_natural_language_callables
    from core.quality_signals.repetitions import register_repetitions_callables

    made = [
        *register_natural_language_callables(),
        *register_lines_callables(),
        *register_repetitions_callables(),
        RPS_Doc_Curly_Bracket(),
        RPS_Doc_Lorem_Ipsum(),
    ]

    def measure(text: str) -> Any:
        document = Document(text, domain=None, precompute_ngrams=True)
        found = {}
        for signal in made:
            values = [value for *_, value in signal(document)]
            found[signal.field_name] = values if signal.field_name.startswith("rps_lines") else values[0]
        return found

    return measure


def importance(folder: str, counts: str) -> Callable[[str], Any]:
    sys.path.insert(0, folder)
    from core.document import Document
    from core.quality_signals.importance_weights import register_importance_weights_callables

    def files(dataset: str) -> tuple[str, str]:
        return (f"{counts}/{dataset}.en.{BUCKETS}.counts.npy", f"{counts}/{dataset}.en.lambda.npy")

    names = {"source_fps": "ccnet", "wiki_fps": "wikipedia"}
    names |= {"openwebtext_fps": "openwebtext", "books_fps": "books"}
    given = {name: files(dataset) for name, dataset in names.items()}
    made = register_importance_weights_callables(**given, language="en")

    def measure(text: str) -> Any:
        document = Document(
            text, domain=None, precompute_ngrams=True, precompute_hash_features=True, dsir_buckets=BUCKETS
        )
        weights = {signal.field_name: signal(document)[0][2] for signal in made}
        features = document.hash_features
        return [weights, {int(bucket): int(features[bucket]) for bucket in features.nonzero()[0]}]

    return measure


def ccnet(folder: str) -> Callable[[str], Any]:
    sys.path.insert(0, folder)
    from cc_net.text_normalizer import normalize_for_dedup

    return lambda text: [normalize_for_dedup(line) for line in text.split("\n")]


def dolma() -> Callable[[str], Any]:
    from dolma.core.data_types import Document
    from dolma.core.registry import TaggerRegistry
    from dolma.taggers import c4, gopher, length, pii  # noqa: F401  they register themselves
    from dolma.taggers.code import code_taggers  # noqa: F401

    taggers = {name: TaggerRegistry.get(name)() for name in DOLMA}

    def tag(text: str) -> Any:
        found: dict[str, Any] = {}
        for name, tagger in taggers.items():
            try:
                spans = tagger.predict(Document(source="", version="", id="0", text=text)).spans
            except Exception as error:  # pii divides by the words of a text without any
                found[f"{name}.error"] = type(error).__name__
                continue
            for span in spans:
                key = f"{name}.{span.type}"
                found.setdefault(key, [span.start, span.end, span.score, 0])[3] += 1
        return found

    return tag


DOLMA = (
    *("code_redpajama_taggers_v1", "code_copyright_comments_v1", "gopher_v1", "gopher_v2", "c4_v2"),
    *("pii_regex_with_counts_fast_v2", "char_length_v1", "whitespace_tokenizer_v1"),
)


def data_juicer() -> Callable[[str], Any]:
    import contextlib

    import regex

    with contextlib.redirect_stdout(sys.stderr):
        from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
        from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
        from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
        from data_juicer.ops.filter.text_length_filter import TextLengthFilter
        from data_juicer.ops.filter.words_num_filter import WordsNumFilter
        from data_juicer.ops.mapper.clean_copyright_mapper import CleanCopyrightMapper
        from data_juicer.ops.mapper.clean_email_mapper import CleanEmailMapper
        from data_juicer.ops.mapper.clean_ip_mapper import CleanIpMapper
        from data_juicer.utils.constant import Fields

        filters = [
            AlphanumericFilter(),
            AverageLineLengthFilter(),
            MaximumLineLengthFilter(),
            TextLengthFilter(),
            WordsNumFilter(),
        ]
        mappers = [CleanCopyrightMapper(), CleanEmailMapper(repl="\0"), CleanIpMapper(repl="\0")]

    def measure(text: str) -> Any:
        found: dict[str, Any] = {}
        for op in filters:
            samples = op.compute_stats_batched({op.text_key: [text], Fields.stats: [{}]})
            (kept,) = op.process_batched(samples)
            for value in samples[Fields.stats][0].values():
                found[op._name] = [value, bool(kept)]
        for mapper in mappers:
            left = mapper.process_batched({mapper.text_key: [text]})[mapper.text_key][0]
            pattern = getattr(mapper, "pattern", None)
            matches = [match[0] for match in regex.finditer(pattern, text)] if pattern else []
            found[mapper._name] = [len(left), left != text, matches[:MATCHES]]
        return found

    return measure


if __name__ == "__main__":
    kinds: dict[str, Callable[..., Callable[[str], Any]]] = {
        "fineweb": fineweb,
        "redpajama": redpajama,
        "importance": importance,
        "ccnet": ccnet,
        "dolma": dolma,
        "data-juicer": data_juicer,
    }
    judge = kinds[sys.argv[1]](*sys.argv[2:])
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))))
