"""Training: the bundled trainer learns from the mixed shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from gristmill.errors import GristmillError
from gristmill.facts import StepFacts
from gristmill.pipeline.run.libraries import TRAINER
from gristmill.pipeline.run.stage import Section, Slice, StageKind
from gristmill.tokenize.settings import MixSettings

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.making import Making
    from gristmill.pipeline.recipe.model import Recipe


class TrainSlice(Slice):
    train: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainFacts(StepFacts):
    """The trainer's summary, where its last checkpoint lies, and a text that the model wrote; `balance` is
    that of `gristmill.trainer.data.balance`."""

    parameters: int = 0
    steps: int = 0
    tokens: int = 0
    loss: float | None = None
    skipped: int = 0
    balance: dict[str, int] = field(default_factory=dict)
    checkpoint: str = ""
    evaluations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    dtype: str = ""
    trunk: dict[str, Any] | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)


TRAIN = StageKind(
    "train",
    TrainSlice,
    "gristmill.pipeline.phases.train:train",
    version=2,
    facts=TrainFacts,
    libraries=TRAINER,
    report=("gristmill.pipeline.report.sections.training:training_section",),
)


def plan(making: Making, settings: dict[str, Any] | None) -> None:
    """One step over the mixed shards."""
    if settings is not None:
        making.add("train", TRAIN, TrainSlice(train=settings), ("mix",))


def check(recipe: Recipe) -> None:
    """Raise ValueError for training without a mixture."""
    if getattr(recipe, "train", None) is not None and recipe.section(MixSettings) is None:
        raise ValueError("`train` needs a `mix` section: it reads the mixed shards")


def _settings_of_the_trainer(train: dict[str, Any]) -> dict[str, Any]:
    from gristmill.trainer.config import Settings

    try:
        Settings.from_dict(train)
    except GristmillError as error:
        raise ValueError(str(error)) from None
    return train


SECTIONS = (
    Section(
        "train",
        Annotated[dict[str, Any], AfterValidator(_settings_of_the_trainer)],
        plan,
        order=110,
        kinds=(TRAIN,),
        description="settings of the trainer (docs/trainer.md)",
        check=check,
    ),
)
