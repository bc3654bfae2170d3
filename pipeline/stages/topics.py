"""Topics: learned from documents, or told by a fastText model, a column of every document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from gristmill.classifiers.topics.settings import TopicSettings
from gristmill.facts import StepFacts
from gristmill.pins import digest_named
from gristmill.pipeline.run.libraries import CLASSIFIER, KERNELS
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making


class TopicsSection(TopicSettings):
    """Topics of some sources' documents or of all: learned from them, or told by a model."""

    learn_from: tuple[str, ...] = Field((), description="sources to learn topics from; all when unset")
    apply_to: tuple[str, ...] = Field((), description="sources whose documents get a topic; all when unset")


class TopicsTrainSlice(Slice):
    topics: TopicSettings
    sources: tuple[str, ...]
    heldout_fraction: float


class TopicsSlice(Slice):
    source: str
    topics: TopicSettings
    keep_removed: KeepRemoved


@dataclass(frozen=True, slots=True)
class TopicsTrainFacts(StepFacts):
    """Topics with their telling words and share of the sample, the largest first; documents of the sample,
    words known, and how far halves of it agree (the least adjusted Rand index of two), by number of
    topics."""

    topics: list[dict[str, Any]] = field(default_factory=list)
    documents: int = 0
    words: int = 0
    stability: float | None = None
    stability_by_number: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicsFacts(StepFacts):
    """Documents and bytes of text of each topic, removed ones among them."""

    topics: dict[str, list[int]] = field(default_factory=dict)


_REPORT = ("gristmill.pipeline.report.sections.topics:topics_section",)
TRAIN = StageKind(
    "topics-train",
    TopicsTrainSlice,
    "gristmill.pipeline.phases.models.topics:train",
    version=2,
    facts=TopicsTrainFacts,
    libraries=(*KERNELS, *CLASSIFIER),
    report=_REPORT,
)
ASSIGN = StageKind(
    "topics",
    TopicsSlice,
    "gristmill.pipeline.phases.models.topics:assign",
    version=1,
    facts=TopicsFacts,
    libraries=(*KERNELS, *CLASSIFIER),
    label="topics",
    books="texts",
    report=_REPORT,
    carries={"topic": "string", "topic_score": "float64"},
)


def plan(making: Making, settings: TopicsSection | None) -> None:
    """Learn topics, unless a model is named by path, and tell those of each source."""
    if settings is None:
        return
    topics = TopicSettings(**{name: getattr(settings, name) for name in TopicSettings.model_fields})
    model: tuple[str, ...] = ()
    external: dict[str, str] = {}
    if topics.model:
        external = {"model": digest_named(topics.model, "topics.model")}
    else:
        sources = making.sources(settings.learn_from or making.last)
        learned = TopicsTrainSlice(
            topics=topics.model_copy(update={"remove": ()}),  # what is removed changes no topic
            sources=sources,
            heldout_fraction=making.heldout_fraction,
        )
        model = (making.add("topics-train", TRAIN, learned, making.inputs(sources)),)
    for source in making.sources(settings.apply_to or making.last):
        piece = TopicsSlice(source=source, topics=topics, keep_removed=making.recipe.keep_removed)
        inputs = (making.last[source], *model)
        making.last[source] = making.add(f"topics/{source}", ASSIGN, piece, inputs, external)


SECTIONS = (
    Section(
        "topics",
        TopicsSection,
        plan,
        order=52,
        kinds=(TRAIN, ASSIGN),
        sources=("learn_from", "apply_to"),
        listed=True,
    ),
)
