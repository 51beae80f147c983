"""Where the time goes, and who is named as the slowest."""

from __future__ import annotations

import pytest

from tasks.stage_times import DECODING, StageTimes, pace


@pytest.mark.parametrize(
    ("extraction", "models", "slowest"),
    [
        ({}, {}, None),
        ({"decoding_s": 9.0}, {"a": {"setting_up_s": 2.0}}, None),
        (
            {"decoding_s": 9.0, "waiting_for_models_s": 0.1},
            {"a": {"waiting_for_frames_s": 8, "inferring_s": 1}},
            DECODING,
        ),
        ({"decoding_s": 1.0, "waiting_for_models_s": 8.0}, {"a": {"waiting_for_frames_s": 0.1, "inferring_s": 9}}, "a"),
        (
            {"decoding_s": 1.0, "waiting_for_models_s": 8.0},
            {
                "a": {"waiting_for_frames_s": 6, "inferring_s": 3},
                "b": {"waiting_for_frames_s": 0.2, "inferring_s": 8},
            },
            "b",
        ),
        # Neither waits for the other for long: the model is never without frames.
        ({"decoding_s": 9.0, "waiting_for_models_s": 0.0}, {"a": {"waiting_for_frames_s": 0.5, "inferring_s": 9}}, "a"),
    ],
)
def test_the_slowest_is_who_waits_least(extraction, models, slowest) -> None:
    assert pace(extraction, models) == slowest


def test_time_is_counted_however_the_block_ends() -> None:
    times = StageTimes()
    with pytest.raises(KeyError), times.at("failing"):
        raise KeyError
    times.add("failing", 1.5)
    times.add("failing", 0.25)
    assert times.seconds() == {"failing_s": pytest.approx(1.75, abs=0.01)}
