"""A pose network of transformers on boxes that are already known: ViTPose and ViTPose++.

Boxes of all frames go through the network together. Knows nothing of what found them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.detections import CONFIDENCE_DECIMALS, PIXEL_DECIMALS, RoundedBoxes
from models.frame_transfer import to_device
from models.pose_crops import cut_out, windows_around
from models.pose_heatmaps import points_in_cells, points_in_frame
from models.transformers_loading import LoadedModel, checked, load_model
from models.vision_model import Frame, ModelLoadError, Precision

_OBJECTS_AT_A_TIME = 32
_UNIT_PX = 200
"""What the network's windows are counted in; a folder that says otherwise is made by other rules."""


def load_pose_network(folder: Path, *, inference_type: str, device: str, precision: Precision) -> PoseNetwork:
    """Load the network of `folder` onto `device`. Raises `ModelLoadError`."""
    return PoseNetwork(
        load_model(
            folder,
            inference_type=inference_type,
            auto_class="AutoModelForPoseEstimation",
            device=device,
            precision=precision,
        )
    )


class PoseNetwork:
    """ViTPose on a device, ready for boxes of frames of one shape."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Take a loaded network. Raises `ModelLoadError` where its way of cutting boxes out is none of ours."""
        config, processor = loaded.network.config, loaded.processor
        if (
            config.model_type != "vitpose"
            or not processor.do_affine_transform
            or processor.normalize_factor != _UNIT_PX
        ):
            raise ModelLoadError(
                f"the model is a pose network of the kind {config.model_type} with settings of its own; take a ViTPose."
            )
        self._loaded = loaded
        self._picture = (int(processor.size["height"]), int(processor.size["width"]))
        self._experts = int(getattr(config.backbone_config, "num_experts", 1))

    @property
    def point_names(self) -> tuple[str, ...]:
        """The k names of an object's points, in the network's order."""
        return self._loaded.class_names

    def key_points(
        self, frames: Sequence[Frame], boxes: RoundedBoxes
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the key points of every box of every frame: places `(n, k, 2)` in pixels of the frame, heat `(n, k)`.

        Places are rounded to a thousandth of a pixel, heat is 0 to 1.
        """
        frame_of = np.repeat(np.arange(len(frames)), boxes.counts)
        if not len(frame_of):
            return np.zeros((0, len(self.point_names), 2)), np.zeros((0, len(self.point_names)))
        windows = windows_around(corners_and_sizes(boxes.places), self._picture)
        pictures = to_device(frames, self._loaded.network.device)
        found: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        for start in range(0, len(windows), _OBJECTS_AT_A_TIME):
            part = windows.part(start, start + _OBJECTS_AT_A_TIME)
            crops = cut_out(pictures, frame_of[start : start + _OBJECTS_AT_A_TIME], part, self._picture)
            heatmaps = self._heatmaps(crops)
            cells, heat = points_in_cells(heatmaps)
            found.append((points_in_frame(cells, part, (int(heatmaps.shape[-2]), int(heatmaps.shape[-1]))), heat))
        places, heat = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return places.round(PIXEL_DECIMALS), heat.clip(0, 1).round(CONFIDENCE_DECIMALS)

    def _heatmaps(self, crops: torch.Tensor) -> torch.Tensor:
        """Run `(n, 3, height, width)` uint8 through the network; gives `(n, points, h, w)` float32."""
        network, processor = self._loaded.network, self._loaded.processor
        values = crops.float()
        if processor.do_rescale:
            values *= processor.rescale_factor
        if processor.do_normalize:
            mean, std = (
                torch.tensor(numbers, device=values.device).view(1, 3, 1, 1)
                for numbers in (processor.image_mean, processor.image_std)
            )
            values = (values - mean) / std
        inputs = {"pixel_values": values.to(network.dtype)}
        if self._experts > 1:  # ViTPose++: its first expert is the one for COCO's persons
            inputs["dataset_index"] = torch.zeros(len(crops), dtype=torch.int64, device=values.device)
        with torch.inference_mode():
            heatmaps: torch.Tensor = checked(network(**inputs))["heatmaps"]
        return heatmaps


def corners_and_sizes(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top, width, height, `(n, 4)`, of boxes that are said by their centres."""
    return np.concatenate([places[:, :2] - places[:, 2:] / 2, places[:, 2:]], axis=1)
