"""The words of a request. The Prefect UI's form and the server's own check come from these classes' JSON schema.

Whatever a JSON schema can say is said in the schema (the server then refuses a bad request in 20 ms, naming the field);
Python validators hold only what it cannot. This module imports neither Prefect nor torch.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from models.errors import PermanentError
from models.inference_types import TYPES

ALL_FRAMES = "all"


def _optional(schema: dict[str, Any]) -> None:
    """Leave a null default out of the schema: forms then show one plain field, and servers still take a null."""
    schema.pop("default", None)


def _type_choices(schema: dict[str, Any]) -> None:
    _optional(schema)
    schema["enum"] = [*TYPES, None]


FPS_PATTERN = r"^(all|[0-9]+(\.[0-9]+)?|[0-9]+/[0-9]+)$"
"""A rate as text."""
_ID_PATTERN = r"^[0-9a-f]{32}$"
KEY_PATTERN = r"^[^\x00-\x1f]{1,200}$"
"""What a model's list may be called in the result, and what a caller's idempotency key may be."""


_Prompt = Annotated[str, Field(min_length=1, max_length=1000)]
Prompts = (
    Annotated[list[_Prompt], Field(min_length=1, max_length=1000, title="Texts")]
    | Annotated[dict[_Prompt, _Prompt], Field(min_length=1, max_length=1000, title="Texts by name")]
)
"""Texts in order, or by a name that the result calls them."""


class BadRequestError(PermanentError):
    """The request cannot be meant as it stands."""


def parse_fps(infer_fps: float | str | Fraction) -> Fraction | None:
    """The exact rate that was asked for, or `None` for every frame.

    A float means the decimal that was typed: 0.1 is 1/10, not the nearest binary number. Raises `BadRequestError`
    for what is no positive number.
    """
    text = str(infer_fps).strip()
    if text == ALL_FRAMES:
        return None
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if fps <= 0:
        raise BadRequestError(
            f"infer_fps is {infer_fps!r}; give a number above 0 such as 5 or 0.5, a fraction such as '1/3', "
            "or 'all' for every frame."
        )
    return fps


class InferenceParams(BaseModel):
    """How one model is run. A type uses what concerns it; the defaults are those of the hosted API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(
        default=0.4,
        ge=0,
        le=1,
        title="Confidence threshold",
        description="Detections below it are left out; of several labels, those at or above it are predicted. 0 to 1.",
    )
    iou_threshold: float = Field(
        default=0.3,
        ge=0,
        le=1,
        title="Overlap threshold",
        description="Intersection over union above which the weaker of two boxes is dropped, for models that need it.",
    )
    max_detections: int = Field(
        default=300, ge=1, le=10000, title="Most detections", description="At most so many detections in a frame."
    )
    top_k: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Best classes only",
        description="Classification with one label: keep only so many classes of each frame. Empty keeps all.",
    )
    prompts: Prompts | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Prompts",
        description="Texts that frames are compared with (clip-compare), or that name what is to be found (detectors "
        "that take prompts).",
    )
    zero_shot: bool = Field(
        default=False,
        title="Zero-shot classes",
        description="clip-compare: give the prompts as classes too, with the model's own softmax scores.",
    )
    detector: Annotated[str, Field(min_length=1, max_length=500)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Detector",
        description="Key points: the model whose boxes they are found in, named as models are. Empty takes one of the "
        "catalog that finds people.",
    )
    mask_format: Literal["polygon", "rle"] = Field(
        default="polygon",
        title="Mask format",
        description="Instance segmentation: the outer contour of each mask's largest part, or the whole mask as COCO "
        "run lengths.",
    )
    compile: bool = Field(
        default=False,
        title="Compile",
        description="Compile the network with torch before it runs, which takes a minute or more and pays on long "
        "videos. For detectors, classifiers and segmenters of transformers that take no prompts; others run as ever.",
    )


class ModelRequest(BaseModel):
    """One model to run on the frames."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_id: str = Field(
        title="Model",
        min_length=1,
        max_length=500,
        description="A catalog name, a Hugging Face hub id such as PekingU/rtdetr_v2_r18vd, or a model put into the "
        "store with `reelmill models add`.",
        examples=["rtdetr-v2-small"],
    )
    model_version: Annotated[str, Field(max_length=200)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Version",
        description="Hub revision, or the hash of a stored model. Empty takes the catalog's or the newest.",
    )
    inference_type: str | SkipJsonSchema[None] = Field(
        default=None,
        title="Inference type",
        description="Empty where the catalog or the model's own configuration tells it.",
        json_schema_extra=_type_choices,
    )
    inference_params: InferenceParams = Field(default=InferenceParams(), title="Parameters")
    alias: Annotated[str, Field(pattern=KEY_PATTERN)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Key in the result",
        description="Name of this model's list in the result. Empty takes the model's id.",
    )
    pool: Annotated[str, Field(min_length=1, max_length=200)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="GPU pool",
        description="Work pool that runs this model. Empty takes the catalog's, else the default GPU pool.",
    )

    @field_validator("inference_type")
    @classmethod
    def _known_type(cls, value: str | None) -> str | None:
        if value is not None and value not in TYPES:
            raise ValueError(f"unknown inference_type {value!r}; take one of: {', '.join(TYPES)}")
        return value


class InferenceRequest(BaseModel):
    """Models to run on the frames of one registered video, or of a video that a URL points to."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Inference request")

    video_id: Annotated[str, Field(pattern=_ID_PATTERN)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Video id",
        description="Of a registered video: 32 hexadecimal digits. Give this or a URL.",
    )
    input_url: Annotated[str, Field(pattern=r"^https?://", max_length=8192)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Video URL",
        description="https URL of a video that is registered first. Give this or a video id.",
    )
    infer_fps: (
        Annotated[float, Field(gt=0, title="Frames a second", allow_inf_nan=False)]
        | Annotated[str, Field(pattern=FPS_PATTERN, title="Fraction, or 'all'")]
    ) = Field(
        default=1,
        title="Frames a second",
        description="How many frames of each second to look at: a number such as 5 or 0.5, a fraction such as 1/3, or "
        "all. No more than the video has.",
    )
    models: list[ModelRequest] = Field(min_length=1, max_length=64, title="Models")
    start_s: Annotated[float, Field(ge=0)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Start (seconds)",
        description="Leave out samples before it. Empty starts at 0.",
    )
    end_s: Annotated[float, Field(gt=0)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="End (seconds)",
        description="Leave out samples at or after it. Empty runs to the end.",
    )
    gpu_runs: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        title="GPU runs",
        description="How many GPUs of a pool share the video's segments, some minutes of video each.",
    )
    idempotency_key: Annotated[str, Field(pattern=KEY_PATTERN)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Idempotency key",
        description="The same request under the same key is one piece of work: while it runs it is joined, later its "
        "result is given. Another request under the key is refused. Empty derives one from video, models, "
        "parameters and rate.",
    )
    force: bool = Field(
        default=False,
        title="Run again",
        description="Run the job although its result is there already. Shards that stand are used as they are.",
    )
    webhook_url: Annotated[str, Field(pattern=r"^https://", max_length=8192)] | SkipJsonSchema[None] = Field(
        default=None,
        json_schema_extra=_optional,
        title="Webhook URL",
        description="https URL that is sent a signed JSON message when the job has ended.",
    )

    @field_validator("infer_fps")
    @classmethod
    def _positive_rate(cls, value: float | str) -> float | str:
        try:
            parse_fps(value)
        except BadRequestError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _one_source_and_a_range(self) -> InferenceRequest:
        if (self.video_id is None) == (self.input_url is None):
            raise ValueError("give either video_id or input_url, one of the two")
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            raise ValueError(f"end_s is {self.end_s} and start_s is {self.start_s or 0}; end_s must be the later one")
        return self
