"""Read the files by which sites speak to robots out of archives, into one table sorted by site.

One task per shard of the archives keeps what robots.txt, ai.txt and tdmrep.json say to the agents asked for;
merging brings all files of a site together. Of a site with several (schemes, dates, archives) all count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from gristmill.dedup.sorted.runs import SortedRun, key_range, num_parts
from gristmill.facts import Counts, Facts
from gristmill.hashing import digest16
from gristmill.pipeline.extract.decoding.content import TooLarge, decode_content, is_coded, may_be_coded
from gristmill.pipeline.phases.packed_rows import read_rows, write_rows
from gristmill.pipeline.phases.rights.robots import (
    MAX_BYTES,
    Group,
    parse,
    reservations,
    rules_for,
    site_of,
)
from gristmill.pipeline.phases.shuffle import files, over_parts, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import Failure, InputShard, RangeEnd, Record
from gristmill.pipeline.stages.rights import SiteRulesFacts, SiteRulesSlice

PATHS = {"/robots.txt": "robots.txt", "/ai.txt": "ai.txt", "/.well-known/tdmrep.json": "tdm"}
_PART_SITES = 4_000_000
_MAX_INFLATED = 8 << 20

Said = tuple[str, str, Any]  # site, kind of file, what it says


@dataclass(frozen=True, slots=True)
class Ends(Facts):
    """Where each range of a shard's archives ended."""

    ends: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FilesRead(Counts):
    rows: int = 0
    sites: int = 0


def site_rules(job: Job[SiteRulesSlice]) -> Stage:
    """Read every shard, check that ranges of split files meet, and merge by site."""
    shards = plan_shards(job.settings.archives, job.settings.shard_bytes, job.carried.get("files"))
    tasks = [Task(f"{number:05d}", read_files, {"shard": shard}) for number, shard in enumerate(shards)]
    read = yield Phase("files", tasks)
    check_ranges_meet(RangeEnd(**end) for record in read for end in record.stated(Ends).ends)
    parts = num_parts(FilesRead.total(read).rows, _PART_SITES)
    merged = yield over_parts("sites", merge_sites, parts, runs=files(job, read, "said"))
    counts: Counter[str] = Counter()
    for record in read:
        counts.update(record.counts)
    passed_over = {name.removeprefix("note."): num for name, num in counts.items() if name[:5] == "note."}
    notes = [f"{num:,} {_SPELLED[name]}" for name, num in sorted(passed_over.items())]
    return SiteRulesFacts(
        files={
            name.removeprefix("file."): num for name, num in sorted(counts.items()) if name[:5] == "file."
        },
        sites=FilesRead.total(merged).sites,
        passed_over=dict(sorted(passed_over.items())),
        notes=notes or None,
        replaced_files=passed_on(job, read),
    )


_SPELLED = {
    "cut": f"files of sites were longer than {MAX_BYTES:,} bytes: the rest was not read (RFC 9309, 2.5)",
    "unreadable": "files of sites could not be read: damaged, or no JSON of their kind",
    "damaged": "records of the archives with files of sites were damaged",
    "unreachable": "sites answered 5xx for robots.txt when it was asked for: nothing is known of them",
    "other_status": "files of sites were redirects or not there: they say nothing",
}


def read_files(task: Attempt[SiteRulesSlice], shard: InputShard) -> None:
    counts: Counter[str] = Counter()
    agents = sorted({agent.lower() for agent in task.settings.agents})
    said: list[Said] = []
    ends: list[dict[str, Any]] = []
    for item in read_records(shard, task.settings.archives):
        if isinstance(item, Record):
            said += _said_by(item, agents, counts)
        elif isinstance(item, Failure):
            counts["note.damaged"] += 1
        elif isinstance(item, RangeEnd):
            ends.append(asdict(item))
    said.sort(key=lambda one: (one[0], one[1], json.dumps(one[2])))
    path = task.scratch / "said.run"
    write_rows(path, [(site_key(site), [site, kind, what]) for site, kind, what in said])
    task.record.counts = dict(counts)
    task.record.state(FilesRead(rows=len(said)), Ends(ends))
    task.publish(path, "said", len(said))


def _said_by(record: Record, agents: Sequence[str], counts: Counter[str]) -> Iterator[Said]:
    """What the file of a site in one record says to the agents; nothing for other records."""
    url = record.url or ""
    path = url.partition("://")[2].partition("?")[0]
    kind = PATHS.get(path[path.find("/") :] if "/" in path else "")
    site = site_of(url)
    if kind is None or not site:
        return
    if record.status is not None and record.status != 200:
        counts["note.unreachable" if record.status >= 500 else "note.other_status"] += 1
        return
    body = record.payload if record.payload is not None else (record.text or "").encode()
    try:
        if record.content_encoding or is_coded(body) or may_be_coded(body):
            body = decode_content(body, record.content_encoding, _MAX_INFLATED).body
        if len(body) > MAX_BYTES:
            counts["note.cut"] += 1
        what: Any = reservations(body) if kind == "tdm" else _by_agents(parse(body), agents)
    except (ValueError, TooLarge):
        counts["note.unreadable"] += 1
        return
    counts[f"file.{kind}"] += 1
    if what:
        yield site, kind, what


def _by_agents(groups: Sequence[Group], agents: Sequence[str]) -> list[Any]:
    """Rules that forbid something, each with the agents they are for."""
    found: dict[tuple[tuple[bool, str], ...], list[str]] = {}
    for agent in agents:
        rules = tuple(rules_for(groups, agent))
        if any(not allows for allows, _ in rules):
            found.setdefault(rules, []).append(agent)
    return [[names, [[int(allows), pattern] for allows, pattern in rules]] for rules, names in found.items()]


def merge_sites(task: Attempt[SiteRulesSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    low, high = key_range(part, parts)
    rows = [row for path in runs for row in read_rows(SortedRun(Path(path)), low, high)]
    rows.sort(key=lambda row: (row[0], row[1], json.dumps(row[2])))
    sites = []
    for site, group in groupby(rows, key=lambda row: row[0]):
        by_kind: dict[str, list[Any]] = {}
        for _, kind, what in group:
            if what not in by_kind.setdefault(kind, []):
                by_kind[kind].append(what)
        sites.append((site, by_kind))
    path = task.scratch / "sites.run"
    write_rows(path, [(site_key(site), [site, said]) for site, said in sites])
    task.record.state(FilesRead(sites=len(sites)))
    task.publish(path, "site-rules", len(sites))


def site_key(site: str) -> int:
    """The 64 bits under which a site is filed."""
    return int.from_bytes(digest16("site", site)[:8], "big")


def rules_of(runs: Sequence[SortedRun], site: str) -> Mapping[str, Any]:
    """What the files of a site say, by kind."""
    key = site_key(site)
    for run in runs:
        for name, value in read_rows(run, key, key + 1):
            if name == site:
                found: Mapping[str, Any] = value
                return found
    return {}
