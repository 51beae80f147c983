"""The small world by hand: train its models, judge them, or look at a video and its truth."""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from pathlib import Path

import cv2
import torch
from safetensors.torch import load_file

from tests.smallworld import FIRST_VIDEO_SEED, WEIGHTS
from tests.smallworld.cards import JUDGED, card, measured
from tests.smallworld.scenes import KINDS, Seen
from tests.smallworld.training_loop import Task, train
from tests.smallworld.videos import write_video

TASKS = {
    "detection": "detector",
    "semantic": "semantic",
    "instance": "instance",
    "classification": "classifier",
    "clip": "clip",
}
"""The folder of each task's weights, in an order of training: instance starts from what semantic learned."""


def task_of(name: str) -> Task:
    """The training of a task."""
    return importlib.import_module(f"tests.smallworld.training_{name}").TASK


def score(name: str, weights: Path, *, write_card: bool) -> None:
    """Judge the weights of a task, print the scores, and write its card if asked to."""
    folder = TASKS[name]
    scores = measured(folder, weights)
    print(
        f"{folder}: {JUDGED[folder].metric}: {scores.stills:.4f} on {scores.stills_count} held-out stills, "
        f"{scores.videos:.4f} on {scores.video_frames} frames of {scores.video_count} fresh videos",
        flush=True,
    )
    if write_card:
        tensors = load_file(weights / folder / "model.safetensors")
        parameters = sum(tensor.numel() for tensor in tensors.values())
        (weights / folder / "README.md").write_text(card(task_of(name), scores, parameters))


def video(path: Path, kind: str, seed: int, frames: int) -> None:
    """Write a video, and its truth beside it as JSON: counted objects of every frame."""
    made = write_video(path, KINDS[kind], seed, frames=frames)
    truth = [[_told(seen) for seen in made.truth(index).seen] for index in range(frames)]
    path.with_suffix(".json").write_text(json.dumps(truth))


def _told(seen: Seen) -> dict[str, object]:
    return {"label": seen.object.label, "box": seen.box, "key_points": seen.shape.key_points().tolist()}


def _task_name(name: str) -> str:
    if name not in TASKS:
        raise argparse.ArgumentTypeError(f"no such task: {name}; there are {', '.join(TASKS)}")
    return name


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m tests.smallworld", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train models from scratch and write their weights and cards")
    training.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "small-world-training")
    scoring = commands.add_parser("score", help="judge weights on held-out stills and on fresh compressed videos")
    scoring.add_argument("--write-cards", action="store_true")
    for command in (training, scoring):
        command.add_argument("tasks", nargs="*", type=_task_name, help=f"all unless named: {', '.join(TASKS)}")
        command.add_argument("--weights", type=Path, default=WEIGHTS)
    looking = commands.add_parser("video", help="write a video and its truth as JSON")
    looking.add_argument("path", type=Path)
    looking.add_argument("--kind", choices=KINDS, default="crowd")
    looking.add_argument("--seed", type=int, default=FIRST_VIDEO_SEED)
    looking.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if arguments.command == "video":
        video(arguments.path, arguments.kind, arguments.seed, arguments.frames)
        return
    for name in arguments.tasks or TASKS:
        if arguments.command == "train":
            task = task_of(name)
            train(task, arguments.weights, arguments.checkpoints, log=lambda line: print(line, flush=True))
        write = arguments.command == "train" or arguments.write_cards
        score(name, arguments.weights, write_card=write)


if __name__ == "__main__":
    main()
