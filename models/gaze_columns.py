"""The columns of gaze detection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from models.column_rows import ElementColumns, Row, checked, present
from models.elements import Element, GazeElement
from models.json_texts import row_texts

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES = ("time", "time_face_det", "time_gaze_det")
_FACE_KEYS = ("x", "y", "width", "height", "confidence", "class", "class_id", "landmarks")


class GazeColumns(ElementColumns):
    """gaze-detection: `predictions` is a list of faces with two angles each."""

    def schema(self) -> pa.Schema:
        """Columns `time`, `time_face_det`, `time_gaze_det`, `predictions`."""
        import pyarrow as pa

        numbers: list[tuple[str, pa.DataType]] = [
            (key, pa.float64()) for key in ("x", "y", "width", "height", "confidence")
        ]
        point = pa.struct([("x", pa.float64()), ("y", pa.float64())])
        face = pa.struct([*numbers, ("class", pa.string()), ("class_id", pa.int64()), ("landmarks", pa.list_(point))])
        gaze = pa.struct([("face", face), ("yaw", pa.float64()), ("pitch", pa.float64())])
        return pa.schema([*((name, pa.float64()) for name in _TIMES), ("predictions", pa.list_(gaze))])

    def to_row(self, element: Element) -> Row:
        """Give the element as it is, once its keys are found to be the format's."""
        row = checked(element, ("predictions", *_TIMES), optional=_TIMES)
        row["predictions"] = [checked(gaze, ("face", "yaw", "pitch")) for gaze in row["predictions"]]
        for gaze in row["predictions"]:
            gaze["face"] = checked(gaze["face"], _FACE_KEYS)
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give a `GazeElement`."""
        return cast("GazeElement", present(row, ("predictions", *_TIMES)))

    def json_texts(self, rows: pa.RecordBatch) -> list[bytes]:
        """Give the JSON of each row's element."""
        return row_texts(rows.select(["predictions", *_TIMES]))
