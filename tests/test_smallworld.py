"""The small world's truth is exact, its seeds decide all, its scores can fail, and its models see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.smallworld.captions import CANDIDATES, CAPTIONS, candidate_captions, caption_of, scene_caption
from tests.smallworld.motion import PERIOD_S
from tests.smallworld.scenes import COUNTED_SHARE, CROWD, KINDS, PAIR, SINGLE, Kind, Scene, mask_bounds
from tests.smallworld.scoring import Found, mean_average_precision, mean_overlap, share_right
from tests.smallworld.shapes import KEY_POINTS, SHAPES, Shape


def mask_of(shape: Shape, width_px: int = 120, height_px: int = 100) -> np.ndarray:
    xs = np.arange(width_px, dtype=np.float32)[None, :] + 0.5
    ys = np.arange(height_px, dtype=np.float32)[:, None] + 0.5
    return shape.edge_distance_px(xs, ys) <= 0


def polygon_area(corners: np.ndarray) -> float:
    xs, ys = corners.T
    return 0.5 * abs(float(xs @ np.roll(ys, 1) - ys @ np.roll(xs, 1)))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("turn_rad", [0.0, 0.4, 2.9, -1.3])
def test_mask_area_is_that_of_the_outline(name: str, turn_rad: float) -> None:
    shape = Shape(name, 58.3, 49.6, 40.0, turn_rad)
    assert shape.area_px == pytest.approx(polygon_area(shape.corners()), rel=1e-4)
    assert mask_of(shape).sum() == pytest.approx(shape.area_px, rel=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_key_points_are_the_centre_and_the_ends_of_the_mask(name: str) -> None:
    shape = Shape(name, 58.3, 49.6, 40.0, 0.7)
    points = dict(zip(KEY_POINTS, shape.key_points(), strict=True))
    left, top, right, bottom = mask_bounds(mask_of(shape))
    assert tuple(points["centre"]) == (58.3, 49.6)
    # A corner between two pixels' centres may stick out by as much as the pixels it misses.
    ends = points["left"][0], points["top"][1], points["right"][0], points["bottom"][1]
    assert np.allclose(ends, (left, top, right, bottom), atol=1.6)
    assert abs(shape.edge_distance_px(np.float32(points["top"][0]), np.float32(points["top"][1]))) < 0.01


def test_a_shape_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such shape: hexagon"):
        Shape("hexagon", 0, 0, 10)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_seed_decides_everything(kind: Kind) -> None:
    one, again, other = Scene(kind, 41).frame(2.5), Scene(kind, 41).frame(2.5), Scene(kind, 42).frame(2.5)
    assert np.array_equal(one.rgb, again.rgb)
    assert np.array_equal(one.owners, again.owners)
    assert not np.array_equal(one.rgb, other.rgb)
    assert one.rgb.shape == (kind.height_px, kind.width_px, 3)


def test_masks_are_what_is_visible_and_boxes_their_bounds() -> None:
    counted = covered = 0
    for seed in range(60):
        frame = Scene(CROWD, seed).still()
        whole = [mask_of(shape, CROWD.width_px, CROWD.height_px) for shape in frame.shapes]
        for seen in frame.seen:
            index = frame.objects.index(seen.object)
            visible = whole[index] & ~np.any([*whole[index + 1 :], np.zeros_like(whole[index])], axis=0)
            assert np.array_equal(seen.mask, visible)
            rows, columns = np.nonzero(visible)
            assert seen.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert visible.sum() >= COUNTED_SHARE * seen.shape.area_px
            assert np.all(frame.label_map[visible] == 1 + seen.class_id)
            counted += 1
            covered += int(visible.sum() < whole[index].sum())
        hidden = len(frame.objects) - len(frame.seen)
        assert hidden == sum((frame.owners == i).sum() < 0.5 * s.area_px for i, s in enumerate(frame.shapes))
    assert counted > 120
    assert covered > 5  # objects do overlap


def test_pixels_have_the_colour_of_what_owns_them() -> None:
    frame = Scene(CROWD, 3).still()
    for seen in frame.seen:
        xs, ys = np.arange(CROWD.width_px) + 0.5, np.arange(CROWD.height_px) + 0.5
        deep = seen.shape.edge_distance_px(xs[None, :].astype(np.float32), ys[:, None].astype(np.float32)) < -1
        pixels = frame.rgb[deep & seen.mask]
        inner = pixels[np.all(pixels == seen.object.rgb, axis=1)]
        assert len(inner) > 0.9 * len(pixels)


def test_objects_move_enter_and_leave_and_come_back() -> None:
    counts, moved = set(), 0.0
    for seed in range(12):
        scene = Scene(CROWD, seed)
        counts.update(len(scene.frame(time_s).seen) - len(scene.objects) for time_s in np.arange(0, PERIOD_S, 1.5))
        start, later = scene.frame(0).shapes, scene.frame(1).shapes
        moved = max(moved, *(math.hypot(a.x - b.x, a.y - b.y) for a, b in zip(start, later, strict=True)))
        for before, after in zip(start, scene.frame(PERIOD_S).shapes, strict=True):
            assert (before.x, before.y) == pytest.approx((after.x, after.y), abs=1e-6)
    assert min(counts) < 0 == max(counts)
    assert moved > 20


@pytest.mark.parametrize("kind", [SINGLE, PAIR], ids=["single", "pair"])
def test_what_is_said_of_a_video_holds_for_all_of_its_frames(kind: Kind) -> None:
    for seed in range(15):
        scene = Scene(kind, seed)
        wanted = [thing for thing in scene.objects if not thing.speck]
        assert all([seen.object for seen in scene.frame(time_s).seen] == wanted for time_s in np.arange(0, 12, 1.7))


def test_captions_name_colour_and_shape_in_one_order() -> None:
    assert caption_of(["blue star", "red circle"]) == caption_of(["red circle", "blue star"])
    assert caption_of(["red circle"]) == "a red circle"
    assert len(set(CAPTIONS)) == len(CAPTIONS) == 230
    with pytest.raises(ValueError, match="one or two objects"):
        caption_of([])


def test_candidates_are_twenty_different_captions_with_the_right_one_first() -> None:
    for seed in range(20):
        candidates = candidate_captions(seed)
        assert candidates[0] == scene_caption(Scene(PAIR, seed))
        assert len(set(candidates)) == CANDIDATES
        assert set(candidates) <= set(CAPTIONS)


BOXES = np.array([[10.0, 10, 30, 30], [50, 50, 80, 80]])


def found(boxes: np.ndarray, classes: list[int], scores: list[float] | None = None) -> Found:
    return Found(boxes, np.array(classes, np.int64), None if scores is None else np.array(scores))


def test_right_boxes_score_one_and_none_score_zero() -> None:
    truth = [found(BOXES, [0, 1])]
    assert mean_average_precision([found(BOXES, [0, 1], [0.9, 0.8])], truth) == 1.0
    assert mean_average_precision([found(BOXES[:0], [], [])], truth) == 0.0
    assert mean_average_precision([found(BOXES, [1, 0], [0.9, 0.8])], truth) == 0.0
    assert mean_average_precision([found(BOXES + 15, [0, 1], [0.9, 0.8])], truth) == 0.0


def test_average_precision_by_hand() -> None:
    # Two objects of one class; by confidence: hit, miss, hit. Precision 1 up to recall 1/2, then 2/3.
    truth = [found(BOXES, [0, 0])]
    boxes = np.array([BOXES[0], [100.0, 100, 120, 120], BOXES[1]])
    assert mean_average_precision([found(boxes, [0, 0, 0], [0.9, 0.8, 0.7])], truth) == pytest.approx(0.5 + 0.5 * 2 / 3)
    # The second box on the same object is a miss, however well it lies.
    twice = np.array([BOXES[0], BOXES[0], BOXES[1]])
    assert mean_average_precision([found(twice, [0, 0, 0], [0.9, 0.8, 0.7])], truth) == pytest.approx(0.5 + 0.5 * 2 / 3)
    # A miss on another frame counts as well.
    frames = [found(BOXES, [0, 0], [0.9, 0.6]), found(BOXES[:1], [0], [0.8])]
    empty = found(BOXES[:0], [])
    assert mean_average_precision(frames, [*truth, empty]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_overlap_decides_at_one_half() -> None:
    truth = [found(np.array([[0.0, 0, 10, 10]]), [2])]
    for width, expected in ((5.1, 1.0), (4.9, 0.0)):
        assert mean_average_precision([found(np.array([[0.0, 0, width, 10]]), [2], [0.9])], truth) == expected


def test_masks_are_scored_by_their_pixels() -> None:
    masks = np.zeros((1, 20, 20), np.bool_)
    masks[0, :10] = True
    shifted = np.roll(masks, 4, axis=1)
    truth = [found(masks, [0])]
    assert mean_average_precision([found(masks, [0], [0.9])], truth) == 1.0
    assert mean_average_precision([found(shifted, [0], [0.9])], truth) == 0.0
    assert mean_average_precision([found(masks[:0], [], [])], truth) == 0.0


def test_mean_overlap_by_hand() -> None:
    truth = np.array([[0, 0], [1, 1]])
    assert mean_overlap([truth], [truth], classes=3) == 1.0
    assert mean_overlap([np.array([[0, 0], [0, 1]])], [truth], classes=3) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert mean_overlap([np.zeros((2, 2), int)], [truth], classes=3) == pytest.approx((2 / 4 + 0) / 2)
    with pytest.raises(ValueError, match="cannot be compared"):
        mean_overlap([np.zeros((2, 3), int)], [truth], classes=3)


def test_scores_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        share_right([], [])
    with pytest.raises(ValueError, match="nothing to score"):
        mean_average_precision([found(BOXES, [0, 1], [0.9, 0.8])], [found(BOXES[:0], [])])
    with pytest.raises(ValueError, match="1 frames were predicted, 0 are known"):
        mean_average_precision([found(BOXES, [0, 1], [0.9, 0.8])], [])
    with pytest.raises(ValueError, match="do not match"):
        found(BOXES, [0])
