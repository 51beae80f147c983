"""How the elements of each inference type lie in Arrow columns, and the way back, exact to the last bit.

`ELEMENT_COLUMNS` holds one entry for each type. A row is a dict with a key for each column of the entry's schema; a key
that an element may lack is null in its row. This module knows nothing of shards and stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from models.box_columns import BoxColumns, InstanceColumns, KeyPointColumns
from models.class_columns import ClassificationColumns
from models.clip_columns import EmbeddingColumns, SimilarityColumns
from models.column_rows import ElementColumns, ElementShapeError
from models.derived_ids import derived_id
from models.gaze_columns import GazeColumns
from models.segmentation_columns import SegmentationColumns
from models.vision_model import Frame, RowsModel, VisionModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ELEMENT_COLUMNS",
    "ElementColumns",
    "ElementShapeError",
    "all_finite",
    "derived_id",
    "predicted_rows",
]

ELEMENT_COLUMNS: dict[str, ElementColumns] = {
    "object-detection": BoxColumns(),
    "instance-segmentation": InstanceColumns(),
    "semantic-segmentation": SegmentationColumns(),
    "classification": ClassificationColumns(),
    "keypoint-detection": KeyPointColumns(),
    "gaze-detection": GazeColumns(),
    "clip-embed-image": EmbeddingColumns(),
    "clip-compare": SimilarityColumns(),
}


def predicted_rows(model: VisionModel, inference_type: str, frames: Sequence[Frame]) -> pa.RecordBatch:
    """Give what the model says of each frame in the type's columns, by way of elements where it has no shorter one.

    Raises `ElementShapeError`, and whatever the model raises.
    """
    if isinstance(model, RowsModel):
        rows = model.predict_rows(frames)
    else:
        rows = ELEMENT_COLUMNS[inference_type].rows(model.predict(frames))
    if len(rows) != len(frames):
        raise ElementShapeError(f"The model gave {len(rows)} elements for {len(frames)} frames.")
    return rows


def all_finite(table: pa.Table) -> bool:
    """Whether no float of the table, however deeply nested, is NaN or infinite: JSON has no word for those."""
    return all(_array_is_finite(chunk) for column in table.columns for chunk in column.chunks)


def _array_is_finite(array: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(array.type):
        return pc.all(pc.is_finite(array)).as_py() is not False
    if pa.types.is_struct(array.type):
        return all(_array_is_finite(child) for child in array.flatten())
    if pa.types.is_nested(array.type):
        return _array_is_finite(array.flatten())
    return True
