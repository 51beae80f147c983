"""What networks that predict a set of masks say of a frame: objects with masks, or a score of every class everywhere.

Each query of MaskFormer and its kin (https://arxiv.org/abs/2107.06278, https://arxiv.org/abs/2112.01527) names a class,
or none, and a mask. What is found follows transformers' image processors to the number, but not to the size: there
every query becomes a mask of the whole frame, in floats, and here only those that are kept, one at a time. Masks are
the queries' own and may overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from transformers.image_transforms import get_size_with_aspect_ratio

from models.configured_processor import processor_class
from models.frame_sizes import Size
from models.instances import FoundInstances
from models.masks import MaskCrop, crop_mask

_MASK2FORMER_GRID = (384, 384)
"""transformers takes Mask2Former's masks to this size first, whatever the network's input."""
_TINY = 1e-6


class Logits(NamedTuple):
    """What the network says of one frame."""

    classes: torch.Tensor
    """`(queries, classes)`; the last class is none, but for RF-DETR."""
    masks: torch.Tensor
    """`(queries, h, w)`."""
    boxes: torch.Tensor | None
    """`(queries, 4)`: centre, width and height in parts of the frame, where the network says them (RF-DETR)."""


def kind_of(processor: Any) -> str:
    """The name by which the functions here tell processors apart."""
    return processor_class(processor.to_dict())


def frame_logits(outputs: Mapping[str, torch.Tensor], frame: int) -> Logits:
    """What the network says of one frame of a batch."""
    if "class_queries_logits" in outputs:
        return Logits(outputs["class_queries_logits"][frame], outputs["masks_queries_logits"][frame], None)
    return Logits(outputs["logits"][frame], outputs["pred_masks"][frame], outputs["pred_boxes"][frame])


def found_instances(logits: Logits, processor: Any, size: Size, threshold: float) -> FoundInstances:
    """Read the objects of one frame of `size` whose score reaches `threshold`; `KeyError` for other kinds."""
    return INSTANCE_READERS[kind_of(processor)](logits, processor, size, threshold)


def class_scores(logits: Logits, processor: Any) -> torch.Tensor:
    """Score every class at every pixel, `(classes, h, w)`: Σ over queries of P(class) · P(pixel in mask).

    It is not below 0, but where several queries agree it can be above 1. `KeyError` for other kinds of processor.
    """
    masks = CLASS_GRIDS[kind_of(processor)](logits.masks, processor)
    return torch.einsum("qc,qhw->chw", logits.classes.softmax(dim=-1)[:, :-1], masks.sigmoid())


def _on_384(masks: torch.Tensor, processor: Any) -> torch.Tensor:  # noqa: ARG001
    return _resized(masks, _MASK2FORMER_GRID)


def _as_they_are(masks: torch.Tensor, processor: Any) -> torch.Tensor:  # noqa: ARG001
    return masks


def _on_input(masks: torch.Tensor, processor: Any) -> torch.Tensor:
    """Take EoMT's masks to the size of the network's input."""
    edges = processor.to_dict()["size"]
    return _resized(masks, (edges["shortest_edge"], edges.get("longest_edge") or edges["shortest_edge"]))


def _pairs(logits: Logits, processor: Any, size: Size, threshold: float) -> FoundInstances:
    """Take as many of the best (query, class) pairs as there are queries, each weighted by how sure its mask is."""
    probabilities = logits.classes.softmax(dim=-1)[:, :-1]
    best = probabilities.flatten().topk(len(probabilities))
    hopeful = best.values >= threshold
    scores, pairs = best.values[hopeful], best.indices[hopeful]
    if not len(scores):
        return _found(scores, pairs, [])
    queries = torch.div(pairs, probabilities.shape[1], rounding_mode="floor")
    needed, place = queries.unique(return_inverse=True)
    grids = CLASS_GRIDS[kind_of(processor)](logits.masks[needed], processor)
    filled = grids > 0
    scores = scores * _sureness(grids, filled)[place]
    kept = scores >= threshold
    rows, columns = (_nearest(source, target) for source, target in zip(filled.shape[-2:], size, strict=True))
    coarse = filled.cpu().numpy()
    crops = {query: _stretched(coarse[query], rows, columns) for query in set(place[kept].tolist())}
    return _found(scores[kept], (pairs % probabilities.shape[1])[kept], [crops[one] for one in place[kept].tolist()])


def _eomt(logits: Logits, processor: Any, size: Size, threshold: float) -> FoundInstances:
    """Take each query's best class, weighted by how sure its mask is on the frame itself."""
    scores, labels = logits.classes.softmax(dim=-1)[:, :-1].max(dim=-1)
    hopeful = scores >= threshold
    scores, labels, masks = scores[hopeful], labels[hopeful], logits.masks[hopeful]
    edges = processor.to_dict()["size"]
    height, width = get_size_with_aspect_ratio(size, edges["shortest_edge"], edges.get("longest_edge"))
    crops = []
    for number in range(len(scores)):
        mask = _resized(_on_input(masks[number : number + 1], processor)[:, :height, :width], size)
        filled = mask > 0
        scores[number] *= _sureness(mask, filled)[0]
        crops.append(_crop(filled[0]) if scores[number] >= threshold else None)
    return _found(scores, labels, crops)


def _rf_detr(logits: Logits, processor: Any, size: Size, threshold: float) -> FoundInstances:  # noqa: ARG001
    """Take as many of the best (query, class) pairs as there are queries; masks play no part in scores and boxes."""
    probabilities = logits.classes.sigmoid()
    best = probabilities.flatten().topk(len(probabilities))
    kept = best.values > threshold
    pairs = best.indices[kept]
    queries = torch.div(pairs, probabilities.shape[1], rounding_mode="floor")
    numbers = queries.tolist()
    crops = {query: _crop(_resized(logits.masks[query][None], size)[0] > 0) for query in set(numbers)}
    boxes = None if logits.boxes is None else _corners(logits.boxes[queries], size)
    return _found(best.values[kept], pairs % probabilities.shape[1], [crops[query] for query in numbers], boxes)


INSTANCE_READERS: dict[str, Callable[[Logits, Any, Size, float], FoundInstances]] = {
    "Mask2FormerImageProcessor": _pairs,
    "MaskFormerImageProcessor": _pairs,
    "EomtImageProcessor": _eomt,
    "RfDetrImageProcessor": _rf_detr,
}
"""Whose outputs can be read as objects."""

CLASS_GRIDS: dict[str, Callable[[torch.Tensor, Any], torch.Tensor]] = {
    "Mask2FormerImageProcessor": _on_384,
    "MaskFormerImageProcessor": _as_they_are,
    "EomtImageProcessor": _on_input,
}
"""Whose outputs can be read as scores of classes, and the size to which mask logits go before that."""


def _resized(masks: torch.Tensor, size: Size) -> torch.Tensor:
    return interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]


def _sureness(masks: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
    """The mean probability of each mask's own pixels."""
    pixels = filled.flatten(1).float()
    return (masks.sigmoid().flatten(1) * pixels).sum(dim=1) / (pixels.sum(dim=1) + _TINY)


def _nearest(source: int, target: int) -> NDArray[np.int64]:
    """Which of `source` rows each of `target` rows shows, `(target,)`, by torch's own rule."""
    rows = interpolate(torch.arange(source, dtype=torch.float64)[None, None], size=target, mode="nearest")
    shown: NDArray[np.float64] = rows[0, 0].numpy()
    return shown.astype(np.int64)


def _stretched(mask: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> MaskCrop | None:
    """Show `mask` on a frame of `rows` × `columns`; only what its crop holds is ever made as large."""
    seen_rows = np.flatnonzero(np.take(mask.any(axis=1), rows))
    seen_columns = np.flatnonzero(np.take(mask.any(axis=0), columns))
    if not (len(seen_rows) and len(seen_columns)):
        return None
    top, left = int(seen_rows[0]), int(seen_columns[0])
    within = mask[:, columns[left : seen_columns[-1] + 1]][rows[top : seen_rows[-1] + 1]]
    return crop_mask(within, left=left, top=top)


def _crop(filled: torch.Tensor) -> MaskCrop | None:
    return crop_mask(filled.cpu().numpy())


def _corners(boxes: torch.Tensor, size: Size) -> torch.Tensor:
    """Left, top, right, bottom in pixels of a frame of `size`, as float64."""
    scaled = boxes.double() * torch.tensor([size[1], size[0]] * 2, device=boxes.device)
    centre, half = scaled[:, :2], scaled[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _found(
    scores: torch.Tensor,
    labels: torch.Tensor,
    crops: Iterable[MaskCrop | None],
    boxes: torch.Tensor | None = None,
) -> FoundInstances:
    """Leave out the objects whose mask has no pixel on the frame, or is not kept."""
    masks = list(crops)
    seen = [number for number, mask in enumerate(masks) if mask is not None]
    return FoundInstances(
        scores=scores.cpu().numpy().astype(np.float64)[seen],
        class_ids=labels.cpu().numpy().astype(np.int64)[seen],
        masks=[mask for mask in masks if mask is not None],
        boxes=None if boxes is None else boxes.cpu().numpy()[seen],
    )
