"""The funnel of a run: what entered, and after every stage what is left, over all sources."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby

from gristmill.manifest import Manifest
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.run.records.final import lost_whole
from gristmill.pipeline.run.stage import is_entry, kinds, label_of, stage_of
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.stages.tokenizer import EncodeFacts


@dataclass(slots=True)
class Level:
    """What is left after a stage, and what left there; `num_tokens` once they are counted."""

    name: str
    documents: int
    text_bytes: int
    is_entry: bool = False
    came: int = 0  # pages or documents, to the stage: `documents` also counts sources that pass it by
    removed: int = 0
    failed: int = 0
    not_documents: int = 0
    removed_bytes: int = 0
    edited_bytes: int = 0
    num_tokens: int | None = None
    by_rule_first: Counter[str] = field(default_factory=Counter)
    by_rule_any: Counter[str] = field(default_factory=Counter)
    by_source: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # kept, removed, failed
    steps: list[StepView] = field(default_factory=list)


@dataclass(slots=True)
class Funnel:
    """`records` came in; every level follows from the one before."""

    records: int
    record_bytes: int
    levels: list[Level]

    @property
    def last(self) -> Level | None:
        """The last level of documents: mixing copies and drops some of them again."""
        return next((level for level in reversed(self.levels) if level.num_tokens is None), None)

    @property
    def pages(self) -> int:
        """The records that could be documents: not the requests, metadata and other kinds of an archive."""
        return self.records - sum(level.not_documents for level in self.levels if level.is_entry)

    @property
    def documents(self) -> int:
        return self.last.documents if self.last else 0

    @property
    def text_bytes(self) -> int:
        return self.last.text_bytes if self.last else 0

    @property
    def tokenized(self) -> Level | None:
        """The last level that counted tokens."""
        return next((level for level in reversed(self.levels) if level.num_tokens is not None), None)

    @property
    def num_tokens(self) -> int | None:
        return self.tokenized.num_tokens if self.tokenized else None


def build_funnel(view: RunView) -> Funnel:
    """Follow every source through its steps; a source that skips a stage is carried over it unchanged."""
    documents: dict[str, int] = {}
    text_bytes: dict[str, int] = {}
    funnel = Funnel(0, 0, [])
    named = Counter[str]()
    lossy = any(step.manifest and step.manifest.lost for step in view.steps)
    ended: dict[str, Manifest] = {}  # with which step each source ended so far, asked where tasks were lost
    for (label, enters, _), members in groupby(filter(_books_texts, view.steps), key=_level_of):
        group = list(members)
        name = label or label_of(group[0].stage)
        named[name] += 1
        level = Level(name if named[name] == 1 else f"{name} ({named[name]})", 0, 0, enters)
        for step in group:
            level.steps.append(step)
            _pass(step, level, documents, text_bytes)
            if lossy and step.manifest:
                gone = lost_whole(step.manifest, ended)
                documents |= dict.fromkeys(gone, 0)
                text_bytes |= dict.fromkeys(gone, 0)
                level.by_source |= dict.fromkeys(gone, (0, 0, 0))
                ended |= dict.fromkeys((*gone, *step.manifest.sources("documents")), step.manifest)
            if enters:
                funnel.records += step.totals.books.items_in
                funnel.record_bytes += step.totals.books.bytes_in
        level.documents, level.text_bytes = sum(documents.values()), sum(text_bytes.values())
        funnel.levels.append(level)
    funnel.levels += [level for level in (_encoded(view), _mixed(view)) if level]
    return funnel


def _books_texts(step: StepView) -> bool:
    """Whether a step's books are of documents; a stage that this version does not know is taken to be one."""
    kind = kinds().get(step.stage)
    lost = step.manifest is not None and step.manifest.lost  # all tasks, it may be: then it has no books
    return bool(step.totals.has_books or lost) and (kind is None or kind.books == "texts")


def _level_of(step: StepView) -> tuple[str, bool, str]:
    """The level of a step: those where documents enter are one, whose first step names it; a stage that a
    recipe lists twice makes two."""
    if is_entry(step.stage):
        return "", True, ""
    head = step.name.partition("/")[0]
    return label_of(step.stage), False, "" if stage_of(head) == head else head


def _encoded(view: RunView) -> Level | None:
    steps = [step for step in view.of_stage("encode") if step.manifest]
    if not steps:
        return None
    stated = [step.stated(EncodeFacts) for step in steps]
    documents, text_bytes, tokens = (
        sum(getattr(facts, name) for facts in stated) for name in ("documents", "bytes", "tokens")
    )
    return Level(label_of("encode"), documents, text_bytes, num_tokens=tokens, steps=steps)


def _mixed(view: RunView) -> Level | None:
    """What the training shards hold: copies of documents, so that there may be more of them than before."""
    steps = [step for step in view.of_stage("mix") if step.stated(MixFacts).table]
    if not steps:
        return None
    documents, text_bytes, tokens = (
        sum(row[name] for step in steps for row in step.stated(MixFacts).table)
        for name in ("docs", "bytes", "tokens")
    )
    level = Level(label_of("mix"), documents, text_bytes, num_tokens=tokens, steps=steps)
    for step in steps:
        books = step.totals.books
        level.came += books.items_in
        level.removed += books.items_out["removed"]
        level.not_documents += books.items_out["heldout"]
        level.by_rule_first.update(books.by_rule_first)
        level.by_rule_any.update(books.by_rule_any)
    return level


def _pass(step: StepView, level: Level, documents: dict[str, int], text_bytes: dict[str, int]) -> None:
    for source, books in step.totals.by_source.items():
        out = books.items_out
        documents[source] = out["kept"]
        # Extraction makes text out of payload; every later stage books text itself.
        text_bytes[source] = books.created_bytes or books.bytes_out["kept"]
        before = level.by_source.get(source, (0, 0, 0))
        counts = (out["kept"], before[1] + out["removed"], before[2] + out["failed"])
        level.by_source[source] = counts
        others = sum(number for name, number in out.items() if name not in ("kept", "removed", "failed"))
        level.came += books.items_in - others
        level.removed += out["removed"]
        level.failed += out["failed"]
        level.not_documents += others
        level.removed_bytes += books.bytes_out["removed"] + books.bytes_out["failed"]
        level.edited_bytes += books.bytes_out["deleted"] - books.inserted_bytes
        level.by_rule_first.update(books.by_rule_first)
        level.by_rule_any.update(books.by_rule_any)
