"""Our preprocessing against transformers' own Pillow processors: no weights needed, only their classes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from models.frame_sizes import SizeRule
from models.frame_transfer import to_device
from models.preprocessing import Preprocessor, prepare, run_steps
from models.processor_steps import NotCoveredError, steps_from
from models.resizing import PILLOW_FILTERS, check_picture, resize_like_pillow, resize_with_pillow

LANDSCAPE, PORTRAIT, LARGE = (272, 640), (333, 211), (1080, 1920)
CPU = torch.device("cpu")

OURS = {
    "vit": ("ViTImageProcessor", {}),
    "vit at the frame's own size": ("ViTImageProcessor", {"size": {"height": 144, "width": 176}}),
    "vit without resize": ("ViTImageProcessor", {"do_resize": False}),
    "convnext cropped": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    "convnext warped": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "efficientnet": ("EfficientNetImageProcessor", {}),
    "efficientnet b0": (
        "EfficientNetImageProcessor",
        {"size": {"height": 224, "width": 224}, "rescale_factor": 1 / 127.5, "rescale_offset": True},
    ),
    "rtdetr": ("RTDetrImageProcessor", {}),
    "detr": ("DetrImageProcessor", {}),
    "detr padded": ("DetrImageProcessor", {"pad_size": {"height": 1400, "width": 1400}}),
    "conditional detr": ("ConditionalDetrImageProcessor", {}),
    "deformable detr": ("DeformableDetrImageProcessor", {"size": {"shortest_edge": 480, "longest_edge": 640}}),
    "yolos": ("YolosImageProcessor", {}),
    "mobilenet v1": ("MobileNetV1ImageProcessor", {}),
    "mobilenet v2": ("MobileNetV2ImageProcessor", {}),
    "mobilevit": ("MobileViTImageProcessor", {}),
    "beit": ("BeitImageProcessor", {}),
    "siglip": ("SiglipImageProcessor", {}),
    "dinov2": ("BitImageProcessor", {"size": {"shortest_edge": 256}}),
    "clip": ("CLIPImageProcessor", {}),
    "deit": ("DeiTImageProcessor", {}),
    "crop beyond the frame": ("BitImageProcessor", {"do_resize": False, "crop_size": {"height": 301, "width": 700}}),
    "bounded": ("RTDetrImageProcessor", {"size": {"max_height": 300, "max_width": 500}}),
    "nearest": ("ViTImageProcessor", {"resample": 0}),
    "lanczos": ("ViTImageProcessor", {"resample": 1}),
    "box": ("ViTImageProcessor", {"resample": 4}),
    "hamming": ("ViTImageProcessor", {"resample": 5}),
    "levit": ("LevitImageProcessor", {}),
    "poolformer": ("PoolFormerImageProcessor", {}),
    "poolformer of a square": ("PoolFormerImageProcessor", {"size": {"height": 200, "width": 200}}),
    "perceiver": ("PerceiverImageProcessor", {}),
    "pvt": ("PvtImageProcessor", {}),
    "textnet": ("TextNetImageProcessor", {"size": {"shortest_edge": 320}}),
    "dpt": ("DPTImageProcessor", {}),
    "dpt that keeps the shape": (
        "DPTImageProcessor",
        {"size": {"height": 200, "width": 260}, "keep_aspect_ratio": True, "ensure_multiple_of": 14},
    ),
    "segformer": ("SegformerImageProcessor", {"do_reduce_labels": True}),
    "mask2former": ("Mask2FormerImageProcessor", {"size": {"shortest_edge": 300, "longest_edge": 500}}),
    "maskformer": ("MaskFormerImageProcessor", {"size": {"shortest_edge": 300, "longest_edge": 500}}),
    "eomt": ("EomtImageProcessor", {"size": {"shortest_edge": 300, "longest_edge": 300}, "do_pad": True}),
    "eomt, not made up": ("EomtImageProcessor", {"size": {"shortest_edge": 300, "longest_edge": 300}}),
    "owlvit": ("OwlViTImageProcessor", {}),
    "owlv2, smaller": ("Owlv2ImageProcessor", {"size": {"height": 240, "width": 200}}),
    "owlv2, larger": ("Owlv2ImageProcessor", {"size": {"height": 670, "width": 700}}),
    "owlv2, not squared": ("Owlv2ImageProcessor", {"size": {"height": 240, "width": 240}, "do_pad": False}),
    "grounding dino": ("GroundingDinoImageProcessor", {"size": {"shortest_edge": 300, "longest_edge": 500}}),
    "chinese clip": ("ChineseCLIPImageProcessor", {}),
    "blip": ("BlipImageProcessor", {}),
}
THEIRS = {
    "siglip 2's patches": ("Siglip2ImageProcessor", {}, "no set of named edges"),
    "eomt's patches": ("EomtImageProcessor", {"do_split_image": True}, "cuts a frame into patches"),
    "donut's thumbnail": ("DonutImageProcessor", {"size": {"height": 160, "width": 120}}, "grey levels"),
}


def processor(name: str, options: dict) -> transformers.ImageProcessingMixin:
    return getattr(transformers, name + "Pil")(**options)


def frame(height: int, width: int) -> np.ndarray:
    """Not the picture that the preprocessor checks itself with."""
    return np.ascontiguousarray(check_picture(height, width)[::-1, ::-1])


@pytest.mark.parametrize(
    ("case", "shape"),
    [(case, shape) for case in OURS for shape in (LANDSCAPE, PORTRAIT)]
    + [("rtdetr", LARGE), ("convnext cropped", LARGE)],
)
def test_equals_the_pillow_processor(case: str, shape: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    theirs = processor(*OURS[case])
    batch = [frame(*shape), np.flip(frame(*shape), 1).copy()]
    with caplog.at_level(logging.WARNING):
        got = Preprocessor(theirs, CPU)(batch)
    expected = theirs(batch, return_tensors="pt")
    assert not caplog.records, "the processor did the work itself"
    assert set(got) == {name for name, value in expected.items() if len(value)}
    steps = steps_from(theirs.to_dict())
    levels = (got["pixel_values"] - expected["pixel_values"]).abs() / torch.tensor(steps.gain).view(1, 3, 1, 1)
    assert levels.max() < 1e-3
    if "pixel_mask" in expected:
        assert torch.equal(got["pixel_mask"], expected["pixel_mask"])


@pytest.mark.parametrize("case", THEIRS)
def test_what_is_not_covered_is_left_to_the_processor_and_said_once(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    name, options, reason = THEIRS[case]
    theirs = processor(name, options)
    batch = [frame(272, 640), frame(272, 640)[::-1].copy()]
    with caplog.at_level(logging.WARNING):
        preprocess = Preprocessor(theirs, CPU)
        first, second = preprocess(batch), preprocess(batch)
    assert torch.equal(first["pixel_values"], theirs(batch, return_tensors="pt")["pixel_values"])
    assert torch.equal(first["pixel_values"], second["pixel_values"])
    assert [reason in record.getMessage() for record in caplog.records] == [True]


def test_a_shift_by_one_pixel_shows() -> None:
    theirs = processor("RTDetrImageProcessor", {})
    picture = frame(272, 640)
    got = Preprocessor(theirs, CPU)([np.roll(picture, 1, axis=1)])["pixel_values"]
    assert ((got - theirs([picture], return_tensors="pt")["pixel_values"]).abs() * 255).mean() > 1


@pytest.mark.parametrize(("number", "how"), PILLOW_FILTERS.items())
def test_both_resizes_equal_pillow_bit_for_bit(number: int, how: str) -> None:
    """The one for devices runs here on the CPU: whole numbers are the same everywhere."""
    rng = np.random.default_rng(11)
    sizes = [tuple(int(side) for side in rng.integers(2, 150, 4)) for _ in range(8)]
    known = [(272, 640, 224, 224), (640, 272, 224, 224), (480, 640, 384, 384), (144, 176, 224, 224), (100, 90, 100, 30)]
    for height, width, target_height, target_width in sizes + known:
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        pillow = Image.fromarray(picture).resize((target_width, target_height), number)
        frames, target = to_device([picture], CPU), (target_height, target_width)
        for by in (resize_with_pillow, resize_like_pillow):
            assert np.array_equal(by(frames, target, how)[0].permute(1, 2, 0).numpy(), np.asarray(pillow)), by.__name__


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", ["rtdetr", "convnext cropped", "detr padded"])
def test_a_gpu_gives_the_same_values(case: str) -> None:
    theirs, batch = processor(*OURS[case]), [frame(*LANDSCAPE), frame(*LANDSCAPE)[::-1].copy()]
    got = Preprocessor(theirs, torch.device("cuda"))(batch)["pixel_values"].cpu()
    assert (got - theirs(batch, return_tensors="pt")["pixel_values"]).abs().max() < 1e-5


def test_frames_travel_as_bytes_whose_channels_lie_last() -> None:
    frames = to_device([frame(20, 30), frame(20, 30)], CPU)
    assert frames.dtype == torch.uint8
    assert frames.shape == (2, 3, 20, 30)
    assert frames.is_contiguous(memory_format=torch.channels_last)


def test_values_take_the_model_s_type_and_masks_do_not() -> None:
    inputs = Preprocessor(processor("DetrImageProcessor", {}), CPU, torch.bfloat16)([frame(144, 176)])
    assert inputs["pixel_values"].dtype == torch.bfloat16
    assert inputs["pixel_mask"].dtype == torch.int64


def test_one_frame_gives_what_it_gives_in_a_batch() -> None:
    steps = steps_from(processor("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}).to_dict())
    batch = [frame(272, 640), frame(272, 640)[::-1].copy(), frame(272, 640)[:, ::-1].copy()]
    together = run_steps(to_device(batch, CPU), steps)
    alone = torch.cat([run_steps(to_device([one], CPU), steps) for one in batch])
    assert torch.equal(together, alone)


def test_a_configuration_file_is_enough_where_it_says_all() -> None:
    steps = steps_from(
        {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": 10, "width": 20},
            "resample": 3,
            "do_rescale": True,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.25],
        }
    )
    assert (steps.size, steps.how) == (SizeRule(height=10, width=20), "bicubic")
    assert steps.gain == pytest.approx((2 / 255, 2 / 255, 4 / 255))
    assert steps.offset == pytest.approx((-1, -1, -2))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"do_resize": True, "size": {"min_pixels": 64, "max_pixels": 128}}, "edges"),
        ({"do_resize": True, "size": 224}, "no set of named edges"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 5}}, "height and a width"),
        ({"do_normalize": True, "image_mean": None, "image_std": [1, 1, 1]}, "image_mean"),
        ({"do_resize": True, "size": {"height": 2, "width": 2}, "resample": 6}, "filter"),
    ],
)
def test_what_is_not_covered_is_named(config: dict, reason: str) -> None:
    with pytest.raises(NotCoveredError, match=reason):
        steps_from(config)


@pytest.mark.parametrize("case", ["rtdetr", "convnext cropped", "perceiver", "owlv2, smaller", "vit without resize"])
def test_frames_as_they_lie_give_what_a_stack_of_them_gives(case: str) -> None:
    steps = steps_from(processor(*OURS[case]).to_dict())
    batch = [frame(272, 640), frame(272, 640)[::-1], frame(640, 272).transpose(1, 0, 2)]
    batch[0].flags.writeable = False
    assert torch.equal(prepare(batch, steps, CPU), run_steps(to_device(batch, CPU), steps))


def test_values_stay_when_the_thread_prepares_its_next_batch() -> None:
    steps = steps_from(processor("ViTImageProcessor", {"do_resize": False}).to_dict())
    first = prepare([frame(20, 30)], steps, CPU)
    before = first.clone()
    prepare([np.zeros((20, 30, 3), np.uint8)], steps, CPU)
    assert torch.equal(first, before)
