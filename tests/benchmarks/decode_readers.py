"""The readers that are measured side by side, each in the modes that may be its best.

A reader is a function that imports its library and returns its modes; a mode is a generator that is given a
`Sampling` and yields those frames in order as `(height, width, 3)` uint8 RGB, decoded by one thread. What it yields is
only lent. The ffmpeg command has a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from tests.benchmarks.decode_ffmpeg import ffmpeg_modes
from tests.benchmarks.decode_sampling import Mode, Pixels, Sampling


def reelmill_modes() -> dict[str, Mode]:
    """Ours, as a job uses it: index, plan, sparse decoding in a worker process, which is forked on the clock."""
    from tasks.decode_forking import FORKER, can_fork
    from tasks.decode_workers import DecodeWorkers
    from tasks.decoding import ExtractedFrame, extract
    from tasks.plans import make_plan
    from tasks.probing import probe

    if can_fork():
        FORKER.prepare()

    def sparse(wanted: Sampling) -> Iterator[Pixels]:
        step = wanted.numbers.step
        with DecodeWorkers() as workers:
            _, index = probe(wanted.path, workers=workers)
            wanted_fps = None if step == 1 else Fraction(wanted.fps, step)
            # Half a frame before the end, so that rounding lets no other frame in.
            part_s = (wanted.numbers.stop - 0.5) / wanted.fps if wanted.numbers.stop < len(index.pts) else None
            plan = make_plan(index, infer_fps=wanted_fps, end_s=part_s)
            if plan.frame_offset.tolist() != list(wanted.numbers):
                raise RuntimeError("the plan asks for other frames than the readers are given")
            for item in extract(wanted.path, plan, range(len(plan.segments)), workers=workers):
                if isinstance(item, ExtractedFrame) and item.pixels is not None:
                    yield item.pixels

    return {"sparse": sparse}


def pyav_modes() -> dict[str, Mode]:
    """PyAV straight through, and jumping to the next sample's keyframe wherever the container's own index has one."""
    import av
    from av.video.reformatter import VideoReformatter

    def converted(reformatter: VideoReformatter, frame: Any) -> Pixels:
        return np.asarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray())

    def straight(wanted: Sampling) -> Iterator[Pixels]:
        reformatter = VideoReformatter()
        with av.open(str(wanted.path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted.numbers:
                    yield converted(reformatter, frame)
                if number == wanted.numbers[-1]:
                    return

    def seeking(wanted: Sampling) -> Iterator[Pixels]:
        reformatter = VideoReformatter()
        with av.open(str(wanted.path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            ticks = 1 / (wanted.fps * stream.time_base)
            keys = np.array([entry.timestamp for entry in stream.index_entries if entry.is_keyframe])
            frames = container.decode(stream)
            position = -1
            for number in wanted.numbers:
                time = int(number * ticks)
                if ((keys > position) & (keys <= time)).any():
                    container.seek(time, stream=stream)
                    frames = container.decode(stream)
                for frame in frames:
                    if round(frame.pts / ticks) == number:
                        break
                position = time
                yield converted(reformatter, frame)

    return {"straight through": straight, "seeking": seeking}


def opencv_modes() -> dict[str, Mode]:
    """OpenCV: grab all and retrieve those wanted (reading, where all are), or seek to each."""
    import cv2

    cv2.setNumThreads(1)

    def opened(wanted: Sampling) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(wanted.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not capture.isOpened():
            raise RuntimeError("OpenCV does not open the file")
        return capture

    def grabbing(wanted: Sampling) -> Iterator[Pixels]:
        capture = opened(wanted)
        bgr = rgb = None
        for number in range(wanted.numbers[-1] + 1):
            if not capture.grab():
                return
            if number in wanted.numbers:
                _, bgr = capture.retrieve(bgr)
                rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, rgb)
                yield np.asarray(rgb)

    def seeking(wanted: Sampling) -> Iterator[Pixels]:
        capture = opened(wanted)
        bgr = rgb = None
        for number in wanted.numbers:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            good, bgr = capture.read(bgr)
            if not good:
                return
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, rgb)
            yield np.asarray(rgb)

    return {"grab, retrieve": grabbing, "seeking": seeking}


def torchcodec_modes() -> dict[str, Mode]:
    """torchcodec by lists, ranges and single frames, with an exact scan, and by lists trusting the container."""
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)

    def opened(wanted: Sampling, seek_mode: str = "exact") -> Any:
        return VideoDecoder(wanted.path, seek_mode=seek_mode, dimension_order="NHWC", num_ffmpeg_threads=1)

    def lists(wanted: Sampling) -> Iterator[Pixels]:
        decoder = opened(wanted)
        for batch in wanted.batches:
            yield from decoder.get_frames_at(list(batch)).data.numpy()

    def ranges(wanted: Sampling) -> Iterator[Pixels]:
        decoder = opened(wanted)
        for batch in wanted.batches:
            yield from decoder.get_frames_in_range(batch.start, batch.stop, batch.step).data.numpy()

    def singles(wanted: Sampling) -> Iterator[Pixels]:
        decoder = opened(wanted)
        for number in wanted.numbers:
            yield decoder.get_frame_at(number).data.numpy()

    def approximate(wanted: Sampling) -> Iterator[Pixels]:
        decoder = opened(wanted, "approximate")
        for batch in wanted.batches:
            yield from decoder.get_frames_at(list(batch)).data.numpy()

    return {"exact, lists": lists, "exact, ranges": ranges, "exact, singles": singles, "approximate": approximate}


def decord_modes() -> dict[str, Mode]:
    """decord2 by lists, single frames, and skipping from one to the next."""
    from decord import VideoReader, cpu

    def opened(wanted: Sampling) -> Any:
        return VideoReader(str(wanted.path), ctx=cpu(0), num_threads=1)

    def lists(wanted: Sampling) -> Iterator[Pixels]:
        reader = opened(wanted)
        for batch in wanted.batches:
            yield from reader.get_batch(list(batch)).asnumpy()

    def singles(wanted: Sampling) -> Iterator[Pixels]:
        reader = opened(wanted)
        for number in wanted.numbers:
            yield reader[number].asnumpy()

    def skipping(wanted: Sampling) -> Iterator[Pixels]:
        reader = opened(wanted)
        for number in wanted.numbers:
            if number and wanted.numbers.step > 1:
                reader.skip_frames(wanted.numbers.step - 1)
            yield reader.next().asnumpy()

    return {"lists": lists, "skipping": skipping, "singles": singles}


READERS: dict[str, Callable[[], dict[str, Mode]]] = {
    "reelmill": reelmill_modes,
    "pyav": pyav_modes,
    "opencv": opencv_modes,
    "torchcodec": torchcodec_modes,
    "decord2": decord_modes,
    "ffmpeg": ffmpeg_modes,
}
"""Readers by name, each a function that raises `ImportError` where it is not installed."""
