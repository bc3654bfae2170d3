"""Rights: what sites and pages say of their use, and under which licence, as columns and rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gristmill.facts import StepFacts
from gristmill.hashing import sha256_json
from gristmill.pipeline.extract.statements import COLUMNS as STATEMENTS
from gristmill.pipeline.extract.statements import DIRECTIVES
from gristmill.pipeline.run.libraries import EXTRACTION, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind
from gristmill.pipeline.sources.settings import SourceSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making

# Robots that fetch for the training of models, or whose name a site uses to forbid that: as their owners
# publish them (commoncrawl.org/ccbot, platform.openai.com/docs/bots, developers.google.com/search/docs/
# crawling-indexing/overview-google-crawlers, support.anthropic.com, support.apple.com/119829,
# developers.facebook.com/docs/sharing/webmasters/web-crawlers).
AGENTS = ("CCBot", "GPTBot", "Google-Extended", "ClaudeBot", "Applebot-Extended", "Meta-ExternalAgent")
FILES = ("robots.txt", "ai.txt", "tdm")
SIGNALS = (*FILES, *DIRECTIVES)
HONOURED = ("robots.txt", "ai.txt", "tdm", "noai", "noml")
CARRIED = {"opt_out": "string", "licence": "string"}


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LicenceRules(_Settings):
    """Which licences documents may have; `*` in a pattern stands for anything."""

    keep: tuple[str, ...] = Field(
        (),
        description=(
            "such as cc-by-*, cc0-*; others are removed; empty: any. `permissive`: the permissive ones of"
            " source files"
        ),
    )
    remove: tuple[str, ...] = Field((), description="such as cc-*-nd-*, cc-*nc*")
    unmarked: Literal["keep", "remove"] = Field(
        "keep", description="documents for which neither page nor source names a licence"
    )


class RightsSection(_Settings):
    """Opt-outs and licences: what sites and pages say of their use is counted, and honoured by rules."""

    archives: SourceSettings | None = Field(
        None,
        description=(
            "archives with records of /robots.txt, /ai.txt and /.well-known/tdmrep.json, such as Common"
            " Crawl's subset `robotstxt`; other records in them are passed over"
        ),
    )
    agents: tuple[str, ...] = Field(
        AGENTS, description="robots whose groups in robots.txt, and whose directives in pages, count"
    )
    honour: tuple[str, ...] = Field(
        HONOURED,
        description=f"signals that remove a document, the others are counted: {', '.join(SIGNALS)}",
    )
    licences: LicenceRules = LicenceRules()
    notices: bool = Field(
        False,
        description=(
            "read licence notices at the head of source files, SPDX identifiers and the usual wording, where"
            " the page names no licence"
        ),
    )
    apply_to: tuple[str, ...] = Field((), description="all sources when unset")

    @field_validator("honour")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in SIGNALS:
                raise ValueError(f"no signal `{name}`; there are {', '.join(SIGNALS)}")
        return value

    @field_validator("agents")
    @classmethod
    def _tokens(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise ValueError(f"an agent is named by its product token (CCBot), got {name!r}")
        return value


class SiteRulesSlice(Slice):
    archives: SourceSettings
    agents: tuple[str, ...]
    shard_bytes: int


class RightsSlice(Slice):
    source: str
    agents: tuple[str, ...]
    honour: tuple[str, ...]
    licences: LicenceRules
    licence: str | None
    notices: bool
    drops: tuple[str, ...]
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRulesFacts(StepFacts):
    """Files read by kind, those that say nothing to the agents left out; sites that have rules; and what was
    passed over, by name."""

    files: dict[str, int] = field(default_factory=dict)
    sites: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsFacts(StepFacts):
    """Documents that came in, those with each signal, and those that are left by licence."""

    documents: int = 0
    signals: dict[str, int] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)


SITE_RULES = StageKind(
    "site-rules",
    SiteRulesSlice,
    "gristmill.pipeline.phases.rights.site_rules:site_rules",
    version=1,
    libraries=(*KERNELS, *EXTRACTION),
    facts=SiteRulesFacts,
)
RIGHTS = StageKind(
    "rights",
    RightsSlice,
    "gristmill.pipeline.phases.rights.rights:rights",
    version=1,
    libraries=KERNELS,
    facts=RightsFacts,
    label="rights",
    books="texts",
    carries=CARRIED,
    hands="rights",
    follows="gristmill.pipeline.phases.rights.rights:as_they_come",
    report=("gristmill.pipeline.report.sections.rights:rights_section",),
)


def statements_for(section: RightsSection | None, source: str, passthrough: tuple[str, ...]) -> list[str]:
    """The columns that a source's pages are read for besides those its user asks for."""
    if section is None or (section.apply_to and source not in section.apply_to):
        return []
    return [name for name in STATEMENTS if name not in passthrough]


def plan(making: Making, settings: RightsSection | None) -> None:
    """Read the sites' files once, then one step a source."""
    if settings is None:
        return
    recipe = making.recipe
    rules: tuple[str, ...] = ()
    if settings.archives:
        from gristmill.pipeline.sources.plan import list_inputs

        files = list_inputs(settings.archives)
        listing = [[file.shown, file.size, file.version] for file in files]
        read = SiteRulesSlice(
            archives=settings.archives, agents=settings.agents, shard_bytes=recipe.shard_bytes
        )
        rules = (
            making.add(
                "site-rules", SITE_RULES, read, external={"inputs": sha256_json(listing)}, files=files
            ),
        )
    for source in making.sources(settings.apply_to or making.last):
        own = recipe.sources.get(source)
        piece = RightsSlice(
            source=source,
            agents=settings.agents,
            honour=settings.honour,
            licences=settings.licences,
            licence=own.licence if own else None,
            notices=settings.notices,
            drops=tuple(statements_for(settings, source, tuple(own.passthrough) if own else ())),
            keep_removed=recipe.keep_removed,
        )
        making.last[source] = making.add(f"rights/{source}", RIGHTS, piece, (making.last[source], *rules))


SECTIONS = (
    Section(
        "rights",
        RightsSection,
        plan,
        order=15,
        kinds=(SITE_RULES, RIGHTS),
        sources=("apply_to",),
        listed=True,
    ),
)
