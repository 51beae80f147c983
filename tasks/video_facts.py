"""What is known of a video without looking at its pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.video_index import CountedBy


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
    mirrored: bool = False
    """Whether the stored frame is mirrored left to right before it is turned."""
    rate: str
    """Frames a second, exactly: "25" or "30000/1001"; the average where it varies."""
    constant_rate: bool
    frame_count: int
    """Frames that are there or were between those that are; some may turn out to be damaged when decoded."""
    frames_missing: int = 0
    """Frames known to be absent: swallowed by a hole (listed, as failed), or cut off at the end (not listed)."""
    duration_s: float
    pixel_aspect: str
    """Width to height of one displayed pixel, "1:1" where the file doesn't say."""
    interlaced: bool = False
    """Whether the first frame is two fields, which are shown woven."""
    pixel_format: str = ""
    """As FFmpeg calls what is stored, such as yuv420p10le; frames are given as 8-bit RGB whatever it is."""
    colour_matrix: str = "unspecified"
    """By which colours are turned into RGB: bt601, bt709, bt2020, smpte240m, fcc or rgb. What is `unspecified`, and
    `other` ones that FFmpeg cannot convert, are taken as BT.601."""
    colour_range: Literal["limited", "full"] = "limited"
    """Limited where the file says nothing; grey and RGB are always full."""
    transfer: Literal["sdr", "pq", "hlg"] = "sdr"
    """PQ and HLG are high dynamic range, which is not tone-mapped: such frames look pale."""
    counted_by: CountedBy


def frames_text(facts: VideoFacts) -> str:
    """How many frames there are, for people, with what they should know of the count."""
    said = [str(facts.frame_count)]
    if facts.frames_missing:
        said.append(f"{facts.frames_missing} missing: the file is damaged or cut off")
    if facts.counted_by == "decoding":
        said.append("counted by decoding: the file's own times cannot be relied on")
    return "; ".join(said)
