"""Videos of any length at a low resolution, made quickly: the packets of a short clip, again and again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from tests.video_files import Recipe, make_video

FPS = 30
_CLIP = Recipe(frames=60 * FPS, rate=Fraction(FPS), width=64, height=48, gop=60, b_frames=2, options={"crf": "40"})
_CLIP_S = _CLIP.frames // FPS


def long_video(folder: Path, container: str, seconds: int) -> Path:
    """An `mp4` or `mkv` of H.264 with B-frames, `seconds` long (whole minutes); kept where it was made before."""
    if seconds % _CLIP_S:
        raise ValueError(f"{seconds} s are no whole minutes")
    path = folder / f"long-{seconds}s.{container}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / "long-clip.mp4"
    if not clip.exists():
        make_video(clip, _CLIP)
    unfinished = path.with_name(f"unfinished-{path.name}")
    with av.open(str(clip)) as source, av.open(str(unfinished), "w") as target:
        original = source.streams.video[0]
        stream = target.add_stream_from_template(original)
        packets = [packet for packet in source.demux(original) if packet.size]
        clip_ticks = round(_CLIP_S / original.time_base)
        for shift in range(0, seconds // _CLIP_S * clip_ticks, clip_ticks):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base, copy.is_keyframe = stream, original.time_base, packet.is_keyframe
                copy.pts, copy.dts, copy.duration = packet.pts + shift, packet.dts + shift, packet.duration
                target.mux(copy)
    return unfinished.rename(path)
