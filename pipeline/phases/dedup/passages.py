"""Cut passages that occur in a document before, but for small changes, over the whole corpus."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.dedup.below import passage_links, passages, substring
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards
from gristmill.pipeline.run.job import Job, Stage
from gristmill.pipeline.stages.dedup import PassageFacts, PassageSlice


@dataclass(frozen=True, slots=True)
class Seeds(Counts):
    """A shard's seeds, and their distinct keys."""

    seeds: int = 0
    prints: int = 0


@dataclass(frozen=True, slots=True)
class Repeated(Counts):
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Places(Counts):
    """A shard's seeds whose key is repeated."""

    places: int = 0


@dataclass(frozen=True, slots=True)
class Links(Counts):
    links: int = 0


@dataclass(frozen=True, slots=True)
class Chains(Counts):
    """Chains of links that are aligned, and those that are not, for others of the same place share more."""

    chains: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Gathered(Counts):
    gathered: int = 0


FRAME = Frame(
    f"{__name__}:FRAME",
    "passages",
    (
        OverShards("prints", passage_links.map_prints, (Seeds,), rows="prints"),
        OverRanges(
            "repeated", substring.find_repeated, (Repeated,), passage_links.prints_at_a_time, rows="repeated"
        ),
        OverShards("seeds", passage_links.map_seeds, (Places,), rows="places"),
        OverRanges("links", passage_links.find_links, (Links,), passage_links.seeds_at_a_time, rows="links"),
        OverShards("chains", passage_links.find_chains, (Chains,), rows="chains"),
        OverShards("words", passages.gather_words, (Gathered,), rows="gathered"),
    ),
    passages.apply_passages,
    passages.PASSAGE_CUTS,
)


def passages_stage(job: Job[PassageSlice]) -> Stage:
    done = yield from FRAME.over(job)
    seeds, _repeated, places, links, chained, _words = done.passes
    chains = Chains.total(chained)
    return PassageFacts(
        seeds=Seeds.total(seeds).seeds,
        repeated_seeds=Places.total(places).places,
        links=Links.total(links).links,
        chains=chains.chains,
        left_out=chains.left_out,
        replaced_files=done.replaced_files,
    )
