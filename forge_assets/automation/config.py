"""What a model's YAML may say of when it is trained again."""

from typing import Literal, Self
from zoneinfo import available_timezones

import dagster as dg
from dagster._utils.schedules import is_valid_cron_string
from pydantic import Field, field_validator, model_validator

from forge_pipelines.manifest import Value


class NewDocuments(Value):
    """How the folders of a model's sources are watched."""

    settle_seconds: float = Field(
        60, ge=0, description="For how long no file may have changed before a run starts, in seconds."
    )
    look_every_seconds: int = Field(30, ge=1, description="Time between two looks at the files, in seconds.")


class RetrainConfig(Value):
    """When a model is made again. Nothing starts by itself until it is turned on, here or in the web UI."""

    cron: str | None = Field(None, description="A schedule of the model's job, as cron writes it: `0 3 * * 1`.")
    timezone: str = Field("UTC", description="The time zone of `cron`, for example `Europe/Berlin`.")
    on_new_documents: NewDocuments | None = Field(
        None, description="Run the model's job when the documents of its sources have changed and have settled."
    )
    on_stale: bool = Field(
        False,
        description="Make an asset of the model again when what it is made from has changed and passed its checks.",
    )
    fresh_within_hours: float | None = Field(
        None, gt=1 / 60, description="The model is shown as overdue when its last registration is older, in hours."
    )
    default_status: Literal["stopped", "running"] = Field(
        "stopped", description="Whether schedule and sensors run at once, or wait until the web UI turns them on."
    )

    @field_validator("cron")
    @classmethod
    def _cron_means_something(cls, cron: str | None) -> str | None:
        if cron is not None and not is_valid_cron_string(cron):
            raise ValueError(f"«{cron}» is no cron schedule; write five fields such as 0 3 * * 1 (Mondays at 3:00)")
        return cron

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, timezone: str) -> str:
        if timezone not in available_timezones():
            raise ValueError(f"«{timezone}» is no time zone; write one such as Europe/Berlin")
        return timezone

    @model_validator(mode="after")
    def _status_is_of_something(self) -> Self:
        if self.default_status == "running" and not (self.cron or self.on_new_documents or self.on_stale):
            raise ValueError("default_status turns nothing on: give cron, on_new_documents or on_stale")
        return self

    @property
    def schedule_status(self) -> dg.DefaultScheduleStatus:
        """`default_status`, as Dagster says it of schedules."""
        return dg.DefaultScheduleStatus[self.default_status.upper()]

    @property
    def sensor_status(self) -> dg.DefaultSensorStatus:
        """`default_status`, as Dagster says it of sensors."""
        return dg.DefaultSensorStatus[self.default_status.upper()]
