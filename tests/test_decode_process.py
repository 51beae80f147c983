"""Decode workers that are killed, hang, or lose their parent; and what they carry with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe, read_index
from tasks.settings import DecodeSettings
from tests.decode_processes import extraction_of, forkers_of, is_gone, workers_of
from tests.video_files import make_video, read_barcode

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "video.mp4", frames=240, b_frames=2)


@pytest.fixture(params=["forked", "program"])
def started(request, monkeypatch):
    """Both ways in which workers are started."""
    monkeypatch.setattr("tasks.decode_process.can_fork", lambda: request.param == "forked")
    return request.param


def extraction(path, **settings):
    """All frames by one worker, in order."""
    return extraction_of(path, DecodeSettings(workers=1, **settings))[1]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_worker_that_is_lost_once_costs_nothing(video, blow, started):
    frames = extraction(video, stall_timeout_s=2)
    given = [next(frames)]
    (worker,) = workers_of(os.getpid())
    os.kill(worker, blow)
    given += frames
    assert [read_barcode(frame.pixels) for frame in given] == list(range(240))
    assert not workers_of(os.getpid())


@pytest.mark.parametrize(("blow", "reason"), [(signal.SIGKILL, "by signal 9"), (signal.SIGSTOP, "nothing for 2 s")])
def test_a_segment_that_loses_two_workers_is_null_and_the_next_goes_on(video, blow, reason):
    given, struck = [], []
    for frame in extraction(video, stall_timeout_s=2, segment_s=7):
        given.append(frame)
        fresh = [worker for worker in workers_of(os.getpid()) if worker not in struck]
        if fresh and len(struck) < 2:
            os.kill(fresh[0], blow)
            struck += fresh
    assert [frame.sample for frame in given] == list(range(240))
    lost = [frame for frame in given if frame.pixels is None]
    assert lost
    assert all(frame.passing and reason in frame.reason for frame in lost)
    assert {frame.segment for frame in lost} == {0}
    assert all(read_barcode(frame.pixels) == frame.sample for frame in given if frame.pixels is not None)


def test_a_file_that_no_worker_survives_is_a_passing_error(video, started):
    with pytest.raises(DecodeWorkerError, match=r"video\.mp4 could not be read: the decode worker .*; try again"):
        probe(video, DecodeSettings(memory_limit_bytes=40 * 2**20))


def test_the_worker_ends_with_the_generator(video, started):
    frames = extraction(video)
    next(frames)
    assert workers_of(os.getpid())
    frames.close()
    del frames
    assert not workers_of(os.getpid())


def test_the_worker_ends_when_its_parent_is_killed(video, started):
    program = (
        f"import tasks.decode_process as it; it.can_fork = lambda: {started == 'forked'}\n"
        "import sys, time; from pathlib import Path; from tests.test_decode_process import extraction\n"
        f"frames = extraction(Path({str(video)!r})); next(frames); print('decoding', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "decoding\n"
        (worker,) = workers_of(parent.pid)
        forkers = forkers_of(parent.pid)
        assert len(forkers) == (started == "forked")
        parent.kill()
    assert all(map(is_gone, [worker, *forkers]))


def test_the_worker_carries_no_credentials(monkeypatch, started):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("HF_TOKEN", "very-secret")
    with DecodeWorker(DecodeSettings()) as worker:
        worker.ask({"do": "index", "path": "/dev/null", "max_pixels": 1, "threads": 1})
        assert worker.answer()[0]["say"] == "refused"
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
    assert b"LC_ALL" in environment
    assert b"very-secret" not in environment


def test_what_a_worker_took_is_known_when_it_is_closed(video, started):
    with DecodeWorker(DecodeSettings()) as worker:
        read_index(worker, video, DecodeSettings())
        # In nanoseconds of all its threads.
        stats = [task.joinpath("schedstat").read_text() for task in Path(f"/proc/{worker.pid}/task").iterdir()]
        taken_s = sum(int(stat.split()[0]) for stat in stats) / 1e9
        assert worker.cpu_s is None
    assert worker.cpu_s >= 0.95 * taken_s > 0


def test_a_worker_that_ended_by_itself_is_told_how(started):
    with DecodeWorker(DecodeSettings()) as worker:
        worker.hear()
        os.kill(worker.pid, signal.SIGTERM)
        with pytest.raises(DecodeWorkerError, match="by signal 15"):
            worker.answer()
        with pytest.raises(DecodeWorkerError, match="by signal 15"):
            worker.credit()
    worker.close()


def test_nothing_can_be_reached_from_the_workers_network():
    program = (
        f"import socket, sys; sys.path.append({str(ROOT)!r})\n"
        "from tasks.decode_confinement import leave_network\n"
        "print(leave_network(), flush=True)\n"
        "socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=5)"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", program, str(server.getsockname()[1])]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.stdout == "False\n":
        pytest.skip("the kernel gives no network namespace to who asks here")
    assert result.stdout == "True\n"
    assert "Network is unreachable" in result.stderr
    with DecodeWorker(DecodeSettings()) as worker:
        assert worker.hear() is None
        assert Path(f"/proc/{worker.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def modules_after(statement):
    program = f"import sys; sys.path.append({str(ROOT)!r}); {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in result.stdout.split()}


def test_the_worker_imports_only_what_decoding_takes():
    loaded = modules_after("import tasks.decode_forker")
    assert {"av", "numpy"} <= loaded
    assert not loaded & {"prefect", "torch", "pydantic", "models", "boto3", "transformers"}


def test_the_parents_side_does_not_decode():
    assert not modules_after("import tasks.decoding, tasks.probing") & {"av", "prefect", "torch", "transformers"}


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_the_video(tmp_path):
    path = make_video(tmp_path / "video.mp4", frames=400, width=640, height=384)
    frames = extraction(path)
    next(frames)
    before = resident_bytes()
    peak = max(resident_bytes() for _ in frames)
    assert peak - before < 64 * 2**20  # all frames together are 295 MB


def test_no_descriptor_is_left_open(video, started):
    def use():
        plan = make_plan(probe(video)[1], infer_fps=Fraction(1))
        list(extract(video, plan, [0]))
        next(extract(video, plan, [0]))
        with pytest.raises(DecodeWorkerError):
            probe(video, DecodeSettings(memory_limit_bytes=40 * 2**20))

    use()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        use()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


HOSTILE_CHUNKS = {
    "no buffer": {"frames": [[0, 0, 96, 160]]},
    "unknown buffer": {"buffer": 7, "frames": [[0, 0, 96, 160]]},
    "outside of it": {"buffer": 1, "frames": [[0, 2**24 - 1, 96, 160]]},
    "before it": {"buffer": 1, "frames": [[0, -1, 96, 160]]},
    "larger than it": {"buffer": 1, "frames": [[0, 0, 96, 2**40]]},
    "negative sides": {"buffer": 1, "frames": [[0, 0, -96, -160]]},
    "too many pixels": {"buffer": 1, "frames": [[0, 0, 160, 161]]},
    "another sample": {"buffer": 1, "frames": [[1, 0, 96, 160]]},
    "no numbers": {"buffer": 1, "frames": [["0", None, 96, 160]]},
    "no frames": {"buffer": 1},
    "a buffer without a number": {"buffer": {}, "frames": []},
    "memory that may fall away": {"buffer": 1, "frames": [[0, 0, 96, 160]]},
}


@pytest.fixture(scope="module")
def plan(video):
    return make_plan(probe(video)[1], infer_fps=None)


@pytest.mark.parametrize("name", HOSTILE_CHUNKS)
def test_what_a_hostile_worker_says_is_never_trusted(video, plan, tmp_path, monkeypatch, name):
    """A program that speaks the protocol in bad faith stands in for a worker that its file has taken over."""
    program = tmp_path / "decode_worker.py"
    program.write_text(
        f"import json, os, socket, sys\nsys.path.append({str(ROOT)!r})\n"
        "from tasks.decode_protocol import Channel, new_memory, seal_size\n"
        "channel = Channel(socket.socket(fileno=int(sys.argv[1])))\n"
        "channel.receive()\nfd = new_memory(2**24)\n"
        f"{'' if name == 'memory that may fall away' else 'seal_size(fd)'}\n"
        f"message = {HOSTILE_CHUNKS[name]!r}\n"
        "channel.send({'say': 'chunk', 'forgotten': [], **message}, fd if message.get('buffer') == 1 else None)\n"
        "channel.receive()\n"
    )
    monkeypatch.setattr("tasks.decode_process._PROGRAM", program)
    monkeypatch.setattr("tasks.decode_process.can_fork", lambda: False)
    settings = DecodeSettings(workers=1, max_pixels=160 * 96)
    frames = [item for item in extract(video, plan, [0], settings=settings) if isinstance(item, ExtractedFrame)]
    assert len(frames) == 240
    assert all(frame.pixels is None and frame.passing for frame in frames)
