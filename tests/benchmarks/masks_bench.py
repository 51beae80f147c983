"""`python -m tests.benchmarks.masks_bench`: what the masks of one frame take, in CPU time of one thread and in JSON.

Objects and classes are smooth and made from a seed: twelve objects with ragged outlines, and maps of 21 and 150 classes
at a quarter of what a network sees. Figures are printed, never asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import orjson
import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import interpolate

from models.class_maps import class_map
from models.instances import FoundInstances, instance_detections
from models.masks import crop_mask
from models.semantic_segmentation import segmentation_element

SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840)}
OBJECTS = 12
CLASS_GRIDS = {21: (65, 65), 150: (128, 128)}
REPEATS = 3


def cpu_ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """The best of a few runs, and what it gave."""
    times = []
    for _ in range(REPEATS):
        start_s = time.process_time()
        made = work()
        times.append(time.process_time() - start_s)
    return round(min(times) * 1000, 1), made


def ragged_objects(size: tuple[int, int]) -> FoundInstances:
    """Objects a third of the frame's height across, with outlines that shake by a few pixels."""
    height, width = size
    rng = np.random.default_rng(7)
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    masks = []
    for _ in range(OBJECTS):
        waves = sum(rng.normal(0, 0.3 / n) * np.cos(n * angles + rng.uniform(0, 6)) for n in range(3, 30))
        radius = height / 6 * (1 + 0.3 * waves)
        centre = rng.uniform((width * 0.2, height * 0.2), (width * 0.8, height * 0.8))
        outline = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], axis=1)
        filled = cv2.fillPoly(np.zeros(size, np.uint8), [outline.astype(np.int32)], 1)
        crop = crop_mask(filled.astype(bool))
        assert crop is not None
        masks.append(crop)
    return FoundInstances(rng.uniform(0.4, 1, OBJECTS), np.zeros(OBJECTS, np.int64), masks)


def smooth_scores(classes: int, grid: tuple[int, int]) -> torch.Tensor:
    """Logits of places, `(classes, *grid)`."""
    coarse = torch.randn(1, classes, 8, 8, generator=torch.Generator().manual_seed(7))
    return interpolate(coarse, size=grid, mode="bicubic")[0] * 4


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table = Table("frame", "what", "CPU ms", "KB of JSON")
    for name, size in SIZES.items():
        found = ragged_objects(size)
        image: Any = {"width": size[1], "height": size[0]}
        for form in ("polygon", "rle"):
            ms, made = cpu_ms(lambda: instance_detections(found, [], image, most=OBJECTS, mask_format=form))  # noqa: B023
            table.add_row(name, f"{OBJECTS} objects as {form}", str(ms), f"{len(orjson.dumps(made)) / 1000:.1f}")
        for classes, grid in CLASS_GRIDS.items():
            scores = smooth_scores(classes, grid)
            ms, chosen = cpu_ms(lambda: class_map(scores, size, softmax=True))  # noqa: B023
            table.add_row(name, f"the best of {classes} classes", str(ms), "")
            ms, made = cpu_ms(lambda: segmentation_element(chosen, [""] * classes, image))  # noqa: B023
            said = made["predictions"]
            kilobytes = [len(said[key]) / 1000 for key in ("segmentation_mask", "confidence_mask")]
            table.add_row(name, f"{classes} classes as PNG", str(ms), " + ".join(f"{one:.1f}" for one in kilobytes))
    Console().print(table)


if __name__ == "__main__":
    main()
