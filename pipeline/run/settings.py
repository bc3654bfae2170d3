"""What a recipe says about how tasks are run; outside every identity, so that a change here redoes
nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gristmill.errors import UsageError
from gristmill.pipeline.run.job import Phase
from gristmill.pipeline.run.stage import kinds


class StageNeeds(BaseModel):
    """What one task of a stage takes, where the stage's own figures do not fit the machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_cpus: float | None = Field(None, gt=0, description="CPUs a task holds")
    num_gpus: float | None = Field(
        None, gt=0, description="GPUs a task holds where a node has any; 0.25: four tasks share one"
    )
    memory_bytes: int | None = Field(
        None, ge=1, description="memory a task holds: Ray starts no more than fit a node"
    )
    window: int | None = Field(None, ge=1, description="tasks in flight")


class EngineSettings(BaseModel):
    """On which engine tasks run, how many at a time, and how often one is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["auto", "inline", "ray"] = Field(
        "auto",
        description="auto: Ray when a phase has more than one task and more than one CPU is there, and reads"
        " more than 16 MB or takes longer than Ray to start",
    )
    workers: int | None = Field(None, ge=1, description="CPUs to use; all of them when unset")
    address: str | None = Field(None, description="address of a running Ray cluster; RAY_ADDRESS when unset")
    retries: int = Field(2, ge=0, description="further attempts at a task that raised")
    retry_seconds: float = Field(
        0.5, ge=0, description="pause before the first further attempt; doubles each time"
    )
    window: int | None = Field(
        None, ge=1, description="tasks in flight; twice the cluster's CPUs and two when unset, as it grows"
    )
    speculate: bool = Field(
        True, description="run the last tasks of a phase a second time on another node that idles"
    )
    record_seconds: float = Field(
        60.0, ge=0, description="how long a finished task's record may take to be seen by the driver"
    )
    profile: bool = Field(
        False, description="tell in each task's record where its CPU time went; the report shows it by step"
    )
    stages: dict[str, StageNeeds] = Field(
        {}, description="what tasks of a stage take, by its name, such as `extract`"
    )

    @field_validator("stages")
    @classmethod
    def _names_of_stages(cls, stages: dict[str, StageNeeds]) -> dict[str, StageNeeds]:
        for name in stages:
            if name not in kinds():
                raise ValueError(f"there is no stage `{name}`; the stages are {', '.join(kinds())}")
        return stages

    def with_said(self, **said: Any) -> EngineSettings:
        """Return the settings with what was said besides on top; raises UsageError for what is no value."""
        told = {name: value for name, value in said.items() if value is not None}
        try:
            return EngineSettings.model_validate({**self.model_dump(), **told})
        except ValidationError as error:
            (name, *_), message = error.errors()[0]["loc"], error.errors()[0]["msg"]
            spelled = "engine" if name == "kind" else name
            raise UsageError(
                f"`--{spelled}`: {message[0].lower()}{message[1:]}, got {told.get(str(name))!r}"
            ) from None

    def provide(self, stage: str, phase: Phase) -> Phase:
        """Return the phase with what the settings say of its stage."""
        needs = self.stages.get(stage, StageNeeds()).model_dump(exclude_none=True)
        asked = phase.is_asked or bool(needs.keys() - {"window", "num_gpus"})
        return replace(phase, **needs, is_asked=asked, profile=self.profile)
