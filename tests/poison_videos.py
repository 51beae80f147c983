"""Files that are called videos and cannot be worked on, of ten kinds."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from tests.video_files import Recipe, make_video


def save_poison(folder: Path) -> list[Path]:
    """Write one file of each kind into the folder; their names say what is wrong with them."""
    good = make_video(folder / "scratch.mp4", Recipe(frames=24)).read_bytes()
    (folder / "scratch.mp4").unlink()
    kinds = {
        "empty.mp4": b"",
        "text.mp4": b"this is no video\n" * 100,
        "zeros.mkv": bytes(50_000),
        "noise.webm": np.random.default_rng(1).bytes(50_000),
        "picture.mp4": b"\x89PNG\r\n\x1a\n" + good[:2000],
        "wrong-extension.mkv": good,
        "cut-before-its-index.mp4": good[: len(good) // 3],
        "only-a-header.mp4": good[:32],
        "no-samples.mp4": _without_samples(good),
    }
    for name, data in kinds.items():
        (folder / name).write_bytes(data)
    return [*(folder / name for name in kinds), _sound_alone(folder / "sound-alone.mp4")]


def _without_samples(data: bytes) -> bytes:
    """The same video with its pictures' bytes overwritten: the index stands and nothing can be decoded."""
    start = data.index(b"mdat") + 4
    stop = data.index(b"moov") - 4 if data.index(b"moov") > start else len(data)
    return data[:start] + bytes(stop - start) + data[stop:]


def _sound_alone(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path
