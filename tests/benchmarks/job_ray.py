"""The same work by Ray Data: ranges of time are decoded by tasks, and actors that hold the model take batches.

Ray and its object store are started before the clock. Actors are started by each execution, so that loading the model
is on the clock; it is told as `setup_s`, and decoding waits until it is over, so that taking it off takes nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.decode_files import FPS, HEIGHT, WIDTH
from tests.benchmarks.job_found import write_found
from tests.benchmarks.job_work import Work

_BATCH = 8
_OBJECT_STORE_BYTES = 1_500_000_000
_ACTOR_CPUS = 0.5
"""So that two actors on two cores leave room for a decoding task."""
_LOOK_EVERY_S = 0.005


def ray_data(order: dict[str, Any]) -> Work:
    """Ray Data with `actors` model processes of `threads` threads each, and as many CPUs as `cores`."""
    import ray

    from tests.benchmarks.job_peers import wanted_frames

    ray.init(
        num_cpus=order["cores"],
        num_gpus=None if order["device"] == "cpu" else 1,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    path, wanted, gate = order["path"], wanted_frames(order), Path(order["found"]).with_suffix(".ready")
    gate.unlink(missing_ok=True)
    per_range = -(-_BATCH * wanted.step // FPS) * FPS  # whole groups of pictures, a batch or a little more
    ranges = [
        {
            "path": path,
            "start": start,
            "stop": min(start + per_range, wanted.stop),
            "step": wanted.step,
            "way": order["way"],
            "gate": str(gate),
        }
        for start in range(0, wanted.stop, per_range)
    ]

    def work() -> dict[str, Any]:
        began_s = time.time()
        frames = ray.data.from_items(ranges, override_num_blocks=len(ranges)).flat_map(decoded_range)
        rows = frames.map_batches(
            Detector,
            fn_constructor_args=(order["model"], order["device"], order["threads"], str(gate)),
            batch_size=_BATCH,
            concurrency=order["actors"],
            num_cpus=_ACTOR_CPUS,
            num_gpus=0 if order["device"] == "cpu" else 1 / order["actors"],
        ).take_all()
        found = {int(row["frame"]): row["boxes"] for row in sorted(rows, key=lambda row: int(row["frame"]))}
        write_found(Path(order["found"]), {number: _boxes(boxes) for number, boxes in found.items()})
        return {"frames": len(found), "setup_s": gate.stat().st_mtime - began_s}

    return work


def _boxes(text: str) -> list[Any]:
    import orjson

    boxes: list[Any] = orjson.loads(text)
    return boxes


def decoded_range(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The wanted frames of a range that begins at a keyframe, as `(height, width, 3)` uint8 RGB.

    Straight through the range (`read`), or from each frame's own keyframe (`seek`), whichever is the better `way`.
    """
    import av

    while not Path(row["gate"]).exists():
        time.sleep(_LOOK_EVERY_S)
    with av.open(row["path"]) as container:
        stream = container.streams.video[0]
        ticks = Fraction(1, FPS) / stream.time_base
        wanted = range(row["start"], row["stop"], row["step"])
        for start in wanted if row["way"] == "seek" else wanted[:1]:
            container.seek(round(start * ticks), stream=stream)
            for frame in container.decode(stream):
                number = round(frame.pts / ticks)
                if number in wanted:
                    yield {"frame": number, "pixels": frame.to_ndarray(format="rgb24")}
                if number >= (start if row["way"] == "seek" else wanted[-1]):
                    break


class Detector:
    """An actor: one model, on batches of frames."""

    def __init__(self, model: dict[str, Any], device: str, threads: int, gate: str) -> None:
        self._threshold = model["inference_params"]["confidence"]
        if next(Path(model["model_id"]).glob("*.onnx"), None):
            self._load_onnx(model, threads)
        else:
            self._load_transformers(model, device, threads)
        self._detect([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * _BATCH)
        if not Path(gate).exists():
            Path(gate).touch()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import orjson

        boxes = [orjson.dumps(one).decode() for one in self._detect(list(batch["pixels"]))]
        return {"frame": batch["frame"], "boxes": boxes}

    def _load_onnx(self, model: dict[str, Any], threads: int) -> None:
        import onnxruntime

        from tests.benchmarks.job_peers import YoloxReader, yolox_file

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(yolox_file(model), options, providers=["CPUExecutionProvider"])
        read = YoloxReader(session, self._threshold)
        self._detect = lambda frames: [read(frame[..., ::-1]) for frame in frames]

    def _load_transformers(self, model: dict[str, Any], device: str, threads: int) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        torch.set_num_threads(threads)
        processor = AutoImageProcessor.from_pretrained(model["model_id"])
        network = AutoModelForObjectDetection.from_pretrained(model["model_id"]).to(device).eval()
        names = network.config.id2label

        def detect(frames: list[Any]) -> list[Any]:
            with torch.inference_mode():
                outputs = network(**processor(images=frames, return_tensors="pt").to(device))
                sizes = [frame.shape[:2] for frame in frames]
                given = processor.post_process_object_detection(outputs, self._threshold, target_sizes=sizes)
            return [
                [
                    [names[kind], score, *box]
                    for kind, score, box in zip(
                        one["labels"].tolist(), one["scores"].tolist(), one["boxes"].tolist(), strict=True
                    )
                ]
                for one in given
            ]

        self._detect = detect
