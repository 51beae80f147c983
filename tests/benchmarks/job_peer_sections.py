"""Peers that do the same work with the same weights on the same frames, in turn with ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tests.benchmarks.job_found import Found, agreement
from tests.benchmarks.job_rounds import Measured, Order, best_of, rounds
from tests.benchmarks.job_sections import Bench, cores

OURS, PLAIN, RAY = "reelmill", "plain loop", "Ray Data"
_PLAIN_WORK = {"detector": "pipeline", "yolox_nano": "onnxruntime"}
"""How people run such a model first."""
_TRIED_SHARE = 3
"""Settings are tried on so small a part of the video."""
_CLASSES = {"detector": "class", "yolox_nano": "class_id"}


def peers(bench: Bench) -> dict[str, Any]:
    """Ours and every peer, for each detector at each rate; then three models as one job and as three."""
    found: dict[str, Any] = {"seconds": bench.asked.peer_seconds, "rows": [], "trials": {}}
    for name in (name for name in _PLAIN_WORK if name in bench.names):
        for fps in bench.asked.rates:
            found["rows"].append(_side_by_side(bench, name, fps, found["trials"]))
    found["one job a model"] = _one_job_a_model(bench)
    return found


def _side_by_side(bench: Bench, name: str, fps: int, trials: dict[str, Any]) -> dict[str, Any]:
    part = bench.part(fps, fps * bench.asked.peer_seconds)
    more = {"fps": fps, "end_s": part["end_s"], "look": _CLASSES[name]}
    contestants = {OURS: bench.job([[name]], **more)}
    for peer, modes in _modes(bench, name, part).items():
        label = f"{peer}, {name} at {fps}"
        try:
            tried = {mode: {**order, "end_s": part["end_s"] / _TRIED_SHARE} for mode, order in modes.items()}
            best, trials[label] = best_of({f"{label}, {mode}": order for mode, order in tried.items()}, bench.tell)
            best = {**best, "end_s": part["end_s"]}
        except RuntimeError as error:
            bench.tell(f"{label} is left out: {error}")
            trials[label] = str(error)
            continue
        contestants[peer] = best
        if peer == PLAIN:
            first = f"{PLAIN}, as first written"
            contestants[first] = {**modes["read"], "found": _path(bench, name, first)}
            if best == modes["read"]:
                del contestants[peer]
    measured = rounds(contestants, bench.asked.peer_repeats, bench.tell)
    return {
        "model": name,
        "fps": fps,
        "medians": {peer: one.medians() for peer, one in measured.items()},
        "agreement": _agreements(bench, name, measured),
        "measured": {peer: one.as_json() for peer, one in measured.items()},
    }


def _modes(bench: Bench, name: str, part: Order) -> dict[str, dict[str, Order]]:
    """Each peer's fair settings, of which the best one is measured."""
    scratch = {"model": bench.models[name].order}
    plain = {**part, **scratch, "work": _PLAIN_WORK[name], "found": _path(bench, name, PLAIN)}
    ray = {**part, **scratch, "work": "ray", "cores": cores(), "found": _path(bench, name, RAY)}
    shapes = ((1, 1), (1, 2), (2, 1)) if cores() > 1 else ((1, 1),)
    return {
        PLAIN: {way: {**plain, "way": way} for way in ("read", "grab", "seek")},
        RAY: {
            f"actors {actors}, threads {threads}, {way}": {**ray, "actors": actors, "threads": threads, "way": way}
            for actors, threads in shapes
            for way in ("read", "seek")
        },
    }


def _path(bench: Bench, name: str, peer: str) -> str:
    return str(bench.scratch / f"{name}-{peer.replace(',', '').replace(' ', '-').lower()}.json")


def _agreements(bench: Bench, name: str, measured: dict[str, Measured]) -> dict[str, Any]:
    """Each peer's last result against ours."""
    if not measured[OURS].runs:
        return {}
    ours = _numbered(measured[OURS].runs[-1]["found"])
    threshold = bench.models[name].params["confidence"]
    return {
        peer: agreement(ours, _numbered(orjson.loads(Path(one.order["found"]).read_bytes())), threshold)
        for peer, one in measured.items()
        if peer != OURS and one.runs
    }


def _numbered(found: dict[str, Any]) -> Found:
    return {int(number): boxes for number, boxes in found.items()}


def _one_job_a_model(bench: Bench) -> dict[str, Any]:
    """The same models as one job and as a job each, one after another in one process."""
    more = {"fps": 1, "end_s": bench.part(1, bench.asked.peer_seconds)["end_s"]}
    contestants = {
        "one job": bench.job([bench.names], **more),
        "one job a model": bench.job([[name] for name in bench.names], **more),
    }
    measured = rounds(contestants, bench.asked.peer_repeats, bench.tell)
    return {
        "models": bench.names,
        "medians": {name: one.medians() for name, one in measured.items()},
        "measured": {name: one.as_json() for name, one in measured.items()},
    }
