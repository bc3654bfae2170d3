"""Tell which documents carry an opt-out and under which licence they are, and keep or remove them by that."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from gristmill.dedup.sorted.runs import SortedRun
from gristmill.files.storage import read_tables
from gristmill.pipeline.extract.statements import SEVERAL
from gristmill.pipeline.phases.adopt import extra_fields, extra_fields_of
from gristmill.pipeline.phases.rights.notices import PERMISSIVE, licence_of
from gristmill.pipeline.phases.rights.robots import Rules, path_of, site_of
from gristmill.pipeline.phases.rights.site_rules import rules_of
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.onward import RowWise
from gristmill.pipeline.stages.rights import CARRIED, FILES, RightsFacts, RightsSlice

_KEPT_SITES = 4096  # whose rules a task holds compiled
_FIELDS = [pa.field(name, pa.string()) for name in CARRIED]
_NOTED = (pa.field("opt_out", pa.string()), pa.field("licence", pa.string()))


def rights(job: Job[RightsSlice]) -> Stage:
    piece = job.settings
    rules = _rules(job)
    records = yield over_paths("rights", judge_file, job.shards(piece.source), may_lose=True, rules=rules)
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.counts)

    def named(prefix: str) -> dict[str, int]:
        found = {name.removeprefix(prefix): num for name, num in counts.items() if name.startswith(prefix)}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    unread = [
        f"{counts[name]:,} documents of `{piece.source}` came without the column `{name[8:]}`: what their"
        " pages say is not known"
        for name in sorted(counts)
        if name.startswith("without.")
    ]
    return RightsFacts(
        documents=counts["documents"],
        signals=named("signal."),
        licences=named("licence."),
        notes=unread or None,
    )


def as_they_come(job: Job[RightsSlice]) -> RowWise:
    """How documents are judged in the tasks of the step before."""
    return RowWise(open_judgement, ("rights",), {"rules": _rules(job)})


def _rules(job: Job[RightsSlice]) -> list[str]:
    return [str(path) for path in job.paths("site-rules")]


class _Site(NamedTuple):
    """The rules of one site, compiled: for each file the agents, and what they may read."""

    files: Mapping[str, Sequence[tuple[Sequence[str], Rules]]]


class Judge:
    """What is known of a document's rights; the same for the same document, whatever came before."""

    def __init__(self, settings: RightsSlice, runs: Sequence[SortedRun]) -> None:
        self._settings, self._runs = settings, runs
        self._agents = {"*", *(agent.lower() for agent in settings.agents)}
        self._site = lru_cache(_KEPT_SITES)(self._compile)

    @property
    def reads_notices(self) -> bool:
        return self._settings.notices

    def signals(self, url: str | None, robots: str | None, tdm: str | None) -> list[str]:
        """Name every opt-out: `robots.txt:gptbot`, `ai.txt:*`, `tdm`, and directives such as `noai`."""
        found: list[str] = []
        site = self._site(site_of(url)) if url and self._runs else _Site({})
        path = path_of(url) if url and site.files else ""
        for kind in ("robots.txt", "ai.txt"):
            for agents, rules in site.files.get(kind, ()):
                if not (rules.allows(path) and (kind != "ai.txt" or rules.allows(_as_page(path)))):
                    found += [f"{kind}:{agent}" for agent in agents]
        if tdm == "1" or (
            tdm is None and any(not rules.allows(path) for _, rules in site.files.get("tdm", ()))
        ):
            found.append("tdm")
        for word in (robots or "").split():
            _, agent, directive = word.split(":")
            if agent in self._agents:
                found.append(directive)
        return list(dict.fromkeys(found))

    def refused_by(self, signals: Sequence[str]) -> str | None:
        """The rule of the first honoured signal, in the order of the settings."""
        names = {signal.partition(":")[0] for signal in signals}
        name = next((name for name in self._settings.honour if name in names), None)
        return name and f"opt_out.{name.replace('.', '_')}"

    def licence(self, mark: str | None, notice: str | None = None) -> tuple[str | None, str | None]:
        """The licence of a document, its page's own before its text's and its source's, and the rule that
        refuses it."""
        rules = self._settings.licences
        licence = mark or notice or self._settings.licence
        if licence is None:
            return None, "licence.unmarked" if rules.unmarked == "remove" else None
        codes = licence.split()
        if rules.keep and not all(_is_any(code, rules.keep) for code in codes):
            return licence, "licence.keep"
        is_refused = any(_is_any(code, rules.remove) for code in codes) or (
            codes == [SEVERAL] and rules.remove
        )
        return licence, "licence.remove" if is_refused else None

    def _compile(self, site: str) -> _Site:
        said = rules_of(self._runs, site) if site else {}
        files: dict[str, list[tuple[Sequence[str], Rules]]] = {}
        for kind in FILES:
            for what in said.get(kind, ()):
                groups = [[("*",), what]] if kind == "tdm" else what
                files.setdefault(kind, []).extend(
                    (agents, Rules([(bool(allows), pattern) for allows, pattern in rules]))
                    for agents, rules in groups
                )
        return _Site(files)


def judge_file(task: Attempt[RightsSlice], path: str, rules: Sequence[str]) -> None:
    work = RightsWork(task, extra_fields(Path(path)), rules)
    for table in read_tables(Path(path)):
        work.add(table)
    work.publish()


def open_judgement(
    attempts: Mapping[str, Attempt[RightsSlice]], schema: pa.Schema, rules: Sequence[str]
) -> RightsWork:
    return RightsWork(attempts["rights"], extra_fields_of(schema), rules)


class RightsWork:
    """The judging of one shard, group of rows by group of rows."""

    def __init__(self, task: Attempt[RightsSlice], came: Sequence[pa.Field], rules: Sequence[str]) -> None:
        settings = task.settings
        self._task, self._judge = task, Judge(settings, [SortedRun(Path(run)) for run in rules])
        named = {"carried": _FIELDS, "noted": _NOTED, "dropped": settings.drops}
        self._sieve = Sieve(task, came, settings.source, **named)
        self._counts: Counter[str] = Counter()

    def add(self, documents: pa.Table) -> None:
        columns, refusals = _judge(self._judge, documents, self._counts)
        empty = pa.nulls(documents.num_rows, pa.float64())
        self._sieve.decide(documents, pa.array(refusals, pa.string()), empty, empty, columns)

    def publish(self) -> None:
        self._task.record.counts = dict(sorted(self._counts.items()))
        self._sieve.publish()


def _judge(
    judge: Judge, table: pa.Table, counts: Counter[str]
) -> tuple[dict[str, pa.Array], list[str | None]]:
    there = set(table.column_names)
    rows: list[Sequence[Any]] = [table.column("url").to_pylist()]
    for name in ("page.robots", "page.tdm_reservation", "page.licence"):
        if name not in there:
            counts[f"without.{name}"] += table.num_rows
        rows.append(table.column(name).to_pylist() if name in there else [None] * table.num_rows)
    opt_outs: list[str | None] = []
    licences: list[str | None] = []
    refusals: list[str | None] = []
    texts = table.column("text").to_pylist() if judge.reads_notices else [None] * table.num_rows
    for text, url, robots, tdm, mark in zip(texts, *rows, strict=True):
        signals = judge.signals(url, robots, tdm)
        licence, refused = judge.licence(mark, licence_of(text) if text else None)
        rule = judge.refused_by(signals) or refused
        opt_outs.append(" ".join(signals) or None)
        licences.append(licence)
        refusals.append(rule)
        counts.update(f"signal.{signal}" for signal in signals)
        if rule is None:
            counts[f"licence.{licence or 'none'}"] += 1
    counts["documents"] += table.num_rows
    columns = {"opt_out": pa.array(opt_outs, pa.string()), "licence": pa.array(licences, pa.string())}
    return columns, refusals


def _as_page(path: str) -> str:
    """A path as a file of a web page: ai.txt names kinds of media by their endings, `*.html` for text."""
    plain = path.partition("?")[0]
    last = plain.rpartition("/")[2]
    return plain if "." in last else f"{plain}{'' if last else 'index'}.html"


def _is_any(code: str, patterns: Sequence[str]) -> bool:
    """Whether a licence is one of some patterns."""
    return any(
        code in PERMISSIVE if pattern == "permissive" else fnmatch.fnmatchcase(code, pattern)
        for pattern in patterns
    )
