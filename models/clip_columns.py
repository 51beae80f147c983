"""The columns of CLIP and its kin: embeddings, and similarities to prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from models.arrow_arrays import lists
from models.class_columns import CLASS_KEYS, class_scores
from models.column_rows import ElementColumns, ElementShapeError, Row, checked, present
from models.elements import Element, SimilarityElement

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_CLASSES = ("predictions", "top", "confidence")


class EmbeddingColumns(ElementColumns):
    """clip-embed-image: one column, a list of numbers."""

    def schema(self) -> pa.Schema:
        """Column `embedding`."""
        import pyarrow as pa

        return pa.schema([("embedding", pa.list_(pa.float64()))])

    def of_numbers(self, embeddings: NDArray[np.float64]) -> pa.RecordBatch:
        """Give rows from `(n, length)`."""
        import pyarrow as pa

        count, length = embeddings.shape
        return pa.RecordBatch.from_arrays(
            [lists([length] * count, pa.array(embeddings.reshape(-1)))], schema=self.schema()
        )

    def to_row(self, element: Element) -> Row:
        """Give the list its name. Raises `ElementShapeError` for anything but a flat list."""
        if not isinstance(element, list):
            raise ElementShapeError("The model gave an embedding that is no list; its inference type is wrong.")
        return {"embedding": element}

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give the flat list."""
        return cast("Element", row["embedding"])

    def json_texts(self, rows: pa.RecordBatch) -> list[bytes]:
        """Give the JSON of each row's list."""
        import orjson

        return [
            orjson.dumps(one.values.to_numpy(), option=orjson.OPT_SERIALIZE_NUMPY) for one in rows.column("embedding")
        ]


class SimilarityColumns(ElementColumns):
    """clip-compare: numbers, the names of their prompts where they have names, and classes where asked for."""

    def schema(self) -> pa.Schema:
        """Columns `time`, `similarity`, `similarity_names`, `predictions`, `top`, `confidence`."""
        import pyarrow as pa

        return pa.schema(
            [
                ("time", pa.float64()),
                ("similarity", pa.list_(pa.float64())),
                ("similarity_names", pa.list_(pa.string())),
                ("predictions", class_scores()),
                ("top", pa.string()),
                ("confidence", pa.float64()),
            ]
        )

    def to_row(self, element: Element) -> Row:
        """Part names and numbers."""
        row = checked(element, ("similarity", "time", *_CLASSES), optional=("time", *_CLASSES))
        similarity = row["similarity"]
        if isinstance(similarity, dict):
            row["similarity"], row["similarity_names"] = list(similarity.values()), list(similarity)
        if "predictions" in row:
            row["predictions"] = [checked(score, CLASS_KEYS) for score in row["predictions"]]
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give a `SimilarityElement`."""
        similarity, names = row["similarity"], row.get("similarity_names")
        element: Row = {"similarity": similarity if names is None else dict(zip(names, similarity, strict=True))}
        return cast("SimilarityElement", element | present(row, ("time", *_CLASSES)))
