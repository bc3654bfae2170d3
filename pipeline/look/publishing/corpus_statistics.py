"""What a published corpus says of itself in numbers: from manifests, shard records, and side columns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from gristmill.files.parquet import parquet_schema, read_parquet
from gristmill.pipeline.look.funnel import Funnel, build_funnel
from gristmill.pipeline.look.reading import RunView, read_view
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.records.final import final_documents
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.stages.generate import GenerateFacts
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.stages.rights import RightsFacts
from gristmill.pipeline.stages.tokenizer import EncodeFacts

_TOP = 30
_LICENCE = ("license", "licence", "license_abbr", "cc_license")


def statistics(out: Path) -> dict[str, Any]:
    """Documents, bytes and tokens by source; languages, domains, years, lengths; funnel and rules; personal
    data, opt-outs, licences, contamination; what is known to be missing."""
    view = read_view(out)
    funnel = build_funnel(view)
    last = _last_totals(funnel)
    tallies: dict[str, Counter[str]] = {}
    lengths: Counter[str] = Counter()
    for source, totals in last.items():
        for name, tally in totals.tallies.get(source, {}).items():
            tallies.setdefault(name, Counter()).update(tally)
        histogram = totals.lengths.get(source, {})
        for low, number in zip(histogram.get("bins", ()), histogram.get("kept", ()), strict=False):
            lengths[f"{int(low)}"] += int(number)
    rules = Counter[str]()
    for level in funnel.levels:
        if level.num_tokens is None:
            rules.update(level.by_rule_first)
    return {
        "name": view.name,
        "gristmill": view.version,
        "complete": view.complete,
        "records": funnel.records,
        "pages": funnel.pages,
        "documents": funnel.documents,
        "text_bytes": funnel.text_bytes,
        "tokens": _tokens(view),
        "sources": _sources(view, funnel, last),
        "languages": _largest(tallies.get("kept.language", Counter())),
        "domains": _largest(tallies.get("kept.domain", Counter())),
        "years": {name: int(num) for name, num in sorted(tallies.get("kept.year", Counter()).items())},
        "lengths_bytes_from": dict(lengths),
        "funnel": [
            {"after": level.name, "documents": level.documents, "removed": level.removed,
             "failed": level.failed, "text_bytes": level.text_bytes}
            for level in funnel.levels
        ],
        "rules": dict(rules.most_common()),
        "personal_data": _personal_data(view),
        "licences": _licences(out),
        "opt_out": {name: number for name, number in rules.items() if _is_opt_out(name)},
        "opt_out_found": _signals(view),
        "synthetic": _synthetic(view),
        "contamination": {name: number for name, number in rules.items() if "decontaminat" in name},
        "problems": list(view.problems),
    }  # fmt: skip


def _tokens(view: RunView) -> dict[str, int]:
    """Tokens encoded, in training shards and held out, where there are any."""
    encoded = sum(step.stated(EncodeFacts).tokens for step in view.of_stage("encode") if step.manifest)
    found = {"encoded": encoded} if encoded else {}
    for step in view.of_stage("mix"):
        facts = step.stated(MixFacts)
        if facts.table:
            found["in_shards"] = sum(int(row["tokens"]) for row in facts.table)
            found["heldout"] = sum(int(row["tokens"]) for row in facts.heldout)
    return found


def _sources(view: RunView, funnel: Funnel, last: dict[str, Totals]) -> dict[str, dict[str, Any]]:
    settings = view.recipe.get("sources", {})
    tokens = {
        step.name.partition("/")[2]: step.stated(EncodeFacts).tokens
        for step in view.of_stage("encode")
        if step.manifest
    }
    found: dict[str, dict[str, Any]] = {}
    for level in funnel.levels:
        for source, (kept, removed, failed) in level.by_source.items():
            row = found.setdefault(source, {"pages": kept + removed + failed, "removed": 0, "failed": 0})
            row["documents"] = kept
            row["removed"] += removed
            row["failed"] += failed
    for source, row in found.items():
        books = last[source].by_source.get(source) if source in last else None
        row["text_bytes"] = (books.created_bytes or books.bytes_out["kept"]) if books else 0
        row |= {"tokens": tokens[source]} if source in tokens else {}
        given = settings.get(source, {})
        if isinstance(given, dict):
            row |= {name: given[name] for name in ("inputs", "licence") if given.get(name)}
    return found


def _last_totals(funnel: Funnel) -> dict[str, Totals]:
    last: dict[str, Totals] = {}
    for level in funnel.levels:
        if level.num_tokens is None:
            for step in level.steps:
                last |= dict.fromkeys(step.totals.by_source, step.totals)
    return last


def _largest(tally: Counter[str]) -> dict[str, int]:
    ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))[:_TOP]
    return {name if name not in ("None", "") else "unknown": int(number) for name, number in ordered}


def _personal_data(view: RunView) -> dict[str, int]:
    """Addresses and numbers that filters found, by kind, from their signals."""
    found: Counter[str] = Counter()
    for step in view.of_stage("filter"):
        for path in step.manifest.paths("signals") if step.manifest else ():
            names = [name for name in parquet_schema(path).names if ".pii." in f".{name}"]
            if names:
                table = read_parquet(path, names)
                for name in names:
                    found[name.rpartition(".")[2]] += int(pc.sum(table[name]).as_py() or 0)
    return dict(sorted(found.items()))


def _licences(out: Path) -> dict[str, int]:
    """Documents by licence, where a pass-through column says it."""
    found: Counter[str] = Counter()
    for part in final_documents(finished_steps(out)):
        for path, _ in part.files:
            there = parquet_schema(path).names
            column = next((name for name in there if name.rpartition(".")[2].lower() in _LICENCE), None)
            if column:
                found.update(str(value) for value in read_parquet(path, [column])[column].to_pylist())
    return _largest(found)


def _synthetic(view: RunView) -> dict[str, dict[str, Any]]:
    """Sources that a model wrote: which, from which sources, how many prompts and tokens."""
    found = {}
    for step in view.of_stage("generate"):
        if step.manifest:
            settings, facts = step.manifest.ingredients["settings"], step.stated(GenerateFacts)
            found[settings["source"]] = {
                "model": settings["generate"]["server"]["model"],
                "seeds": settings["seeds"],
                "templates": list(settings["wording"]),
                "prompts": facts.prompts,
                "tokens": facts.tokens_out,
            }
    return found


def _signals(view: RunView) -> dict[str, int] | None:
    """Documents by the opt-outs found for them, honoured or not; None where no step looked for any."""
    steps = [step for step in view.of_stage("rights") if step.manifest]
    found: Counter[str] = Counter()
    for step in steps:
        found.update(step.stated(RightsFacts).signals)
    return dict(found.most_common()) if steps else None


def _is_opt_out(rule: str) -> bool:
    return any(word in rule.lower() for word in ("opt_out", "optout", "noai", "robots", "tdm"))
