from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa
import pytest
import supervision

from models.element_columns import ELEMENT_COLUMNS, ElementShapeError, all_finite, derived_id
from models.inference_types import TYPES
from tasks.result_files import result_schema
from tests.element_builders import (
    box,
    classification_element,
    detection_element,
    gaze_element,
    instance_element,
    key_point_element,
    multi_label_element,
    polygon,
    random_detection_element,
    run_lengths,
    segmentation_element,
    similarity_element,
)

ELEMENTS: list[tuple[str, dict[str, Any]]] = [
    ("object-detection", detection_element()),
    ("object-detection", detection_element(box(), box(x=-3.125, name="größe ü"))),
    ("object-detection", random_detection_element(seed=1, boxes=300)),
    ("object-detection", {"time": 0.0, **detection_element(box() | {"detection_id": "a"}, box())}),
    ("classification", classification_element(cat=0.7, dog=0.2, emu=0.1)),
    ("classification", {"time": 1e-300, **classification_element(cat=1.0)}),
    ("classification", multi_label_element(sky=0.9, sea=0.3)),
    ("classification", multi_label_element(sky=0.1)),
    ("classification", multi_label_element()),
    ("instance-segmentation", instance_element()),
    ("instance-segmentation", instance_element(polygon((1.0, 2.0), (3.5, 4.0), (5.0, 0.0)), run_lengths("0a1Q;"))),
    ("keypoint-detection", key_point_element()),
    ("keypoint-detection", {"time": 0.5, **key_point_element((1.0, 2.0), (3.0, 4.5))}),
    ("semantic-segmentation", segmentation_element("sky", "größe ü")),
    ("gaze-detection", gaze_element()),
    ("gaze-detection", gaze_element((0.1, -0.2), (3.0, 1e-300))),
    ("clip-embed-image", [0.1, -2.5, 1e-30]),
    ("clip-compare", {"similarity": [0.25, -0.5]}),
    ("clip-compare", {"similarity": [0.25, -0.5], "time": 0.25}),
    ("clip-compare", {"similarity": {"a dog": 0.25, "a cat": -0.5}, "time": 0.25}),
    ("clip-compare", similarity_element(dog=0.25, cat=-0.5)),
]


def through_arrow(inference_type: str, elements: list[Any]) -> list[Any]:
    columns = ELEMENT_COLUMNS[inference_type]
    table = pa.Table.from_pylist([columns.to_row(element) for element in elements], schema=columns.schema())
    return [columns.to_element(row) for row in table.to_pylist()]


def test_every_type_that_can_be_requested_has_columns():
    assert set(TYPES) <= set(ELEMENT_COLUMNS)


@pytest.mark.parametrize(("inference_type", "element"), ELEMENTS)
def test_an_element_comes_back_exactly_with_its_keys_in_order(inference_type, element):
    [back] = through_arrow(inference_type, [element])
    assert orjson.dumps(back) == orjson.dumps(element)


def test_floats_keep_every_bit():
    draw = random.Random(7)
    values = [draw.uniform(-1, 1) * 10 ** draw.randint(-300, 300) for _ in range(2000)] + [5e-324, -0.0]
    elements = [detection_element(box(x=value)) for value in values]
    back = [element["predictions"][0]["x"].hex() for element in through_arrow("object-detection", elements)]
    assert back == [value.hex() for value in values]


def test_one_label_and_many_labels_share_the_columns_of_classification():
    elements = [classification_element(cat=0.5), multi_label_element(sky=0.1), classification_element(dog=0.25)]
    assert through_arrow("classification", elements) == elements


@pytest.mark.parametrize(
    ("inference_type", "element"),
    [
        ("object-detection", detection_element(box() | {"mask": "surplus"})),
        ("object-detection", detection_element({"x": 1.0, "y": 1.0})),
        ("object-detection", detection_element() | {"frame": 3}),
        ("object-detection", {"predictions": []}),
        ("classification", detection_element(box())),
        ("classification", multi_label_element(sky=0.5) | {"top": "sky"}),
        ("instance-segmentation", detection_element(box())),
        ("keypoint-detection", detection_element(box())),
        ("semantic-segmentation", detection_element(box())),
        ("gaze-detection", {"predictions": [{"face": {"x": 1.0}, "yaw": 0.0, "pitch": 0.0}]}),
        ("clip-compare", {"similarity": [1.0], "prompts": ["a"]}),
        ("clip-embed-image", {"embedding": [1.0]}),
    ],
)
def test_keys_that_the_format_does_not_have_are_refused_rather_than_dropped(inference_type, element):
    with pytest.raises(ElementShapeError, match="The model gave an"):
        ELEMENT_COLUMNS[inference_type].to_row(element)


def test_a_stamp_adds_time_first_and_ids_that_depend_on_seed_and_rank_alone():
    columns = ELEMENT_COLUMNS["object-detection"]
    element = detection_element(box(), box(), box())
    first = columns.stamp(element, 0.0125, "model:17")
    assert list(first) == ["time", "image", "predictions"]
    assert first["time"] == 0.0125
    ids = [one["detection_id"] for one in first["predictions"]]
    assert len(set(ids)) == 3
    assert ids == [one["detection_id"] for one in columns.stamp(element, 9.0, "model:17")["predictions"]]
    assert not set(ids) & {one["detection_id"] for one in columns.stamp(element, 0.0125, "model:18")["predictions"]}
    assert list(first["predictions"][0])[-1] == "detection_id"
    assert "detection_id" not in element["predictions"][0]


def test_stamping_again_replaces_time_and_ids():
    columns = ELEMENT_COLUMNS["object-detection"]
    once = columns.stamp(detection_element(box()), 1.0, "a")
    assert columns.stamp(once, 2.0, "b") == columns.stamp(detection_element(box()), 2.0, "b")


@pytest.mark.parametrize("element", [classification_element(cat=0.5), multi_label_element(sky=0.5)])
def test_a_stamp_on_a_classification_adds_time_and_nothing_else(element):
    stamped = ELEMENT_COLUMNS["classification"].stamp(element, 0.5, "seed")
    assert stamped == {"time": 0.5, **element}
    assert next(iter(stamped)) == "time"


@pytest.mark.parametrize(("inference_type", "element"), ELEMENTS)
def test_every_stamped_element_comes_back_and_is_finite(inference_type, element):
    columns = ELEMENT_COLUMNS[inference_type]
    stamped = columns.stamp(element, 0.125, "seed")
    table = pa.Table.from_pylist([columns.to_row(stamped)], schema=columns.schema())
    assert all_finite(table)
    assert orjson.dumps(columns.to_element(table.to_pylist()[0])) == orjson.dumps(stamped)
    assert isinstance(stamped, list) or stamped["time"] == 0.125


def test_the_columns_of_all_types_fit_into_one_table():
    schema = result_schema(list(ELEMENT_COLUMNS))
    assert {"predictions", "segmentation", "embedding", "similarity", "time_gaze_det"} <= set(schema.names)
    for inference_type, element in ELEMENTS:
        columns = ELEMENT_COLUMNS[inference_type]
        own = pa.Table.from_pylist([columns.to_row(element)], schema=columns.schema())
        for name in own.column_names:
            wide = own.column(name).cast(schema.field(name).type)
            assert wide.null_count == own.column(name).null_count


def test_derived_ids_are_valid_uuids_of_version_8_and_never_change():
    assert UUID(derived_id("seed", 3)).version == 8
    assert derived_id("seed", 3) == "2416d432-1238-894f-9238-a226512e311b"
    assert derived_id("seed:1", 1) != derived_id("seed", 11)


@pytest.mark.parametrize("boxes", [0, 1, 40])
def test_supervision_reads_a_detection_element_that_came_back(boxes):
    columns = ELEMENT_COLUMNS["object-detection"]
    element = columns.stamp(random_detection_element(seed=boxes, boxes=boxes), 0.01, "seed")
    [back] = through_arrow("object-detection", [element])
    detections = supervision.Detections.from_inference(back)
    assert len(detections) == boxes
    for one, corners, confidence in zip(
        element["predictions"], detections.xyxy, detections.confidence if boxes else [], strict=True
    ):
        left = one["x"] - one["width"] / 2
        top = one["y"] - one["height"] / 2
        assert corners.tolist() == pytest.approx([left, top, left + one["width"], top + one["height"]], abs=1e-3)
        assert confidence == pytest.approx(one["confidence"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_say_is_found_however_deep(value):
    columns = ELEMENT_COLUMNS["object-detection"]
    elements = [detection_element(box()), detection_element(), detection_element(box(), box(y=value))]
    table = pa.Table.from_pylist([columns.to_row(element) for element in elements], schema=columns.schema())
    assert not all_finite(table)
    assert all_finite(table.slice(0, 2))
    assert not all_finite(table.slice(2, 1))


def test_tables_without_rows_or_with_nulls_are_finite():
    schema = ELEMENT_COLUMNS["classification"].schema()
    assert all_finite(schema.empty_table())
    assert all_finite(pa.Table.from_pylist([{}, {}], schema=schema))
