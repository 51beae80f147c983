from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from tasks.box_matching import matched_boxes
from tasks.comparison import (
    ResultComparison,
    ResultUnreadableError,
    UnknownElementError,
    compare_results,
    equal,
    report_as_dict,
    report_as_lines,
)
from tasks.store import LocalStore
from tests.element_builders import (
    box,
    classification_element,
    detection_element,
    multi_label_element,
    random_detection_element,
)
from tests.published_results import CLASSIFIER, DETECTOR, PREFIX, SampledPlan, publish, write_shards

Result = dict[str, list[Any]]


def result(**models: list[Any]) -> Result:
    frames = len(next(iter(models.values())))
    return {"frame_offset": [5 * i for i in range(frames)], "time_offset": [0.2 * i for i in range(frames)], **models}


@pytest.fixture
def compare(tmp_path):
    def compare_written(a: Result, b: Result) -> ResultComparison:
        for name, content in (("a", a), ("b", b)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "predictions.json").write_bytes(orjson.dumps(content))
        return compare_results(tmp_path / "a", tmp_path / "b")

    return compare_written


def figures(report: ResultComparison, key: str = "model") -> dict[str, float]:
    [model] = [model for model in report.models if model.key == key]
    return {difference.name: difference.value for difference in model.differences if difference.value}


def test_two_published_results_of_the_same_shards_are_equal(tmp_path):
    store, plan = LocalStore(tmp_path / "store"), SampledPlan(samples=12, segment=5)
    write_shards(store, plan, DETECTOR, lambda i: random_detection_element(i, boxes=i))
    write_shards(store, plan, CLASSIFIER, lambda i: "broken" if i == 3 else classification_element(cat=0.5, dog=0.25))
    for prefix in (PREFIX, "results/other"):
        publish(store, plan, [DETECTOR, CLASSIFIER], tmp_path / "scratch", prefix=prefix)
    report = compare_results(store.local_path(PREFIX), store.local_path("results/other/predictions.json"))
    assert equal(report)
    assert [(m.key, m.element_type, m.frames_compared, m.compared) for m in report.models] == [
        ("detector", "object-detection", 12, sum(range(12))),
        ("hub/classifier", "classification", 11, 22),
    ]
    assert (report.frames_a, report.frames_b, report.frames_common) == (12, 12, 12)


def test_time_ids_and_the_order_of_boxes_do_not_count(compare):
    boxes = random_detection_element(3, boxes=60)["predictions"]
    a = {"time": 0.1, **detection_element(*(one | {"detection_id": f"a{i}"} for i, one in enumerate(boxes)))}
    b = {"time": 0.9, **detection_element(*reversed([one | {"detection_id": f"b{i}"} for i, one in enumerate(boxes)]))}
    report = compare(result(model=[a]), result(model=[b]))
    assert equal(report)
    assert report.models[0].compared == 60


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_shift_of_a_pixel_is_a_pixel(compare, name):
    element = random_detection_element(1, boxes=30)
    shifted = copy.deepcopy(element)
    for one in shifted["predictions"]:
        one[name] += 1.0
    random.Random(5).shuffle(shifted["predictions"])
    report = compare(result(model=[element]), result(model=[shifted]))
    assert figures(report) == {"max_box_px": pytest.approx(1.0)}
    assert not equal(report, box_px=0.99)
    assert equal(report, box_px=1.001)


def test_a_box_that_grows_about_its_centre_moves_its_edges_by_half(compare):
    report = compare(
        result(model=[detection_element(box(size=8.0))]),
        result(model=[detection_element(box(size=8.0) | {"width": 9.0})]),
    )
    assert figures(report) == {"max_box_px": pytest.approx(0.5)}


def test_the_worst_score_of_all_frames_is_told(compare):
    a = [detection_element(box(confidence=0.5)), detection_element(box(confidence=0.5)), detection_element()]
    b = [detection_element(box(confidence=0.5001)), detection_element(box(confidence=0.497)), detection_element()]
    report = compare(result(model=a), result(model=b))
    assert figures(report) == {"max_score": pytest.approx(0.003)}
    assert equal(report, score=0.0031)
    assert not equal(report, score=0.0029)


def test_a_missing_box_and_another_class_are_counted(compare):
    a = [detection_element(box(), box(x=100)), detection_element(box(name="person"))]
    b = [detection_element(box(x=100)), detection_element(box(name="car"))]
    report = compare(result(model=a), result(model=b))
    assert figures(report) == {"frames_classes_differ": 2, "boxes_unmatched": 3}
    assert not equal(report, box_px=1e9, score=1)


def test_another_class_id_or_frame_size_is_a_difference(compare):
    a = detection_element(box())
    b = detection_element(box() | {"class_id": 7}) | {"image": {"width": 480, "height": 640}}
    report = compare(result(model=[a]), result(model=[b]))
    assert figures(report) == {"boxes_class_id_differ": 1, "frames_size_differ": 1}
    assert not equal(report)


def test_boxes_on_top_of_each_other_are_told_apart_by_score():
    a = [box(confidence=0.9), box(confidence=0.1)]
    b = [box(x=10.5001, confidence=0.1), box(x=10.5001, confidence=0.9)]
    assert sorted(matched_boxes(a, b)) == [(0, 1), (1, 0)]


def test_matching_finds_the_partner_of_each_box_in_a_crowd():
    boxes = random_detection_element(9, boxes=300)["predictions"]
    order = random.Random(2).sample(range(300), 300)
    moved = [boxes[i] | {"x": boxes[i]["x"] + 0.2, "confidence": boxes[i]["confidence"] - 1e-4} for i in order]
    assert sorted(matched_boxes(boxes, moved)) == sorted((i, order.index(i)) for i in range(300))


def test_a_box_without_a_partner_of_its_class_stays_alone():
    assert matched_boxes([box(), box(x=90)], [box(x=91), box(name="car")]) == [(1, 0)]
    assert matched_boxes([], [box()]) == []


def test_nulls_on_one_side_are_counted(compare):
    some = detection_element(box())
    report = compare(result(model=[some, None, None, some]), result(model=[some, some, None, None]))
    assert (report.models[0].frames_null_differ, report.models[0].frames_compared) == (2, 1)
    assert not equal(report)


def test_lists_of_nulls_are_equal_and_of_no_type(compare):
    report = compare(result(model=[None, None]), result(model=[None, None]))
    assert equal(report)
    assert report.models[0].element_type is None
    assert any("no element" in line for line in report_as_lines(report))


def test_other_frames_are_told_and_common_ones_still_compared(compare):
    a = result(model=[detection_element(box(x=float(i))) for i in range(4)])
    b = {name: values[1:] for name, values in copy.deepcopy(a).items()}
    b["time_offset"][0] += 0.5
    report = compare(a, b)
    assert (report.frames_a, report.frames_b, report.frames_common) == (4, 3, 3)
    assert (report.frame_offset_equal, report.time_offset_equal) == (False, False)
    assert figures(report) == {}
    assert not equal(report, box_px=1e9, score=1)


def test_another_time_alone_is_a_difference(compare):
    a = result(model=[None, None])
    report = compare(a, a | {"time_offset": [0.0, 0.2001]})
    assert (report.frame_offset_equal, report.time_offset_equal) == (True, False)
    assert not equal(report)


def test_models_that_one_side_lacks_are_named(compare):
    report = compare(result(one=[None], two=[None]), result(two=[None], three=[None]))
    assert (report.models_only_in_a, report.models_only_in_b) == (("one",), ("three",))
    assert [model.key for model in report.models] == ["two"]
    assert not equal(report)


def test_classes_are_compared_by_name_and_the_best_one_by_itself(compare):
    a = [classification_element(cat=0.5, dog=0.4, emu=0.1), classification_element(cat=0.75, dog=0.25)]
    b = [classification_element(dog=0.45, cat=0.44, emu=0.11), classification_element(cat=0.75)]
    report = compare(result(model=a), result(model=b))
    assert figures(report) == {
        "frames_top_differ": 1,
        "classes_unmatched": 1,
        "max_confidence": pytest.approx(0.06),
    }
    assert report.models[0].element_type == "classification"


def test_many_labels_are_compared_by_name_and_by_what_is_predicted(compare):
    a = [multi_label_element(sky=0.41, sea=0.1), multi_label_element(sky=0.9)]
    b = [multi_label_element(sky=0.39, sea=0.1), multi_label_element(sky=0.9)]
    report = compare(result(model=a), result(model=b))
    assert figures(report) == {"frames_labels_differ": 1, "max_confidence": pytest.approx(0.02)}


def test_elements_of_two_types_are_a_difference_in_every_frame(compare):
    report = compare(
        result(model=[detection_element(box())] * 3), result(model=[classification_element(cat=1.0)] * 2 + [None])
    )
    assert figures(report) == {"frames_type_differ": 2}
    assert report.models[0].element_type == "object-detection and classification"


def test_frames_in_which_nothing_was_found_leave_the_type_to_the_others(compare):
    report = compare(result(model=[detection_element()]), result(model=[detection_element(box())]))
    assert figures(report) == {"frames_classes_differ": 1, "boxes_unmatched": 1}


@pytest.mark.parametrize(
    "element",
    [
        "text",
        detection_element(box() | {"points": [{"x": 1, "y": 2}], "keypoints": []}),
        [1.0, "text"],
        {"surprise": 1},
    ],
)
def test_elements_of_no_known_shape_are_an_error_that_names_the_model(compare, element):
    with pytest.raises(UnknownElementError, match="'model'"):
        compare(result(model=[element]), result(model=[element]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b'{"frame_offset": [0], "time_offset": [0.0], "m": [NaN]}', "not JSON"),
        (b"[]", "not a result"),
        (b'{"frame_offset": [0], "time_offset": [0.0], "m": []}', "not a result"),
        (b'{"frame_offset": [0], "m": [null]}', "not a result"),
        (b'{"frame_offset": 1, "time_offset": 2}', "not a result"),
    ],
)
def test_a_file_that_is_no_result_is_named(tmp_path, content, said):
    path = tmp_path / "predictions.json"
    path.write_bytes(content)
    with pytest.raises(ResultUnreadableError, match=said) as caught:
        compare_results(path, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_result_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ResultUnreadableError, match=r"cannot be read \(No such file"):
        compare_results(tmp_path / name, tmp_path / name)


def test_the_report_reads_as_lines_and_as_json(compare):
    a = [detection_element(box(), box(x=50)), detection_element(box())]
    b = [detection_element(box(), box(x=50.25)), None]
    report = compare(result(model=a), result(model=b))
    assert report_as_lines(report) == [
        "frames: 2 and 2, 2 in both",
        "frame_offset: equal",
        "time_offset: equal",
        "model (object-detection): 1 frames, 2 boxes compared",
        "  frames null in one only: 1",
        "  frames size differ: 0",
        "  frames classes differ: 0",
        "  boxes unmatched: 0",
        "  boxes class id differ: 0",
        "  max box px: 0.25",
        "  max score: 0",
    ]
    said = json.loads(json.dumps(report_as_dict(report)))
    assert said["frame_offset_equal"] is True
    assert said["models"][0]["differences"]["max_box_px"] == 0.25
    assert said["models"][0]["frames_null_differ"] == 1


def test_paths_may_be_folders_or_files(tmp_path):
    content = orjson.dumps(result(model=[detection_element(box())]))
    Path(tmp_path, "predictions.json").write_bytes(content)
    Path(tmp_path, "renamed.json").write_bytes(content)
    assert equal(compare_results(tmp_path, tmp_path / "renamed.json"))
