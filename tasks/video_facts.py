"""What is known of a video without looking at its pictures."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.sampling import CountedBy


class VideoFacts(BaseModel):
    """What is known of a video without looking at its pictures."""

    model_config = ConfigDict(frozen=True)

    container: str
    """mp4, mov, mkv, webm or avi, by content."""
    codec: str
    width: int
    """Pixels of the frame as displayed, rotation applied."""
    height: int
    rotation: int
    """Degrees clockwise from the stored to the displayed frame: 0, 90, 180 or 270."""
    rate: str
    """Frames a second, exactly: "25" or "30000/1001"; the average where it varies."""
    constant_rate: bool
    frame_count: int
    duration_s: float
    pixel_aspect: str
    """Width to height of one displayed pixel, "1:1" where the file doesn't say."""
    counted_by: CountedBy
