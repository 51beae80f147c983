"""What recording, coding and lamps do to a picture, cheaply: for training on stills what will be seen in videos."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def worn(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture `(height, width, 3)` of even sides with other brightness, blur, grain and halved chroma, by chance."""
    if rng.random() < 0.6:
        levels = (np.arange(256) - 128) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-14, 14)
        rgb = cv2.LUT(rgb, levels.round().clip(0, 255).astype(np.uint8))
    if rng.random() < 0.4:
        rgb = cv2.GaussianBlur(rgb, (5, 5), float(rng.uniform(0.4, 1.1)))
    if rng.random() < 0.3:
        grain = rng.integers(0, 256, rgb.shape[:2], dtype=np.uint8)
        levels = np.linspace(-1, 1, 256) * rng.uniform(2, 14)
        rgb = cv2.add(rgb, cv2.merge([cv2.LUT(grain, levels.astype(np.float32))] * 3), dtype=cv2.CV_8U)
    way = rng.random()
    if way < 0.3:
        return _halved_chroma(rgb)
    if way < 0.7:
        return _blocks(rgb, int(rng.integers(35, 90)))
    return rgb


def _halved_chroma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Through 4:2:0 and back."""
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    return cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)


def _blocks(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Through JPEG and back: block transforms and 4:2:0, as a key frame of a video."""
    _, coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)
