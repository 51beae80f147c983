"""Which comparer fits elements: `COMPARERS` holds one entry for each shape of element.

A comparer is fed pairs of elements of the same frame and adds up. It knows nothing of results, files and requests:
which one fits is told by the elements themselves, so that results made elsewhere can be compared too.
"""

from __future__ import annotations

from tasks.box_comparers import DetectionComparer, KeyPointComparer
from tasks.class_comparers import ClassificationComparer, MultiLabelComparer
from tasks.clip_comparers import EmbeddingComparer, SimilarityComparer
from tasks.element_differences import Comparer
from tasks.gaze_comparer import GazeComparer
from tasks.mask_comparers import InstanceComparer, SegmentationComparer

COMPARERS: tuple[type[Comparer], ...] = (
    EmbeddingComparer,
    SimilarityComparer,
    SegmentationComparer,
    GazeComparer,
    DetectionComparer,
    InstanceComparer,
    KeyPointComparer,
    ClassificationComparer,
    MultiLabelComparer,
)
"""The first that takes every element counts: where nothing was found, several do."""
