"""What a file says of its pictures, checked against the first one that decodes.

Runs in the decode worker only: imports av and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from tasks.decode_geometry import orientation_of
from tasks.decode_pictures import MATRICES, UNSPECIFIED, is_full_range
from tasks.decode_video import RefusedError, VideoFile

_TRANSFERS = {int(ColorTrc.SMPTE2084): "pq", int(ColorTrc.ARIB_STD_B67): "hlg"}


def facts_of(video: VideoFile, first_frame: VideoFrame) -> dict[str, Any]:
    """The facts that don't take an index, for JSON. Raises `RefusedError` where the pictures are too large.

    The video knows from then on in which size its frames are shown.
    """
    width, height = first_frame.width, first_frame.height
    if width * height > video.max_pixels:
        raise RefusedError("too_many_pixels", width=width, height=height, max_pixels=video.max_pixels)
    orientation = orientation_of(first_frame)
    video.shown_size = orientation.turned((width, height))
    aspect = video.stream.sample_aspect_ratio or Fraction(1)
    if orientation.quarter_turns % 2:
        aspect = 1 / aspect
    rate, time_base = video.stream.average_rate, video.stream.time_base
    return {
        "container": video.container_name,
        "codec": video.codec_name,
        "width": video.shown_size[0],
        "height": video.shown_size[1],
        "rotation": orientation.rotation,
        "mirrored": orientation.mirrored,
        "average_rate": str(rate) if rate else None,
        "time_base": str(time_base),
        "pixel_aspect": "{}:{}".format(*(aspect.as_integer_ratio())),
        "interlaced": first_frame.interlaced_frame,
        **_colour_facts(first_frame),
    }


def _colour_facts(frame: VideoFrame) -> dict[str, str]:
    """What the first frame says of its colours."""
    is_rgb = frame.format.is_rgb or frame.format.has_palette
    matrix = "unspecified" if frame.colorspace == UNSPECIFIED else MATRICES.get(frame.colorspace, "other")
    return {
        "pixel_format": frame.format.name,
        "colour_matrix": "rgb" if is_rgb else matrix,
        "colour_range": "full" if is_rgb or is_full_range(frame) else "limited",
        "transfer": _TRANSFERS.get(frame.color_trc, "sdr"),
    }
