"""What a file says of its pictures, checked against the first one that decodes.

Runs in the decode worker only: imports av and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.video.frame import VideoFrame

from tasks.decode_pictures import quarter_turns
from tasks.decode_video import RefusedError, VideoFile


def facts_of(video: VideoFile, first_frame: VideoFrame) -> dict[str, Any]:
    """The facts that don't take an index, for JSON. Raises `RefusedError` where the pictures are too large."""
    width, height = first_frame.width, first_frame.height
    if width * height > video.max_pixels:
        raise RefusedError("too_many_pixels", width=width, height=height, max_pixels=video.max_pixels)
    aspect = video.stream.sample_aspect_ratio or Fraction(1)
    turns = quarter_turns(first_frame)
    if turns % 2:
        width, height, aspect = height, width, 1 / aspect
    rate, time_base = video.stream.average_rate, video.stream.time_base
    return {
        "container": video.container_name,
        "codec": video.codec_name,
        "width": width,
        "height": height,
        "rotation": (360 - 90 * turns) % 360,
        "average_rate": str(rate) if rate else None,
        "time_base": str(time_base),
        "pixel_aspect": "{}:{}".format(*(aspect.as_integer_ratio())),
    }
