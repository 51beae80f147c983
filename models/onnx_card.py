"""`reelmill.yaml`: what a folder of ONNX files is for, what its network sees, and what its outputs mean.

A network in ONNX says neither how frames are prepared for it nor what its numbers stand for; this card does. Text and
plain checks only: nothing here opens a network, so that whoever puts a model into a store may read the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.vision_model import ModelLoadError

CARD_FILE = "reelmill.yaml"

Decoding = Literal["detections", "yolox", "yolo", "yolo-seg", "logits", "semantic", "embedding"]
"""How the outputs are read: see `models.onnx_detections`, `models.onnx_masks` and `models.onnx_models`."""

PictureFilter = Literal["bilinear", "bicubic", "area", "nearest", "pillow-bilinear", "pillow-bicubic"]
"""OpenCV's ways of resizing, or Pillow's, which average over what they leave out."""

DECODINGS: dict[str, tuple[Decoding, ...]] = {
    "object-detection": ("detections", "yolox", "yolo"),
    "instance-segmentation": ("yolo-seg",),
    "classification": ("logits",),
    "semantic-segmentation": ("semantic",),
    "clip-embed-image": ("embedding",),
}
"""Which decodings give what an inference type needs."""

_AUTHORS_INPUT: dict[str, dict[str, Any]] = {
    "yolox": {"resize": "letterbox", "place": "top-left", "colour": "bgr"},
    "yolo": {"resize": "letterbox", "scale": "1/255"},
    "yolo-seg": {"resize": "letterbox", "scale": "1/255"},
}
"""What the authors of a decoding do to a picture, where the card does not say otherwise."""

NetworkFile = Annotated[str, Field(pattern=r"^[^/\\\x00]+\.onnx$", max_length=200)]
"""A network in the model's own folder: no path leads out of it."""
_Numbers = Annotated[list[float], Field(min_length=1, max_length=3)]


class OnnxCardError(ModelLoadError):
    """The card is missing, or cannot be meant as it stands."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputCard(_Part):
    """How a frame becomes the network's picture: value = (grey level × scale - mean) / std."""

    name: str | None = None
    """The network's input, where it has several."""
    size: tuple[Annotated[int, Field(ge=1, le=16384)], Annotated[int, Field(ge=1, le=16384)]] | None = None
    """`[height, width]`; empty takes the network's own, or the frame's where the network takes any."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    colour: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["letterbox", "stretch", "crop"] = "stretch"
    """Keep the shape and pad; give it up; or keep it and cut the middle out."""
    filter: PictureFilter = "bilinear"
    place: Literal["centre", "top-left"] = "centre"
    """Where a letterboxed frame lies. The centre rounds as Ultralytics does, the top left as YOLOX does."""
    pad_value: Annotated[int, Field(ge=0, le=255)] = 114
    edge: Annotated[int, Field(ge=1, le=16384)] | None = None
    """For `crop`: pixels of the shorter edge before the middle is cut out; empty takes the cut's longer edge."""
    scale: float = 1.0
    """A number, or a fraction such as 1/255."""
    mean: _Numbers = Field(default=[0.0])
    std: _Numbers = Field(default=[1.0])

    @field_validator("scale", mode="before")
    @classmethod
    def _fraction(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return float(Fraction(value))
            except (ValueError, ZeroDivisionError):
                raise ValueError(f"{value!r} is no number; write one such as 0.0039 or a fraction as 1/255") from None
        return value

    @field_validator("mean", "std")
    @classmethod
    def _one_or_three(cls, value: list[float]) -> list[float]:
        if len(value) == 2:
            raise ValueError("give one number, or one for each of the three channels")
        return value

    @field_validator("std")
    @classmethod
    def _not_zero(cls, value: list[float]) -> list[float]:
        if 0 in value:
            raise ValueError("a standard deviation cannot be 0")
        return value


class OutputCard(_Part):
    """What the outputs mean. Names are the network's own names of its outputs."""

    decode: Decoding
    name: str | None = None
    """The output to read, where the network has several (not for `detections` and `yolo-seg`)."""
    boxes: str | None = None
    scores: str | None = None
    classes: str | None = None
    count: str | None = None
    """For `detections`: outputs (n, k, 4), (n, k), (n, k), and how many of the k are real (n,)."""
    rows: str | None = None
    """For `detections` in one output (n, k, 6) instead: left, top, right, bottom, score, class."""
    box_format: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = "xyxy"
    """For `detections`; `xywh` begins at the top left, `cxcywh` at the centre."""
    box_unit: Literal["pixels", "normalised"] = "pixels"
    """Of the network's picture, or parts of its width and height."""
    head: Literal["auto", "objectness", "plain"] = "auto"
    """For `yolo`: (n, k, 5 + classes) as in v5, or (n, 4 + classes, k) as in v8 and v11; told apart by its shape."""
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    """For `logits`: what makes scores of them; `none` where they are scores already."""
    labels: Literal["one", "many"] | None = None
    """For `logits`: whether classes exclude each other; empty means so unless the activation is `sigmoid`."""

    @model_validator(mode="after")
    def _detections_are_named(self) -> OutputCard:
        named = self.rows is not None or None not in (self.boxes, self.scores, self.classes)
        if self.decode == "detections" and not named:
            raise ValueError("detections need the names of the outputs: boxes, scores and classes, or rows")
        return self

    @property
    def many_labels(self) -> bool:
        """Whether a frame may have several of the classes at once."""
        return self.labels == "many" if self.labels else self.activation == "sigmoid"


class OnnxCard(_Part):
    """A network with one picture in."""

    inference_type: Literal[
        "object-detection", "instance-segmentation", "classification", "semantic-segmentation", "clip-embed-image"
    ]
    file: NetworkFile | None = None
    """The network; empty takes the only .onnx file of the folder."""
    input: InputCard = Field(default_factory=InputCard)
    output: OutputCard
    classes: list[str] | str | None = None
    """Names in the order of the class numbers, a .txt file with a name on each line, or one of `models.class_lists`."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, fields: Any) -> Any:
        """Take `output: yolo` for `output: {decode: yolo}`, and the authors' preparation where none is given."""
        if not isinstance(fields, Mapping):
            return fields
        output = fields.get("output")
        output = {"decode": output} if isinstance(output, str) else output
        decode = output.get("decode") if isinstance(output, Mapping) else None
        given = fields.get("input") or {}
        if isinstance(decode, str) and isinstance(given, Mapping):
            given = {**_AUTHORS_INPUT.get(decode, {}), **given}
        return {**fields, "output": output, "input": given}

    @model_validator(mode="after")
    def _decoding_fits(self) -> OnnxCard:
        fitting = DECODINGS[self.inference_type]
        if self.output.decode not in fitting:
            raise ValueError(
                f"{self.inference_type} cannot be read by {self.output.decode!r}; take {' or '.join(fitting)}"
            )
        return self


class OpenModelZooGaze(_Part):
    """Three networks after one another: landmarks, head pose, gaze."""

    estimator: Literal["open-model-zoo"]
    landmarks: NetworkFile
    head_pose: NetworkFile
    gaze: NetworkFile


class L2csGaze(_Part):
    """One network that looks at the whole face and answers with two angles."""

    estimator: Literal["l2cs"]
    file: NetworkFile
    yaw: str | None = None
    pitch: str | None = None
    """Names of its outputs; empty takes those whose names say so, else the first and the second."""


class GazeCard(_Part):
    """Networks for gaze detection: one that finds faces, and those that say where they look."""

    inference_type: Literal["gaze-detection"]
    faces: NetworkFile
    """BlazeFace, short range."""
    gaze: Annotated[OpenModelZooGaze | L2csGaze, Field(discriminator="estimator")]

    @property
    def files(self) -> tuple[str, ...]:
        """Every network that the card names."""
        gaze = self.gaze
        return (
            self.faces,
            *((gaze.file,) if isinstance(gaze, L2csGaze) else (gaze.landmarks, gaze.head_pose, gaze.gaze)),
        )


def parse_card(text: str) -> OnnxCard | GazeCard:
    """Read the card's text. Raises `OnnxCardError` that names the field."""
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OnnxCardError(f"{CARD_FILE} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(fields, Mapping):
        raise OnnxCardError(f"{CARD_FILE} is no list of fields; begin with a line such as inference_type: …")
    known = [*DECODINGS, "gaze-detection"]
    if fields.get("inference_type") not in known:
        raise OnnxCardError(
            f"{CARD_FILE}: inference_type is {fields.get('inference_type')!r}; take one of: {', '.join(known)}."
        )
    try:
        if fields["inference_type"] == "gaze-detection":
            return GazeCard.model_validate(fields)
        return OnnxCard.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        raise OnnxCardError(f"{CARD_FILE}: {place + ': ' if place else ''}{told}.") from None
