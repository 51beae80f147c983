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


WITH_IDS = {"object-detection", "instance-segmentation", "keypoint-detection"}


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


def stamped(inference_type: str, *elements: Any, time_s: float, seeds: list[str]) -> list[Any]:
    columns = ELEMENT_COLUMNS[inference_type]
    rows = columns.stamped(columns.rows(elements), time_s, seeds)
    assert all_finite(pa.Table.from_batches([rows]))
    return columns.elements(rows)


def ids(element: Any) -> list[str]:
    return [one["detection_id"] for one in element["predictions"]]


def test_a_stamp_adds_time_first_and_ids_that_depend_on_seed_and_rank_alone():
    crowded, empty, again = stamped(
        "object-detection",
        detection_element(box(), box(), box()),
        detection_element(),
        detection_element(box(), box()),
        time_s=0.0125,
        seeds=["model:17", "model:18", "model:19"],
    )
    assert list(crowded) == ["time", "image", "predictions"]
    assert crowded["time"] == 0.0125
    assert list(crowded["predictions"][0])[-1] == "detection_id"
    assert ids(crowded) == [derived_id("model:17", rank) for rank in range(3)]
    assert ids(empty) == []
    assert ids(again) == [derived_id("model:19", rank) for rank in range(2)]


def test_stamping_again_replaces_time_and_ids():
    [once] = stamped("object-detection", detection_element(box()), time_s=1.0, seeds=["a"])
    [twice] = stamped("object-detection", once, time_s=2.0, seeds=["b"])
    assert [twice] == stamped("object-detection", detection_element(box()), time_s=2.0, seeds=["b"])


def test_rows_that_are_cut_out_of_others_get_ids_of_their_own_seeds():
    columns = ELEMENT_COLUMNS["object-detection"]
    rows = columns.rows([random_detection_element(seed, boxes=seed) for seed in range(5)])
    part = columns.elements(columns.stamped(rows.slice(2, 2), 0.5, ["a", "b"]))
    assert [ids(element) for element in part] == [
        [derived_id("a", rank) for rank in range(2)],
        [derived_id("b", rank) for rank in range(3)],
    ]


@pytest.mark.parametrize("element", [classification_element(cat=0.5), multi_label_element(sky=0.5)])
def test_a_stamp_on_a_classification_adds_time_and_nothing_else(element):
    [made] = stamped("classification", element, time_s=0.5, seeds=["seed"])
    assert made == {"time": 0.5, **element}
    assert next(iter(made)) == "time"


@pytest.mark.parametrize(("inference_type", "element"), ELEMENTS)
def test_every_stamped_element_says_its_time_and_all_that_it_said_before(inference_type, element):
    [made] = stamped(inference_type, element, time_s=0.125, seeds=["seed"])
    if inference_type == "clip-embed-image":
        assert made == element
        return
    assert made.pop("time") == 0.125
    for one in made["predictions"] if inference_type in WITH_IDS else []:
        assert one.pop("detection_id")
    said = {key: value for key, value in element.items() if key != "time"}
    if inference_type in WITH_IDS:
        said["predictions"] = [{k: v for k, v in one.items() if k != "detection_id"} for one in said["predictions"]]
    assert orjson.dumps(made) == orjson.dumps(said)


@pytest.mark.parametrize(("inference_type", "element"), ELEMENTS)
def test_json_is_what_orjson_writes_for_the_element(inference_type, element):
    columns = ELEMENT_COLUMNS[inference_type]
    rows = columns.stamped(columns.rows([element] * 3), 0.125, ["a", "b", "c"])
    for some in (rows, rows.slice(1, 1), columns.rows([element])):
        assert columns.json_texts(some) == [orjson.dumps(one) for one in columns.elements(some)]


def test_json_of_different_elements_of_a_type_keeps_their_order():
    for inference_type in ELEMENT_COLUMNS:
        columns = ELEMENT_COLUMNS[inference_type]
        elements = [element for of, element in ELEMENTS if of == inference_type]
        assert columns.json_texts(columns.rows(elements)) == [orjson.dumps(element) for element in elements]


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
    [element] = columns.elements(
        columns.stamped(columns.rows([random_detection_element(seed=boxes, boxes=boxes)]), 0.01, ["seed"])
    )
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
