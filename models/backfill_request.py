"""The words of a backfill: which videos, and the request that each of them gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.json_schema import SkipJsonSchema

from models.errors import PermanentError
from models.request import FPS_PATTERN, InferenceRequest, ModelRequest

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,79}$"
"""What a backfill may be called: its folder in the store and its table's key in Prefect."""


class BadRowError(PermanentError):
    """What a row of a manifest says cannot be meant as it stands."""


def _optional(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class BackfillRequest(BaseModel):
    """Models to run on the frames of many videos."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Backfill request")

    source: str = Field(
        min_length=1,
        max_length=4096,
        title="Videos",
        description="A folder (s3://bucket/prefix, or one that the worker offers), or a list of videos: a file "
        ".csv, .parquet or .jsonl there, or store:KEY in the store.",
        examples=["s3://bucket/recordings", "s3://bucket/lists/june.csv"],
    )
    models: list[ModelRequest] = Field(min_length=1, max_length=64, title="Models")
    infer_fps: (
        Annotated[float, Field(gt=0, title="Frames a second", allow_inf_nan=False)]
        | Annotated[str, Field(pattern=FPS_PATTERN, title="Fraction, or 'all'")]
    ) = Field(
        default=1.0,
        title="Frames a second",
        description="How many frames of each second to look at: a number, a fraction such as 1/3, or all.",
    )
    start_s: Annotated[float, Field(ge=0)] | SkipJsonSchema[None] = Field(
        default=None, json_schema_extra=_optional, title="Start (seconds)", description="Leave out samples before it."
    )
    end_s: Annotated[float, Field(gt=0)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="End (seconds)",
        description="Leave out samples from there on.",
    )
    gpu_runs: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, title="GPU runs", description="How many GPUs of a pool share the segments of a long video."
    )
    name: Annotated[str, Field(pattern=NAME_PATTERN)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Name",
        description="Started again under the same name, it continues. Empty makes a name of source and request.",
    )
    in_flight: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2, title="In flight", description="How many GPU runs wait or work at a time."
    )
    again: Literal["no", "failed", "all"] = Field(
        default="no",
        title="Do again",
        description="Which finished videos are gone through again: none (but those whose failure may pass), the "
        "failed ones, or all. What already stands of them is used.",
    )

    @field_validator("infer_fps")
    @classmethod
    def _positive_rate(cls, value: float | str) -> float | str:
        return InferenceRequest(video_id="0" * 32, infer_fps=value, models=[ModelRequest(model_id="x")]).infer_fps

    def common_part(self) -> dict[str, Any]:
        """What decides the videos' results, as JSON; a name stands for one source and one such part."""
        return self.model_dump(mode="json", include={"models", "infer_fps", "start_s", "end_s"})

    def request_for(self, video_id: str, overrides: dict[str, Any]) -> InferenceRequest:
        """The request of one video, with what its row says otherwise. Raises `BadRowError`."""
        fields = {name: getattr(self, name) for name in ("models", "infer_fps", "start_s", "end_s", "gpu_runs")}
        try:
            return InferenceRequest.model_validate({**fields, **overrides, "video_id": video_id})
        except ValidationError as error:
            raise BadRowError(_sentence(error)) from None

    def checked_overrides(self, overrides: dict[str, Any]) -> str | None:
        """Say what is wrong with a row's words before anything is done for it; `None` where nothing is."""
        try:
            self.request_for("0" * 32, overrides)
        except BadRowError as error:
            return str(error)
        return None


def _sentence(error: ValidationError) -> str:
    told = {".".join(map(str, item["loc"][:3])): item["msg"].removeprefix("Value error, ") for item in error.errors()}
    return "; ".join(f"{path}: {message}" if path else message for path, message in told.items()) + "."
